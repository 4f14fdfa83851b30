use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use aws_sdk_sqs::types::SendMessageBatchRequestEntry;
use strait_core::{Error, ErrorKind, Limits, Message, Plan, Position, Producer, Receipt, Result};

use crate::{
    Client,
    batch::{self, ENTRIES, Failed},
    codec::Layout,
    error,
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
    what: String,
    closed: AtomicBool,
}

impl SqsProducer {
    /// Opens a queue by its name or its URL.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; otherwise what the service says.
    pub async fn open(client: &Client, queue: &str) -> Result<Self> {
        let place = Place::find(client, queue).await?;
        let what = format!("sqs: cannot send to {:?}", place.name);
        Ok(Self { client: client.clone(), place, what, closed: AtomicBool::new(false) })
    }

    /// Another producer to the same place, open as long as it is not closed itself.
    pub fn another(&self) -> Self {
        let (client, what) = (self.client.clone(), self.what.clone());
        Self { client, place: self.place.clone(), what, closed: AtomicBool::new(false) }
    }

    /// The clients beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn entry(&self, index: usize, message: &Message) -> Result<SendMessageBatchRequestEntry> {
        let layout = Layout::of(message, true)?;
        let mut entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(layout.body());
        for (name, value) in layout.attributes() {
            entry = entry.message_attributes(name, value.into());
        }
        // On a standard queue a group is whose share of it is kept fair.
        entry = entry.set_message_group_id(message.key.as_ref().map(ToString::to_string));
        if self.place.fifo {
            entry = entry.set_message_group_id(layout.group()).set_message_deduplication_id(Some(dedup_id(message)?));
        }
        entry.build().map_err(|_| Error::new(ErrorKind::Other, format!("{}: cannot make an entry", self.what)))
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
        Ok(Plan::new(Layout::of(message, true)?.bytes()))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(Relaxed) {
            return batch::closed(batch.len(), &self.what);
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
        let request = self.client.sqs().send_message_batch().queue_url(&self.place.url);
        match request.set_entries(Some(entries)).send().await {
            Ok(reply) => {
                let receipt = |id: &str| Receipt::new(Position::from(id));
                let done = reply.successful().iter().map(|entry| (entry.id(), receipt(entry.message_id())));
                let failed = reply.failed().iter().map(|entry| Failed { id: entry.id(), code: entry.code() });
                batch::outcomes(&self.what, count, done, failed)
            }
            Err(error) => batch::failures(count, &error::of(&self.what, &error)),
        }
    }
}
