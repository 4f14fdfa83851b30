use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::types::QueueAttributeName;
use strait_aws::{Call, is_access_denied};
use strait_core::{Ordering, Result};

use crate::{
    Client,
    address::{self, QueueAddress},
    error::{call, wrong},
};

/// What SQS takes at most, in a message and in a request.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;

/// How long a sender may try where ids are remembered for five minutes: what arrives late is to be known still.
pub(crate) const FIFO_DEADLINE: Duration = Duration::from_mins(4);

/// An existing queue, and what there is to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The client of its region.
    pub(crate) client: aws_sdk_sqs::Client,
    host: Arc<str>,
    pub(crate) url: String,
    pub(crate) name: Arc<str>,
    pub(crate) fifo: bool,
    pub(crate) message_bytes: usize,
    pub(crate) native_attempts: Option<u32>,
}

impl Place {
    /// Finds a queue by its name, its URL or its ARN.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](strait_core::ErrorKind::NotFound) if there is none.
    pub(crate) async fn find(client: &Client, queue: &str) -> Result<Self> {
        let mut place = Self::locate(client, queue).await?;
        match place.look().await {
            // Whoever may only send, or only receive, need not be allowed to look. Credentials that are wrong are no
            // such case: then nothing else would work either.
            Err(error) if is_access_denied(&error) => {
                tracing::warn!(
                    queue = &*place.name,
                    "its attributes may not be read (sqs:GetQueueAttributes): the limits of SQS are assumed"
                );
            }
            Err(error) => return Err(place.call("open", "sqs:GetQueueAttributes").failed(&error)),
            Ok(()) => {}
        }
        Ok(place)
    }

    /// Finds out where a queue is, without a look at it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](strait_core::ErrorKind::NotFound) if there is none of this name.
    pub(crate) async fn locate(client: &Client, queue: &str) -> Result<Self> {
        let QueueAddress { name, url, region, account } =
            QueueAddress::of(queue).map_err(|reason| wrong(&format!("queue: {reason}")))?;
        let queues = client.queues(region.as_deref()).await?;
        let fifo = is_fifo(&name);
        let (client, host) = (queues.client, queues.host);
        let mut place =
            Self { client, host, url: String::new(), name, fifo, message_bytes: MESSAGE_BYTES, native_attempts: None };
        place.url = if let Some(url) = url {
            url
        } else {
            let request = place.client.get_queue_url().queue_name(&*place.name);
            let found = request.set_queue_owner_aws_account_id(account).send().await;
            let call = || place.call("open", "sqs:GetQueueUrl");
            found.map_err(|error| call().failed(&error))?.queue_url.unwrap_or_default()
        };
        Ok(place)
    }

    /// A call to this queue.
    pub(crate) fn call(&self, cannot: &str, action: &'static str) -> Call {
        call(format!("sqs: cannot {cannot} {:?}", self.name), action, &self.host)
    }

    async fn look(&mut self) -> Result<(), LookError> {
        let attributes = [QueueAttributeName::MaximumMessageSize, QueueAttributeName::RedrivePolicy];
        let request = self.client.get_queue_attributes().queue_url(&self.url);
        let found = request.set_attribute_names(Some(attributes.to_vec())).send().await?.attributes.unwrap_or_default();
        if let Some(bytes) = found.get(&QueueAttributeName::MaximumMessageSize).and_then(|bytes| bytes.parse().ok()) {
            self.message_bytes = bytes;
        }
        self.native_attempts = found.get(&QueueAttributeName::RedrivePolicy).and_then(|policy| attempts_of(policy));
        Ok(())
    }

    /// What a producer's destination is called that leads here.
    pub(crate) fn destination(&self) -> String {
        format!("sqs:{}", address::place_of(&self.url))
    }

    pub(crate) fn ordering(&self) -> Ordering {
        if self.fifo { Ordering::Key } else { Ordering::None }
    }
}

type LookError = aws_sdk_sqs::error::SdkError<
    aws_sdk_sqs::operation::get_queue_attributes::GetQueueAttributesError,
    aws_sdk_sqs::config::http::HttpResponse,
>;

/// Whether a queue or a topic of this name, or ARN, keeps order: the name says so.
pub(crate) fn is_fifo(name: &str) -> bool {
    name.strip_suffix(".fifo").is_some()
}

/// After how many deliveries the queue itself moves a message away. Some write the number as a text.
fn attempts_of(policy: &str) -> Option<u32> {
    let policy: serde_json::Value = serde_json::from_str(policy).ok()?;
    let count = policy.get("maxReceiveCount")?;
    count.as_u64().and_then(|count| count.try_into().ok()).or_else(|| count.as_str()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redrive_policy_counts_in_numbers_or_in_words() {
        assert_eq!(attempts_of(r#"{"deadLetterTargetArn":"a","maxReceiveCount":5}"#), Some(5));
        assert_eq!(attempts_of(r#"{"maxReceiveCount":"12"}"#), Some(12));
        assert_eq!(attempts_of("{}"), None);
        assert_eq!(attempts_of("nonsense"), None);
    }
}
