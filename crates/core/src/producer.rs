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
    /// What one request may hold, and each message of it.
    fn limits(&self) -> Limits;

    /// Where its messages go: names in the form of [`Guarantees::fed_by`](crate::Guarantees::fed_by), which are equal only
    /// if the places are. Empty if that cannot be told. Asked for when a channel opens, never for a message.
    fn destinations(&self) -> Vec<String>;

    /// Checks one message and measures it, without I/O.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) or [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported)
    /// if the provider cannot carry the message; the text begins with the name of the field.
    fn plan(&self, message: &Message) -> Result<Plan>;

    /// Sends one batch: as many messages and bytes as `limits` allow, of one route.
    ///
    /// Driven by one task; not cancel-safe. It is dropped before its end only where nobody waits for it any more: when every
    /// message of the batch has been out of time for 400 ms, which a provider that keeps **P7** sees only where its own
    /// deadline is longer than the sender's, or when its sender is closed in bounded time, or its runtime ends. A message
    /// that is out of time while others of its batch are not does not end it: its outcome is unknown, theirs come.
    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>>;

    /// Disconnects. Idempotent; a later `send` fails every message with
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed).
    ///
    /// # Errors
    ///
    /// What the provider reported. It is closed all the same.
    async fn close(&self) -> Result<()>;
}

/// What one call to [`Producer::send`] may hold: one request, and each message of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Most messages of a request.
    pub messages: usize,
    /// Most bytes of all messages of a request together, as counted by [`Plan::bytes`].
    pub request_bytes: usize,
    /// Most bytes of one message, as counted by [`Plan::bytes`]: a larger one is refused before it is sent. At most
    /// [`request_bytes`](Self::request_bytes). Default: as many.
    pub message_bytes: usize,
    /// Most bytes of all messages of one key in a request together, as counted by [`Plan::bytes`]. The first message of a
    /// key joins a request whatever its size; the next one does while the key has at most so many bytes in it.
    ///
    /// A provider that fails the entries of a request one by one (**P4**) sets 0, which stands for one message of a key,
    /// or, where it packs the messages of a key into one entry, the size of the largest entry. Default: [`usize::MAX`],
    /// since most fail a request as a whole.
    pub key_bytes: usize,
    /// How long a sender may try to send a message, where a provider stores each once only for as long as it remembers
    /// it.
    pub deadline: Option<Duration>,
}

impl Limits {
    /// At most `messages` messages of `request_bytes` bytes together, each as large as the request, of any keys.
    pub const fn new(messages: usize, request_bytes: usize) -> Self {
        Self { messages, request_bytes, message_bytes: request_bytes, key_bytes: usize::MAX, deadline: None }
    }

    /// Limits a message to `bytes`.
    pub const fn with_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// Limits the messages of one key in a request to `bytes` together; 0 allows one message of a key.
    pub const fn with_key_bytes(mut self, bytes: usize) -> Self {
        self.key_bytes = bytes;
        self
    }

    /// Whether a message of `bytes` may join a request that has `held` bytes of its key already, in at least one message.
    pub const fn shares_key(&self, held: usize, bytes: usize) -> bool {
        self.key_bytes > 0 && held.saturating_add(bytes) <= self.key_bytes
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
