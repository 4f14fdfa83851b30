use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use aws_sdk_sns::types::PublishBatchRequestEntry;
use strait_aws::{Arn, Call, is_access_denied};
use strait_core::{ErrorKind, Limits, Message, Plan, Position, Producer, Receipt, Result};

use crate::{
    Client,
    batch::{self, ENTRIES, Failed},
    codec::{Beside, Layout},
    error::{call, wrong},
    producer::dedup_id,
    queue::{FIFO_DEADLINE, is_fifo},
};

/// What SNS takes at most, in a message and in a request.
const MESSAGE_BYTES: usize = 256 << 10;

/// Sends to an SNS topic, which feeds each queue that subscribes to it with a copy. Subscriptions are to be raw: a queue
/// without raw delivery gets SNS's own envelope, which is delivered as it is.
///
/// A FIFO topic keeps order and stores each id once, as a FIFO queue does. Receipts name the publication, not the copies.
pub struct SnsProducer {
    client: Client,
    topics: aws_sdk_sns::Client,
    arn: String,
    name: Arc<str>,
    call: Call,
    closed: AtomicBool,
}

impl SnsProducer {
    /// Opens a topic by its ARN, in the region that it says, or by its name in the account and the region of the client.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; otherwise what the service says.
    pub async fn open(client: &Client, topic: &str) -> Result<Self> {
        let arn = Arn::of(topic, "sns").map_err(|reason| wrong(&format!("topic: {reason}")))?;
        let name: Arc<str> = arn.map_or(topic, |arn| arn.name).into();
        let topics = client.topics(arn.map(|arn| arn.region)).await?;
        let arn = if arn.is_some() { topic.to_owned() } else { arn_of(client, topic).await? };
        let call = |cannot: &str, action| call(format!("sns: cannot {cannot} {name:?}"), action, &topics.host);
        match topics.client.get_topic_attributes().topic_arn(&arn).send().await {
            Ok(_) => {}
            // Whoever may only publish need not be allowed to look. Credentials that are wrong are no such case.
            Err(error) if is_access_denied(&error) => {
                tracing::warn!(
                    topic = &*name,
                    "its attributes may not be read (sns:GetTopicAttributes): it is taken to be there"
                );
            }
            Err(error) => return Err(call("open", "sns:GetTopicAttributes").failed(&error)),
        }
        let call = call("publish to", "sns:Publish");
        Ok(Self { client: client.clone(), topics: topics.client, arn, name, call, closed: AtomicBool::new(false) })
    }

    /// Another producer to the same place, open as long as it is not closed itself.
    pub fn another(&self) -> Self {
        Self {
            client: self.client.clone(),
            topics: self.topics.clone(),
            arn: self.arn.clone(),
            name: Arc::clone(&self.name),
            call: self.call.clone(),
            closed: AtomicBool::new(false),
        }
    }

    /// The clients beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn is_fifo(&self) -> bool {
        is_fifo(&self.name)
    }

    /// A topic has no system attributes: the trace header is one like any other.
    fn layout<'a>(&self, message: &'a Message) -> Result<Layout<'a>> {
        Layout::of(message, Beside { group: self.is_fifo(), trace: false })
    }

    fn entry(&self, index: usize, message: &Message) -> Result<PublishBatchRequestEntry> {
        let layout = self.layout(message)?;
        let mut entry = PublishBatchRequestEntry::builder().id(index.to_string()).message(layout.body());
        for attribute in layout.attributes() {
            entry = entry.message_attributes(attribute.name, attribute.into());
        }
        if self.is_fifo() {
            entry = entry.set_message_group_id(layout.group()).set_message_deduplication_id(Some(dedup_id(message)?));
        }
        entry.build().map_err(|_| self.call.error(ErrorKind::Other, "an entry cannot be made"))
    }

    async fn request(&self, entries: Vec<PublishBatchRequestEntry>) -> Vec<Result<Receipt>> {
        let count = entries.len();
        let request = self.topics.publish_batch().topic_arn(&self.arn);
        match request.set_publish_batch_request_entries(Some(entries)).send().await {
            Ok(reply) => {
                let done = reply.successful().iter().map(|entry| {
                    let position = Position::from(entry.message_id().unwrap_or_default());
                    (entry.id().unwrap_or_default(), Receipt::new(position))
                });
                batch::outcomes(&self.call, count, done, reply.failed().iter().map(Failed::from))
            }
            Err(error) => batch::failures(count, &self.call.failed(&error)),
        }
    }
}

/// A topic of this name where the client is: its account is who it is, and what is `aws` elsewhere may be `aws-cn`.
async fn arn_of(client: &Client, name: &str) -> Result<String> {
    let sts = client.identity();
    let what = format!("sns: cannot find out the account of {name:?}");
    let identity = sts.client.get_caller_identity().send().await;
    let identity = identity.map_err(|error| call(what, "sts:GetCallerIdentity", &sts.host).failed(&error))?;
    let partition = identity.arn().and_then(|arn| arn.split(':').nth(1)).unwrap_or("aws");
    Ok(format!("arn:{partition}:sns:{}:{}:{name}", client.region(), identity.account().unwrap_or_default()))
}

impl fmt::Debug for SnsProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnsProducer").field("topic", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Producer for SnsProducer {
    fn limits(&self) -> Limits {
        let limits = Limits::new(ENTRIES, MESSAGE_BYTES);
        if self.is_fifo() { limits.with_key_bytes(0).with_deadline(FIFO_DEADLINE) } else { limits }
    }

    fn destinations(&self) -> Vec<String> {
        vec![format!("sns:{}", self.arn)]
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(self.layout(message)?.bytes()))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(Relaxed) {
            return batch::closed(batch.len(), &self.call);
        }
        batch::send(batch, async |entries| self.request(entries).await, |index, message| self.entry(index, message))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Relaxed);
        Ok(())
    }
}
