use std::{sync::Arc, time::Duration};

use aws_sdk_sqs::types::QueueAttributeName;
use strait_core::{ErrorKind, Ordering, Result};

use crate::{Client, error};

/// What SQS takes at most, in a message and in a request.
pub(crate) const MESSAGE_BYTES: usize = 1 << 20;

/// How long a sender may try where ids are remembered for five minutes: what arrives late is to be known still.
pub(crate) const FIFO_DEADLINE: Duration = Duration::from_mins(4);

/// An existing queue, and what there is to know of it.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) name: Arc<str>,
    pub(crate) fifo: bool,
    pub(crate) message_bytes: usize,
    pub(crate) native_attempts: Option<u32>,
}

impl Place {
    /// Finds a queue by its name or its URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none.
    pub(crate) async fn find(client: &Client, queue: &str) -> Result<Self> {
        let name: Arc<str> = queue.trim_end_matches('/').rsplit('/').next().unwrap_or(queue).into();
        let what = format!("sqs: cannot open {name:?}");
        let url = if queue.contains("://") {
            queue.to_owned()
        } else {
            let found = client.sqs().get_queue_url().queue_name(queue).send().await;
            found.map_err(|error| error::of(&what, &error))?.queue_url.unwrap_or_default()
        };
        let fifo = is_fifo(&name);
        let mut place = Self { url, name, fifo, message_bytes: MESSAGE_BYTES, native_attempts: None };
        match place.look(client).await.map_err(|error| error::of(&what, &error)) {
            // Whoever may only send, or only receive, need not be allowed to look.
            Err(error) if error.kind() == ErrorKind::Denied => {
                tracing::warn!(queue = &*place.name, "its attributes may not be read: the limits of SQS are assumed");
            }
            outcome => outcome?,
        }
        Ok(place)
    }

    async fn look(&mut self, client: &Client) -> Result<(), LookError> {
        let attributes = [QueueAttributeName::MaximumMessageSize, QueueAttributeName::RedrivePolicy];
        let request = client.sqs().get_queue_attributes().queue_url(&self.url);
        let found = request.set_attribute_names(Some(attributes.to_vec())).send().await?.attributes.unwrap_or_default();
        if let Some(bytes) = found.get(&QueueAttributeName::MaximumMessageSize).and_then(|bytes| bytes.parse().ok()) {
            self.message_bytes = bytes;
        }
        self.native_attempts = found.get(&QueueAttributeName::RedrivePolicy).and_then(|policy| attempts_of(policy));
        Ok(())
    }

    /// What a producer's destination is called that leads here. Of a queue that is named by several URLs each is another.
    pub(crate) fn destination(&self) -> String {
        format!("sqs:{}", self.url.trim_end_matches('/'))
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
