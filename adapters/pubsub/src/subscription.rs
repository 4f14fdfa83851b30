use std::{sync::Arc, time::Duration};

use google_cloud_pubsub::model::Subscription;
use strait_core::{Error, ErrorKind, Ordering, Result};

use crate::{
    Client, admin, name,
    operation::{Operation, permission},
};

/// An existing subscription, and what there is to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) full: String,
    pub(crate) name: Arc<str>,
    /// The full name of the topic that feeds it; `None` if that may not be known.
    pub(crate) topic: Option<String>,
    pub(crate) ordering: Ordering,
    /// For how long the service leases a message by itself; `None` if that may not be known.
    pub(crate) lease: Option<Duration>,
    /// After how many deliveries the subscription itself moves a message away. Only then deliveries are counted.
    pub(crate) native_attempts: Option<u32>,
}

impl Place {
    /// Finds a subscription by its full name, or a short one of the connection's project.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Unsupported`] if what comes by it is not pulled.
    pub(crate) async fn find(client: &Client, subscription: &str) -> Result<Self> {
        let full = client.subscription(subscription)?;
        let name: Arc<str> = name::short(&full).into();
        let operation = client.operation("open subscription", &full, permission::GET_SUBSCRIPTION);
        let looked = client.look_at_subscription(operation, &full).await?;
        if let Some(found) = admin::if_allowed(operation, looked)? {
            return Self::of(&full, name, &found, operation);
        }
        let missing = permission::GET_SUBSCRIPTION;
        tracing::warn!(subscription = &*name, missing, "it may not be looked at: it is taken for one without order");
        Ok(Self { full, name, topic: None, ordering: Ordering::None, lease: None, native_attempts: None })
    }

    fn of(full: &str, name: Arc<str>, found: &Subscription, what: Operation<'_>) -> Result<Self> {
        let pushes = found.push_config.as_ref().is_some_and(|push| !push.push_endpoint.is_empty());
        let exports = found.bigquery_config.is_some() || found.cloud_storage_config.is_some();
        if pushes || exports || found.bigtable_config.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, format!("{what}: the service pushes what comes by it")));
        }
        if found.detached {
            return Err(Error::new(ErrorKind::NotFound, format!("{what}: it is detached from its topic")));
        }
        let policy = found.dead_letter_policy.as_ref();
        let lease = u64::try_from(found.ack_deadline_seconds).ok().filter(|seconds| *seconds > 0);
        Ok(Self {
            full: full.to_owned(),
            name,
            topic: Some(found.topic.clone()),
            ordering: if found.enable_message_ordering { Ordering::Key } else { Ordering::None },
            lease: lease.map(Duration::from_secs),
            native_attempts: policy.and_then(|policy| u32::try_from(policy.max_delivery_attempts).ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use google_cloud_pubsub::model::{DeadLetterPolicy, PushConfig};

    use super::*;

    fn of(found: &Subscription) -> Result<Place> {
        let operation = Operation { asks: "open subscription", name: "s", host: "pubsub.example:443", permission: "" };
        Place::of("projects/p/subscriptions/s", "s".into(), found, operation)
    }

    #[test]
    fn what_is_there_decides_what_is_promised() {
        let found = Subscription::new()
            .set_enable_message_ordering(true)
            .set_ack_deadline_seconds(30)
            .set_dead_letter_policy(DeadLetterPolicy::new().set_max_delivery_attempts(7))
            .set_push_config(PushConfig::new());
        let place = of(&found).unwrap();
        assert_eq!((place.ordering, place.native_attempts), (Ordering::Key, Some(7)));
        assert_eq!(place.lease, Some(Duration::from_secs(30)));
        let push = PushConfig::new().set_push_endpoint("https://example");
        let pushed = of(&Subscription::new().set_push_config(push)).unwrap_err();
        assert_eq!(pushed.kind(), ErrorKind::Unsupported);
        let detached = of(&Subscription::new().set_detached(true)).unwrap_err();
        assert_eq!(detached.kind(), ErrorKind::NotFound);
    }
}
