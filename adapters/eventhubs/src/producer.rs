use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{
            AtomicBool, AtomicUsize,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Id, Key, Limits, Message, Plan, Position, Producer, Receipt, Result};

use crate::{
    Access, Routing,
    client::{Client, Target},
    codec::{self, ENTRY, KEY_BYTES},
    hash, log,
};

/// Most events of a request.
const REQUEST_EVENTS: usize = 5000;
/// The bytes of a request beside its events: the annotation of a key, and a margin.
const ENVELOPE: usize = 64 + 2 * KEY_BYTES;
/// How often the list of partitions is asked for again.
const LOOK: Duration = Duration::from_mins(1);
/// How soon after a failure.
const SOON: Duration = Duration::from_secs(1);
/// The route of messages without a key, which the service spreads.
const ANYWHERE: u64 = u64::MAX;

/// Sends events to a hub. A request is stored whole or not at all.
#[derive(Debug)]
pub struct EventHubsProducer {
    client: Arc<Client>,
    routing: Routing,
    partitions: AtomicUsize,
    looked: Mutex<Instant>,
    request_bytes: usize,
    closed: AtomicBool,
}

impl EventHubsProducer {
    /// Opens a hub. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; otherwise what the service says.
    pub async fn open(access: &Arc<Access>, hub: &str, routing: Routing) -> Result<Self> {
        let client = Arc::new(Client::new(access, hub));
        let partitions = client.hub_properties().await?.partitions.len();
        let largest = client.largest(Target::Hub).await?;
        Ok(Self {
            client,
            routing,
            partitions: AtomicUsize::new(partitions),
            looked: Mutex::new(Instant::now()),
            request_bytes: message_bytes(largest),
            closed: AtomicBool::new(false),
        })
    }

    /// Another producer to the same hub, by connections of its own, open as long as it is not closed itself.
    pub fn another(&self) -> Self {
        Self {
            client: Arc::new(self.client.apart()),
            routing: self.routing,
            partitions: AtomicUsize::new(self.partitions.load(Relaxed)),
            looked: Mutex::new(Instant::now()),
            request_bytes: self.request_bytes,
            closed: AtomicBool::new(false),
        }
    }

    /// Asks again how many partitions there are, if it is time.
    async fn look(&self) {
        {
            let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
            if looked.elapsed() < LOOK {
                return;
            }
            *looked = Instant::now();
        }
        match self.client.hub_properties().await {
            Ok(properties) => self.partitions.store(properties.partitions.len(), Relaxed),
            Err(error) => tracing::warn!(%error, "the partitions cannot be listed, and are taken to be as they were"),
        }
    }

    /// A hub that was made again may have fewer partitions.
    fn look_soon(&self) {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(earlier) = Instant::now().checked_sub(LOOK.saturating_sub(SOON)) {
            *looked = earlier.min(*looked);
        }
    }

    fn route(&self, key: Option<&Key>) -> u64 {
        match (key, self.routing) {
            (None, _) => ANYWHERE,
            (Some(key), Routing::Partition) => hash::partition(key.as_str(), self.partitions.load(Relaxed)) as u64,
            // Keys of one route that differ are sent apart.
            (Some(key), Routing::Service) => hash::partition(key.as_str(), 1 << 15) as u64,
        }
    }

    /// Sends messages to one target, in as many requests as their size takes.
    async fn send_to(
        &self,
        target: Target,
        key: Option<&str>,
        messages: &[Message],
        outcomes: &mut Vec<Result<Receipt>>,
    ) {
        let mut rest = messages;
        // A link that was attached anew may take less than the first one did.
        let most = match self.client.largest(target).await {
            Ok(largest) => message_bytes(largest),
            Err(error) => return outcomes.extend(messages.iter().map(|_| Err(error.clone()))),
        };
        while !rest.is_empty() {
            let (mut events, mut bytes) = (Vec::with_capacity(rest.len()), 0);
            for message in rest {
                let event = codec::encode(message);
                bytes += event.len() + ENTRY;
                if bytes > most && !events.is_empty() {
                    break;
                }
                events.push(event);
            }
            let (sent, behind) = rest.split_at(events.len());
            match self.client.send(target, key, events).await {
                Ok(()) => outcomes.extend(sent.iter().map(|message| Ok(receipt(message)))),
                Err(error) => {
                    self.look_soon();
                    outcomes.extend(sent.iter().map(|_| Err(error.clone())));
                    return outcomes.extend(not_sent(behind));
                }
            }
            rest = behind;
        }
    }
}

/// How large an event may be where a request may have so many bytes.
pub(crate) fn message_bytes(largest: usize) -> usize {
    largest.saturating_sub(ENVELOPE)
}

/// The outcomes of messages behind a request that failed.
fn not_sent(messages: &[Message]) -> impl Iterator<Item = Result<Receipt>> {
    let error = Error::new(ErrorKind::Unavailable, "eventhubs: a request before it failed, and it was not sent");
    std::iter::repeat_n(Err(error), messages.len())
}

/// The service confirms without a name: it is the message's own.
fn receipt(message: &Message) -> Receipt {
    Receipt::new(message.id.map_or(Position::Number(0), |id: Id| Position::from(&*id.to_string())))
}

#[async_trait]
impl Producer for EventHubsProducer {
    fn limits(&self) -> Limits {
        Limits::new(REQUEST_EVENTS, self.request_bytes)
    }

    fn destinations(&self) -> Vec<String> {
        vec![log::destination(&self.client)]
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(codec::measure(message)?).on_route(self.route(message.key.as_ref())))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(SeqCst) {
            let error =
                Error::new(ErrorKind::Closed, format!("eventhubs: the sender to {:?} is closed", self.client.hub));
            return vec![Err(error); batch.len()];
        }
        self.look().await;
        let mut outcomes = Vec::with_capacity(batch.len());
        // By the current number of partitions: messages of one route may belong to several since they were planned.
        let together = |one: &Message, next: &Message| match self.routing {
            Routing::Partition => self.route(one.key.as_ref()) == self.route(next.key.as_ref()),
            Routing::Service => one.key == next.key,
        };
        for run in batch.chunk_by(together) {
            if let Some(Err(_)) = outcomes.last() {
                // Earlier messages of its keys may have failed.
                outcomes.extend(not_sent(run));
                continue;
            }
            let key = run[0].key.as_ref();
            let (target, key) = match (self.routing, key) {
                (Routing::Partition, Some(_)) => {
                    (Target::Partition(u32::try_from(self.route(key)).unwrap_or(u32::MAX)), None)
                }
                (Routing::Service, Some(key)) => (Target::Hub, Some(key.as_str())),
                (_, None) => (Target::Hub, None),
            };
            self.send_to(target, key, run, &mut outcomes).await;
        }
        outcomes
    }

    async fn close(&self) -> Result<()> {
        if !self.closed.swap(true, SeqCst) {
            self.client.close().await;
        }
        Ok(())
    }
}
