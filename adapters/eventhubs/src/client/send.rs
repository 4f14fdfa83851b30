//! Links that send.

use std::{collections::HashMap, pin::pin, sync::Arc, time::Duration};

use fe2o3_amqp::{
    Sendable, Sender,
    link::{DetachError, SendError, SenderAttachError},
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    messaging::{Batch, Data, Message, MessageAnnotations, Outcome, annotations::OwnedKey},
    primitives::{Binary, Symbol, Value},
};
use tokio::{sync::Mutex, time::timeout};
use uuid::Uuid;

use super::{
    connection::Connection,
    line::Line,
    read::{link_failed, stopped},
};
use crate::{
    codec::{Encoded, KEY},
    error::Failed,
};

/// The message format of a batch: each data section is an encoded event.
const BATCH: u32 = 0x8001_3700;
/// The largest request where a link does not say it.
pub(crate) const LARGEST: usize = 1 << 20;

/// How often it is looked whether there still is a connection.
const BEAT: Duration = Duration::from_millis(100);

/// Where events are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Target {
    /// To the hub: the service chooses the partition, by the key if there is one.
    Hub,
    /// To a partition.
    Partition(u32),
}

/// Why a request has no confirmation.
pub(crate) struct Unsent {
    pub(crate) failed: Failed,
    pub(crate) may_be_stored: bool,
}

impl Unsent {
    fn not_stored(failed: Failed) -> Self {
        Self { failed, may_be_stored: false }
    }

    fn unknown(failed: Failed) -> Self {
        Self { failed, may_be_stored: true }
    }
}

/// The links that send: one a target. Requests of one link are in flight together.
#[derive(Debug)]
pub(crate) struct Senders {
    line: Line,
    hub: Arc<str>,
    links: Mutex<HashMap<Target, Arc<Link>>>,
}

#[derive(Debug)]
struct Link {
    sender: Mutex<Sender>,
    largest: usize,
    connection: Arc<Connection>,
    _session: SessionHandle<()>,
}

impl Senders {
    pub(crate) fn new(line: Line, hub: Arc<str>) -> Self {
        Self { line, hub, links: Mutex::default() }
    }

    pub(crate) async fn largest(&self, target: Target) -> Result<usize, Failed> {
        Ok(self.link(target).await?.largest)
    }

    pub(crate) async fn send(&self, target: Target, key: Option<&str>, events: Vec<Encoded>) -> Result<(), Unsent> {
        let sendable = batch(key, events);
        // The service detaches links that nothing was sent by for half an hour, and connections break: what shows before a
        // request leaves costs a new link, and no outcome.
        let mut link = self.link(target).await.map_err(Unsent::not_stored)?;
        let mut handed_over = link.sender.lock().await.send_batchable_ref(&sendable).await;
        if let Err(SendError::LinkStateError(_) | SendError::Detached(_)) = handed_over {
            self.drop(target, &link).await;
            link = self.link(target).await.map_err(Unsent::not_stored)?;
            handed_over = link.sender.lock().await.send_batchable_ref(&sendable).await;
        }
        let settled = match handed_over {
            Ok(settlement) => settled(settlement, &link.connection).await,
            Err(error) => {
                self.drop(target, &link).await;
                return Err(Unsent::not_stored(failed(&error)));
            }
        };
        let unknown = match settled {
            Some(Ok(Outcome::Accepted(_))) => return Ok(()),
            Some(Ok(outcome @ Outcome::Rejected(_))) => return Err(Unsent::not_stored(not_accepted(&outcome))),
            Some(Ok(outcome)) => return Err(Unsent::unknown(not_accepted(&outcome))),
            Some(Err(error)) => failed(&error),
            None => Failed::here("the connection broke off"),
        };
        self.drop(target, &link).await;
        Err(Unsent::unknown(unknown))
    }

    /// The link to a target, attached if it is not. Cancel-safe.
    async fn link(&self, target: Target) -> Result<Arc<Link>, Failed> {
        let mut links = self.links.lock().await;
        if let Some(link) = links.get(&target).filter(|link| link.connection.is_sound()) {
            return Ok(Arc::clone(link));
        }
        links.remove(&target);
        let connection = self.line.get().await?;
        let address = match target {
            Target::Hub => self.hub.to_string(),
            Target::Partition(partition) => format!("{}/Partitions/{partition}", self.hub),
        };
        connection.claim(&address).await?;
        let mut session = connection.session().await?;
        let sender = Sender::attach(&mut session, format!("strait-{}", Uuid::new_v4()), address).await;
        let sender = sender.map_err(|error| attach_failed(&error))?;
        let largest = sender.max_message_size().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(LARGEST);
        let link = Arc::new(Link { sender: Mutex::new(sender), largest, connection, _session: session });
        links.insert(target, Arc::clone(&link));
        Ok(link)
    }

    /// Drops a link that is over.
    async fn drop(&self, target: Target, over: &Arc<Link>) {
        let mut links = self.links.lock().await;
        if links.get(&target).is_some_and(|link| Arc::ptr_eq(link, over)) {
            links.remove(&target);
        }
    }

    /// Drops the link to a target, and uses its connection no more.
    pub(crate) async fn forget(&self, target: Target) {
        if let Some(link) = self.links.lock().await.remove(&target) {
            link.connection.give_up();
        }
    }

    pub(crate) async fn close(&self) {
        self.links.lock().await.clear();
        self.line.close().await;
    }
}

/// The settlement of a request; none if its connection broke off. The library leaves one open that was handed over while the
/// connection was closed.
async fn settled<S: Future>(settlement: S, connection: &Connection) -> Option<S::Output> {
    let mut settlement = pin!(settlement);
    loop {
        if let Ok(settled) = timeout(BEAT, &mut settlement).await {
            return Some(settled);
        }
        if !connection.is_sound() {
            return None;
        }
    }
}

fn batch(key: Option<&str>, events: Vec<Encoded>) -> Sendable<Batch<Data>> {
    let events: Vec<_> = events.into_iter().map(|event| Data(Binary::from(event))).collect();
    let mut message: Message<Batch<Data>> = Message::builder().data_batch(events).build();
    message.message_annotations = key.map(|key| {
        let mut annotations = MessageAnnotations::default();
        annotations.0.insert(OwnedKey::from(Symbol::from(KEY)), Value::String(key.to_owned()));
        annotations
    });
    Sendable { message, message_format: BATCH, settled: None }
}

/// Why a request was not accepted.
pub(crate) fn not_accepted(outcome: &Outcome) -> Failed {
    match outcome {
        Outcome::Rejected(rejected) => match &rejected.error {
            Some(error) => Failed::from(error),
            None => Failed::here("rejected"),
        },
        Outcome::Released(_) => Failed::here("released"),
        Outcome::Modified(_) => Failed::here("modified"),
        Outcome::Accepted(_) => Failed::here("accepted"),
    }
}

/// Why a link that sends is over.
pub(crate) fn failed(error: &SendError) -> Failed {
    match error {
        SendError::LinkStateError(error) => link_failed(error),
        SendError::Detached(error) => detached(error),
        SendError::MessageSizeExceeded(error) => Failed::too_large(error.to_string()),
        other => Failed::here(other.to_string()),
    }
}

fn detached(error: &DetachError) -> Failed {
    match error {
        DetachError::RemoteDetachedWithError(error) | DetachError::RemoteClosedWithError(error) => Failed::from(error),
        DetachError::SessionStopped(reason) => stopped(reason),
        other => Failed::here(other.to_string()),
    }
}

/// Why a link that sends was not attached.
pub(crate) fn attach_failed(error: &SenderAttachError) -> Failed {
    match error {
        SenderAttachError::RemoteClosedWithError(error) => Failed::from(error),
        SenderAttachError::SessionStopped(reason) => stopped(reason),
        other => Failed::here(other.to_string()),
    }
}
