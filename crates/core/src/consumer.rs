use std::{any::Any, fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{Claim, Message, Origin, Result, Token};

/// Where messages come from. Implemented once per provider, or by one of the engines of `strait-kit`.
///
/// Applications hold a `Receiver`, which retries, buries and keeps order on top of this.
///
/// - **C1** Every message that a producer's `Ok` confirmed is received until it is settled: at least once.
/// - **C2** Where [`Ordering::Key`] is declared, messages of one key come in the order in which they were stored.
/// - **C3** The claims of one key are lost together: when a claim of a key is lost or given back unsettled, every later
///   claim of that key held by this consumer is lost too.
/// - **C4** Dropping a claim that is not settled gives the message back, within a second and oldest first.
/// - **C5** A claim is lost from its end (`until`) on without anybody having to say so.
/// - **C6** Nothing is settled but what [`settle`](Self::settle) named; progress never passes an unsettled message.
/// - **C7** A failure of the provider is an error of one call, never the end of the consumer. The end is an error of kind
///   [`ErrorKind::Closed`](crate::ErrorKind::Closed), and nothing else is.
/// - **C8** An empty reply says that the provider answers, and that nothing came for a while.
#[async_trait]
pub trait Consumer: Any + Debug + Send + Sync {
    /// What this consumer is, and what it promises beyond the contract.
    fn guarantees(&self) -> Guarantees;

    /// Waits for messages, and returns at most what `budget` allows; the byte budget may be exceeded by the last message
    /// of a reply.
    ///
    /// An empty reply says that the provider answers and that nothing came for a while: the source exists, it may be
    /// read, and an outage before it is over. The caller calls again at once, so that an implementation replies empty
    /// once a second at most, after its first answer from the provider. It may also wait for a message for ever.
    ///
    /// Driven by one task, and never cancelled while the consumer is open; not cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`](crate::ErrorKind::Closed) once the consumer is closed: nothing comes any more. After every
    /// other error the caller pauses and calls again.
    async fn receive(&self, budget: Budget) -> Result<Vec<Received>>;

    /// These need never be delivered again. Idempotent. One outcome per token, in order.
    ///
    /// A token whose claim is lost fails with [`ErrorKind::Lost`](crate::ErrorKind::Lost), and has no effect.
    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>>;

    /// Hands these back to the provider, each to be delivered again once its pause is over. One outcome per token, in
    /// order. `Ok` ends the claim, and with it the later claims of its key that this consumer holds. After an error the
    /// claim is as it was. Not cancel-safe: what is cancelled may have its effect, and a claim is not extended any more.
    ///
    /// Only for a consumer whose [`Guarantees::postpones`] says how long a pause may be.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) if the provider cannot keep the message back so long, as
    /// no log can; [`ErrorKind::Lost`](crate::ErrorKind::Lost) if the claim is lost.
    async fn postpone(&self, pauses: &[(Token, Duration)]) -> Vec<Result<()>>;

    /// Stops receiving, gives back what is not settled (oldest first), and persists progress. A `receive` under way
    /// fails with [`ErrorKind::Closed`](crate::ErrorKind::Closed). Idempotent.
    ///
    /// # Errors
    ///
    /// What kept it from persisting progress.
    async fn close(&self) -> Result<()>;
}

/// How much [`Consumer::receive`] may return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// Most messages; at least 1.
    pub messages: usize,
    /// No message is added once this many bytes are in; at least 1.
    pub bytes: usize,
}

impl Budget {
    /// At most `messages` messages, and none more once `bytes` bytes are in.
    pub const fn new(messages: usize, bytes: usize) -> Self {
        Self { messages, bytes }
    }
}

/// What a [`Consumer`] is, and what it promises beyond the contract.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Guarantees {
    /// The provider's name: `memory`, `kinesis`, `sqs`, ...
    pub provider: Arc<str>,
    /// What is received from: a stream and group, a queue, a subscription.
    pub source: Arc<str>,
    /// The order messages come in.
    pub ordering: Ordering,
    /// The largest message that may come, in bytes as by [`Message::size`].
    pub message_bytes: usize,
    /// Whether each message has a lease of its own, as on a queue: then nobody else can work on what is held here and not
    /// worked on. On a log a partition is held as a whole.
    pub message_leases: bool,
    /// The longest pause for which the provider keeps a message back and delivers it then, without losing the order it
    /// promises. `None` where it cannot, as on a log.
    pub postpones: Option<Duration>,
    /// After how many deliveries the provider itself moves a message away, where it does.
    pub native_attempts: Option<u32>,
    /// Where what comes was sent to, as far as that can be told: the
    /// [`destinations`](crate::Producer::destinations) of the producers that lead here. Dead letters must not go there.
    pub fed_by: Arc<[String]>,
}

impl Guarantees {
    /// A consumer of `source` at `provider`: no order, messages of any size, no pauses that the provider keeps, no native
    /// limit on attempts.
    pub fn new(provider: impl Into<Arc<str>>, source: impl Into<Arc<str>>) -> Self {
        Self {
            provider: provider.into(),
            source: source.into(),
            ordering: Ordering::None,
            message_bytes: usize::MAX,
            message_leases: false,
            postpones: None,
            native_attempts: None,
            fed_by: Arc::default(),
        }
    }

    /// Promises `ordering`.
    pub fn with_ordering(mut self, ordering: Ordering) -> Self {
        self.ordering = ordering;
        self
    }

    /// Promises that no message is larger than `bytes`.
    pub fn with_message_bytes(mut self, bytes: usize) -> Self {
        self.message_bytes = bytes;
        self
    }

    /// Says that each message has a lease of its own.
    pub fn with_message_leases(mut self) -> Self {
        self.message_leases = true;
        self
    }

    /// Says that the provider keeps a message back for pauses of up to `longest`.
    pub fn with_postpones(mut self, longest: Duration) -> Self {
        self.postpones = Some(longest);
        self
    }

    /// Says which producers lead here, by their [`destinations`](crate::Producer::destinations).
    pub fn with_fed_by(mut self, destinations: impl IntoIterator<Item = String>) -> Self {
        self.fed_by = destinations.into_iter().collect();
        self
    }

    /// Says that the provider moves a message away after `attempts` deliveries.
    pub fn with_native_attempts(mut self, attempts: u32) -> Self {
        self.native_attempts = Some(attempts);
        self
    }
}

/// The order in which messages are delivered, from weak to strong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ordering {
    /// None.
    #[default]
    None,
    /// Messages of one key come in the order in which they were sent.
    Key,
}

/// One delivery of a message.
#[derive(Debug)]
#[non_exhaustive]
pub struct Received {
    /// The message.
    pub message: Message,
    /// The right to settle it.
    pub claim: Claim,
    /// Where it came from.
    pub origin: Origin,
}

impl Received {
    /// A delivery. Marks the message as received.
    #[inline]
    pub fn new(message: Message, claim: Claim, origin: Origin) -> Self {
        Self { message: message.into_received(), claim, origin }
    }
}
