//! One subscription to a shard.
//!
//! The SDK has no time-out for the events of a call. A task pulls them, one ahead of the reader, so that a subscription that
//! nobody reads ends too.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata as _, SdkError},
    operation::subscribe_to_shard::SubscribeToShardOutput,
    types::{SubscribeToShardEvent, SubscribeToShardEventStream, error::SubscribeToShardEventStreamError},
};
use strait_aws::Call;
use strait_core::Error;
use tokio::{sync::mpsc, task::JoinSet, time::timeout};

use crate::brought::size;

/// How long nothing may come: the service sends an event at least every 5 s.
pub(super) const SILENCE: Duration = Duration::from_secs(15);
/// How long an event may wait until it is read.
pub(super) const UNPULLED: Duration = Duration::from_mins(1);

/// Another member subscribed to the shard, or the consumer cannot be used yet.
pub(super) const IN_USE: &str = "ResourceInUseException";

/// What comes of a subscription. All but events are the last of it.
#[derive(Debug)]
pub(super) enum Pushed {
    Event(SubscribeToShardEvent),
    /// The service ended it in order.
    Ended,
    /// Nothing comes any more.
    Silent,
    /// The connection, or what came by it, is broken.
    BrokeOff,
    /// The service ended it, and says why, with a code.
    Refused(&'static str, Error),
}

/// A subscription. Dropped, it ends.
#[derive(Debug)]
pub(super) struct Subscription {
    pushed: mpsc::Receiver<Pushed>,
    /// How many bytes the event has that waits.
    waiting: Arc<AtomicUsize>,
    is_new: bool,
    _task: JoinSet<()>,
}

impl Subscription {
    /// `call` is what its errors tell of.
    pub(super) fn new(events: SubscribeToShardOutput, call: Call) -> Self {
        let ((reader, pushed), waiting) = (mpsc::channel(1), Arc::new(AtomicUsize::new(0)));
        let mut task = JoinSet::new();
        task.spawn(pull(events, call, reader, Arc::clone(&waiting)));
        Self { pushed, waiting, is_new: true, _task: task }
    }

    /// Whether nothing was read of it.
    pub(super) fn is_new(&self) -> bool {
        self.is_new
    }

    /// What comes next; none if it was given up, since nobody read it. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Pushed> {
        let pushed = self.pushed.recv().await;
        self.waiting.store(0, Relaxed);
        self.is_new = false;
        pushed
    }

    /// How many bytes wait to be read.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }
}

/// Pulls events, as long as somebody reads them.
async fn pull(mut events: SubscribeToShardOutput, call: Call, reader: mpsc::Sender<Pushed>, waiting: Arc<AtomicUsize>) {
    loop {
        let Ok(Ok(room)) = timeout(UNPULLED, reader.reserve()).await else { return };
        let pushed = pulled(&mut events, &call).await;
        let bytes = if let Pushed::Event(event) = &pushed { event.records.iter().map(size).sum() } else { 0 };
        waiting.store(bytes, Relaxed);
        let is_last = !matches!(pushed, Pushed::Event(_));
        room.send(pushed);
        if is_last {
            return;
        }
    }
}

async fn pulled(events: &mut SubscribeToShardOutput, call: &Call) -> Pushed {
    loop {
        return match timeout(SILENCE, events.event_stream.recv()).await {
            Err(_) => Pushed::Silent,
            Ok(Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event)))) => Pushed::Event(event),
            // Of a kind that is not known yet.
            Ok(Ok(Some(_))) => continue,
            Ok(Ok(None)) => Pushed::Ended,
            Ok(Err(SdkError::ServiceError(refusal))) => {
                let refusal = refusal.into_err();
                match code(&refusal) {
                    Some(code) => Pushed::Refused(code, call.refused(code, refusal.message(), 400)),
                    None => Pushed::BrokeOff,
                }
            }
            Ok(Err(_)) => Pushed::BrokeOff,
        };
    }
}

/// The code of an error that ends a subscription, unless it is one that passes by itself. What the service sends need not have
/// it, but for its type.
fn code(error: &SubscribeToShardEventStreamError) -> Option<&'static str> {
    use SubscribeToShardEventStreamError as Error;
    Some(match error {
        Error::ResourceInUseException(_) => IN_USE,
        Error::ResourceNotFoundException(_) => "ResourceNotFoundException",
        Error::KmsAccessDeniedException(_) => "KMSAccessDeniedException",
        Error::KmsDisabledException(_) => "KMSDisabledException",
        Error::KmsInvalidStateException(_) => "KMSInvalidStateException",
        Error::KmsNotFoundException(_) => "KMSNotFoundException",
        Error::KmsOptInRequired(_) => "KMSOptInRequired",
        Error::KmsThrottlingException(_) => "KMSThrottlingException",
        _ => return None,
    })
}
