use std::{any::Any, fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::{Message, Position, Result};

/// Where messages go. Implemented once per provider. No default methods: a wrapper that forgets one does not compile.
///
/// Applications hold a `Sender`, which batches, retries and keeps order on top of this.
///
/// - **P1** `Ok` means stored durably: that record's own confirmation was seen. A response with more or fewer entries
///   than the request confirms none.
/// - **P2** One outcome per message, in the order of the batch.
/// - **P3** An error that [`is_ambiguous`](crate::Error::is_ambiguous) says that the message may be stored; any other
///   says that it is not and will not be.
/// - **P4** If a message of a key fails, every later message of that key in the batch fails too, so that it may be
///   resent from there without reordering.
/// - **P5** It never retries by itself.
/// - **P6** What [`plan`](Self::plan) accepts within [`limits`](Self::limits) is not refused for its size later.
/// - **P7** Every request has a deadline of its own; a call returns in bounded time whatever the provider does.
///
/// `Any` is the way out to the native client: a wrapper exposes what it wraps.
#[async_trait]
pub trait Producer: Any + Debug + Send + Sync {
    /// What one request may hold.
    fn limits(&self) -> Limits;

    /// Checks one message and measures it, without I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) or [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported)
    /// if the provider cannot carry the message; the text begins with the name of the field.
    fn plan(&self, message: &Message) -> Result<Plan>;

    /// Sends one batch: as many messages and bytes as `limits` allow, of one route.
    ///
    /// Driven to its end by one task, never cancelled; not cancel-safe.
    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>>;

    /// Disconnects. Idempotent; a later `send` fails every message with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    ///
    /// What the provider reported. It is closed all the same.
    async fn close(&self) -> Result<()>;
}

/// What one call to [`Producer::send`] may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most messages.
    pub messages: usize,
    /// Most bytes, as counted by [`Plan::bytes`]. It is also the most that a single message may have.
    pub bytes: usize,
    /// Whether a request may hold only one message of a key, since the provider fails entries one by one (**P4**).
    pub one_per_key: bool,
    /// How long a sender may try to send a message, where a provider stores each once only for as long as it remembers
    /// it.
    pub deadline: Option<Duration>,
}

impl Limits {
    /// At most `messages` messages of `bytes` bytes together.
    pub const fn new(messages: usize, bytes: usize) -> Self {
        Self { messages, bytes, one_per_key: false, deadline: None }
    }

    /// Allows one message of a key in a request.
    pub const fn with_one_per_key(mut self) -> Self {
        self.one_per_key = true;
        self
    }

    /// Limits how long a sender may try.
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }
}

/// How one message is to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Plan {
    /// Its size in the provider's own encoding, as the provider counts it.
    pub bytes: usize,
    /// Messages of different routes never share a request. 0 where it does not matter.
    pub route: u64,
}

impl Plan {
    /// A message of `bytes` bytes on the only route.
    pub const fn new(bytes: usize) -> Self {
        Self { bytes, route: 0 }
    }

    /// Puts it on `route`.
    pub const fn on_route(mut self, route: u64) -> Self {
        self.route = route;
        self
    }
}

/// Proof that the provider stored a message.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The provider's name for the message, for logs.
    pub position: Position,
}

impl Receipt {
    /// A receipt naming the stored message.
    pub fn new(position: impl Into<Position>) -> Self {
        Self { position: position.into() }
    }
}
