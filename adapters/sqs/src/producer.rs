use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use aws_sdk_sqs::types::{
    MessageSystemAttributeNameForSends, MessageSystemAttributeValue, SendMessageBatchRequestEntry,
};
use strait_aws::Call;
use strait_core::{Error, ErrorKind, Key, Limits, Message, Plan, Position, Producer, Receipt, Result};

use crate::{
    Client,
    batch::{self, ENTRIES, Failed},
    codec::{Beside, Layout},
    queue::{FIFO_DEADLINE, MESSAGE_BYTES, Place},
};

/// Sends to a queue.
///
/// On a FIFO queue a request holds one message of a key at most, since entries fail one by one; the key is the group,
/// and without one the message is a group of its own. The service stores each id once in five minutes, so that a sender
/// tries for four at most. On a standard queue there is no order to keep.
pub struct SqsProducer {
    client: Client,
    place: Place,
    call: Call,
    closed: AtomicBool,
}

impl SqsProducer {
    /// Opens a queue by its name, its URL or its ARN. What has a region of its own is called and signed for there.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; otherwise what the service says.
    pub async fn open(client: &Client, queue: &str) -> Result<Self> {
        let place = Place::find(client, queue).await?;
        let call = place.call("send to", "sqs:SendMessage");
        Ok(Self { client: client.clone(), place, call, closed: AtomicBool::new(false) })
    }

    /// Another producer to the same place, open as long as it is not closed itself.
    pub fn another(&self) -> Self {
        let (client, call) = (self.client.clone(), self.call.clone());
        Self { client, place: self.place.clone(), call, closed: AtomicBool::new(false) }
    }

    /// The clients beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A standard queue keeps no order, so that its groups need not be what the keys are: a key that is no group id goes
    /// by an attribute. As a group a key also gets a fair share.
    fn layout<'a>(&self, message: &'a Message) -> Result<Layout<'a>> {
        let group = self.place.fifo || message.key.as_ref().is_some_and(Key::is_portable);
        Layout::of(message, Beside { group, trace: true })
    }

    fn entry(&self, index: usize, message: &Message) -> Result<SendMessageBatchRequestEntry> {
        let layout = self.layout(message)?;
        let mut entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(layout.body());
        for attribute in layout.attributes() {
            entry = entry.message_attributes(attribute.name, attribute.into());
        }
        if let Some(trace) = layout.trace() {
            let value = MessageSystemAttributeValue::builder().data_type("String").string_value(trace);
            let value = value.build().expect("it has a type");
            entry = entry.message_system_attributes(MessageSystemAttributeNameForSends::AwsTraceHeader, value);
        }
        if self.place.fifo {
            entry = entry.set_message_group_id(layout.group()).set_message_deduplication_id(Some(dedup_id(message)?));
        } else if layout.is_grouped() {
            entry = entry.set_message_group_id(message.key.as_ref().map(ToString::to_string));
        }
        entry.build().map_err(|_| self.call.error(ErrorKind::Other, "an entry cannot be made"))
    }
}

/// What the service is to compare. A sender has given the message an id.
pub(crate) fn dedup_id(message: &Message) -> Result<String> {
    message
        .dedup_id()
        .map(|id| id.to_string())
        .ok_or_else(|| Error::new(ErrorKind::Invalid, "id: is needed where each is stored once"))
}

impl fmt::Debug for SqsProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsProducer").field("queue", &self.place.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Producer for SqsProducer {
    fn limits(&self) -> Limits {
        let limits = Limits::new(ENTRIES, self.place.message_bytes.min(MESSAGE_BYTES));
        if self.place.fifo { limits.with_key_bytes(0).with_deadline(FIFO_DEADLINE) } else { limits }
    }

    fn destinations(&self) -> Vec<String> {
        vec![self.place.destination()]
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

impl SqsProducer {
    async fn request(&self, entries: Vec<SendMessageBatchRequestEntry>) -> Vec<Result<Receipt>> {
        let count = entries.len();
        let request = self.place.client.send_message_batch().queue_url(&self.place.url);
        match request.set_entries(Some(entries)).send().await {
            Ok(reply) => {
                let receipt = |id: &str| Receipt::new(Position::from(id));
                let done = reply.successful().iter().map(|entry| (entry.id(), receipt(entry.message_id())));
                batch::outcomes(&self.call, count, done, reply.failed().iter().map(Failed::from))
            }
            Err(error) => batch::failures(count, &self.call.failed(&error)),
        }
    }
}
