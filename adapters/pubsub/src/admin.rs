//! Topics and subscriptions themselves, by Google's own clients: looking at them, making them, moving where one is.
//!
//! A client is made for a call and dropped after it, so that no connection stays that nothing uses: channels are opened
//! once. Nothing is tried again here: that is for those who open a channel.

use std::time::{Duration, SystemTime};

use google_cloud_auth::credentials::{Credentials, anonymous};
use google_cloud_gax::{client_builder, error::Error as AdminError, retry_policy::NeverRetry};
use google_cloud_pubsub::{
    client::{SubscriptionAdmin, TopicAdmin},
    model::{DeadLetterPolicy, Subscription, seek_request::Target},
};
use google_cloud_wkt::{Duration as WireDuration, Timestamp};
use strait_core::{Error, ErrorKind, Result};
use tokio::time::timeout;

use crate::{
    Client, NewSubscription,
    error::{self, NO_CREDENTIALS_NOW},
    operation::Operation,
    refusal::Refusal,
    unreachable::unreachable,
};

/// What a call comes to: what the service answers, or says of its failure; an error if it was not heard.
type Heard<T> = Result<Result<T, Refusal>>;

impl Client {
    /// Looks whether there is a topic of this full name.
    pub(crate) async fn look_at_topic(&self, operation: Operation<'_>, topic: &str) -> Heard<()> {
        let topics = self.topics().await?;
        Ok(self.heard(operation, topics.get_topic().set_topic(topic).send()).await?.map(drop))
    }

    pub(crate) async fn look_at_subscription(&self, operation: Operation<'_>, full: &str) -> Heard<Subscription> {
        let subscriptions = self.subscriptions().await?;
        self.heard(operation, subscriptions.get_subscription().set_subscription(full).send()).await
    }

    pub(crate) async fn make_topic(&self, operation: Operation<'_>, topic: &str, kept: Duration) -> Heard<()> {
        let topics = self.topics().await?;
        let mut create = topics.create_topic().set_name(topic);
        if let Ok(kept) = WireDuration::try_from(kept) {
            create = create.set_message_retention_duration(kept);
        }
        Ok(self.heard(operation, create.send()).await?.map(drop))
    }

    pub(crate) async fn make_subscription(&self, operation: Operation<'_>, new: &NewSubscription) -> Heard<()> {
        let subscriptions = self.subscriptions().await?;
        let policy = |(topic, attempts): &(String, u32)| {
            let policy = DeadLetterPolicy::new().set_dead_letter_topic(self.topic(topic)?);
            Ok(policy.set_max_delivery_attempts(i32::try_from(*attempts).unwrap_or(i32::MAX)))
        };
        let create = subscriptions
            .create_subscription()
            .set_name(self.subscription(&new.name)?)
            .set_topic(self.topic(&new.topic)?)
            .set_ack_deadline_seconds(i32::try_from(new.lease.as_secs()).unwrap_or(i32::MAX))
            .set_enable_message_ordering(new.ordered)
            .set_enable_exactly_once_delivery(new.exactly_once)
            .set_or_clear_dead_letter_policy(new.dead_letter.as_ref().map(policy).transpose()?);
        Ok(self.heard(operation, create.send()).await?.map(drop))
    }

    pub(crate) async fn move_subscription(&self, operation: Operation<'_>, full: &str, time: SystemTime) -> Heard<()> {
        let time = Timestamp::try_from(time)
            .map_err(|_| Error::new(ErrorKind::Config, format!("{operation}: a time before 1970 or after 9999")))?;
        let subscriptions = self.subscriptions().await?;
        let seek = subscriptions.seek().set_subscription(full).set_target(Target::Time(Box::new(time)));
        Ok(self.heard(operation, seek.send()).await?.map(drop))
    }

    async fn topics(&self) -> Result<TopicAdmin> {
        let builder = TopicAdmin::builder().with_endpoint(self.address()).with_credentials(self.identity());
        self.made(builder.with_retry_policy(NeverRetry).build()).await
    }

    async fn subscriptions(&self) -> Result<SubscriptionAdmin> {
        let builder = SubscriptionAdmin::builder().with_endpoint(self.address()).with_credentials(self.identity());
        self.made(builder.with_retry_policy(NeverRetry).build()).await
    }

    /// The credentials of the data path, or nobody's.
    fn identity(&self) -> Credentials {
        self.credentials().cloned().unwrap_or_else(|| anonymous::Builder::new().build())
    }

    async fn made<T>(&self, client: impl Future<Output = client_builder::Result<T>>) -> Result<T> {
        let made = timeout(self.timeout(), client).await;
        // What is beneath may repeat the address, and that may hold what it should not.
        let unusable = |what: &str| Error::new(ErrorKind::Config, format!("pubsub: {what}"));
        match made {
            Ok(Ok(client)) => Ok(client),
            Ok(Err(error)) if error.is_universe_domain_mismatch() => {
                Err(unusable("the credentials are of another universe than the service"))
            }
            Ok(Err(error)) if error.is_transport() => Err(unusable("endpoint: cannot be used")),
            Ok(Err(_)) => Err(unusable("the credentials cannot be used")),
            Err(_) => Err(error::unavailable(format!("pubsub: {NO_CREDENTIALS_NOW}"))),
        }
    }

    async fn heard<T>(&self, operation: Operation<'_>, call: impl Future<Output = Result<T, AdminError>>) -> Heard<T> {
        match timeout(self.timeout(), call).await {
            Err(_) => Ok(Err(Refusal::late())),
            Ok(Ok(answer)) => Ok(Ok(answer)),
            Ok(Err(error)) if error.is_connect() => Err(unreachable(operation, &error)),
            Ok(Err(error)) if error.is_authentication() => Err(error::no_credentials(operation, &error)),
            Ok(Err(error)) => Ok(Err(Refusal::from(&error))),
        }
    }
}

/// Looks, if that is allowed. Whoever may only publish or consume need not be allowed to look.
pub(crate) fn if_allowed<T>(operation: Operation<'_>, looked: Result<T, Refusal>) -> Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(refusal) if refusal.lacks_permission() => Ok(None),
        Err(refusal) => Err(error::refused(operation, &refusal)),
    }
}
