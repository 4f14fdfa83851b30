use std::{sync::Arc, time::Duration};

use strait_core::{Error, ErrorKind, Guarantees, Ordering, Result, planted};

use crate::{Backoff, Meter, Sender};

/// How a [`Receiver`](crate::Receiver) processes what it receives. The same on every provider.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReceiverSettings {
    /// What the receiver is called, in errors and logs. Default: `receiver`.
    pub name: Arc<str>,
    /// The order to process in. Opening fails if the provider cannot keep it. Default: none.
    pub ordering: Ordering,
    /// Most messages handed out and not yet acknowledged: handlers that run. Default: 64.
    pub in_flight: usize,
    /// Most messages held: waiting, running, between attempts or being settled. Default: 1,024.
    pub buffer: usize,
    /// How many messages may wait here to be handed out before no more are asked for; up to twice as many do where others
    /// get ready meanwhile. Messages that wait for one before them of their key, or for their next attempt, do not count.
    /// At least 1. Default: as many as are [`in_flight`](Self::in_flight) where each message has a lease of its own, as on
    /// a queue, since what waits here nobody else can work on; on a log no other limit than `buffer`.
    pub prefetch: Option<usize>,
    /// Most bytes held, exceeded by at most one message. Default: 64 MiB.
    pub buffer_bytes: usize,
    /// What happens to a message whose attempt failed.
    pub retry: Retry,
    /// Where messages go that failed for good.
    pub dead_letter: DeadLetter,
    /// What happens to a dead letter that its channel cannot hold. Default: it is refused, and stalls.
    pub oversize: Oversize,
    /// How long a close may take in all. It waits for what is in hand, but leaves the last 3 s, or half of it where it is
    /// shorter than 6 s, to give back what is not settled and to persist progress. Default: 30 s.
    pub drain: Duration,
    /// What counts; see [`Meter`].
    pub meter: Meter,
}

/// How often and how fast to try a message again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// Attempts before giving up, at least 1. Counted in place: what a provider redelivers after a crash starts again,
    /// unless [crashes](strait_core::Origin::crashes) are known. Default: 5.
    pub attempts: u32,
    /// The pauses between them.
    pub backoff: Backoff,
}

impl Default for Retry {
    fn default() -> Self {
        Self::new(5, Backoff::default())
    }
}

impl Retry {
    /// At most `attempts` attempts, with pauses of `backoff`.
    pub const fn new(attempts: u32, backoff: Backoff) -> Self {
        Self { attempts, backoff }
    }
}

/// Where messages go that failed for good: always a decision, never a silent loss.
#[derive(Clone, Debug)]
pub enum DeadLetter {
    /// To this channel. The dead letter is stored before the message is settled, so that a crash in between leaves two,
    /// never none.
    Channel(Sender),
    /// Nowhere: the message is settled, counted and logged without its content.
    Discard,
    /// It stays, and is tried again at the longest pause for ever. It stalls its key, and on a log its partition.
    Block,
}

impl DeadLetter {
    /// The name of the sender that stores dead letters, if there is one.
    pub(super) fn sender(&self) -> Option<&str> {
        match self {
            Self::Channel(sender) => Some(sender.name()),
            Self::Discard | Self::Block => None,
        }
    }
}

/// What happens to a dead letter that its channel cannot hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Oversize {
    /// It is refused, and stalls its key where everybody sees it: nothing of a message is lost. Why it is dead yields first,
    /// so that this is so of messages that leave less than 1 KiB of what the channel holds. Opening fails if the channel
    /// cannot hold the source's largest message itself.
    #[default]
    Refuse,
    /// Its payload is cut off at the end, and a header says how long it was. Where the headers alone are too large, those
    /// that this library did not write are left out, and named in one.
    Truncate,
}

impl ReceiverSettings {
    /// The defaults, and where messages go that failed for good.
    pub fn new(dead_letter: DeadLetter) -> Self {
        Self {
            name: "receiver".into(),
            ordering: Ordering::None,
            in_flight: 64,
            buffer: 1024,
            prefetch: None,
            buffer_bytes: 64 << 20,
            retry: Retry::default(),
            dead_letter,
            oversize: Oversize::default(),
            drain: Duration::from_secs(30),
            meter: Meter::default(),
        }
    }

    /// Calls the receiver `name`.
    pub fn named(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// Processes messages of one key one after the other, in order.
    pub fn in_order(mut self) -> Self {
        self.ordering = Ordering::Key;
        self
    }

    /// Hands out at most `count` messages at once, and holds at least as many.
    pub fn in_flight(mut self, count: usize) -> Self {
        self.in_flight = count;
        self.buffer = self.buffer.max(count);
        self
    }

    /// Retries as `retry` says.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// How many messages may wait to be handed out, of a consumer like this.
    pub(super) fn prefetch_of(&self, guarantees: &Guarantees) -> usize {
        let by_default =
            if guarantees.message_leases && !planted!("all-is-prefetched") { self.in_flight } else { usize::MAX };
        self.prefetch.unwrap_or(by_default)
    }

    /// Checks every field, and what was asked for against what the provider promises.
    pub(super) fn check(&self, guarantees: &Guarantees) -> Result<()> {
        let refuse = |kind, text: String| Err(Error::new(kind, format!("{}: {text}", self.name)));
        let wrong = |field: &str, rule: &str| refuse(ErrorKind::Config, format!("{field}: {rule}"));
        if self.in_flight == 0 {
            return wrong("in_flight", "must be at least 1");
        }
        if self.buffer < self.in_flight {
            return wrong("buffer", "must be at least in_flight");
        }
        if self.prefetch == Some(0) {
            return wrong("prefetch", "must be at least 1");
        }
        if self.buffer_bytes == 0 {
            return wrong("buffer_bytes", "must be at least 1");
        }
        if self.retry.attempts == 0 {
            return wrong("retry.attempts", "must be at least 1");
        }
        if self.retry.backoff.first > self.retry.backoff.longest {
            return wrong("retry.first", "must not be longer than retry.longest");
        }
        let Guarantees { provider, source, .. } = guarantees;
        if self.ordering > guarantees.ordering && !planted!("missing-order-accepted") {
            return refuse(
                ErrorKind::Unsupported,
                format!("ordering: asks for order by key, which {provider} does not keep on {source:?}"),
            );
        }
        if let (DeadLetter::Channel(sender), Oversize::Refuse) = (&self.dead_letter, self.oversize) {
            let (room, needed) = (sender.limits().message_bytes, guarantees.message_bytes);
            if room < needed {
                let largest = match needed {
                    usize::MAX => "does not say how large its messages may be".to_owned(),
                    bytes => format!("may bring {bytes}"),
                };
                return wrong(
                    "dead_letter",
                    &format!(
                        "its channel holds messages of {room} bytes, but {source:?} {largest}; \
                         choose another channel, or oversize = \"truncate\""
                    ),
                );
            }
        }
        if let DeadLetter::Channel(sender) = &self.dead_letter
            && sender.producer().destinations().iter().any(|place| guarantees.fed_by.contains(place))
            && !planted!("dead-letters-to-their-source")
        {
            let rule = format!("leads back to {source:?}, which this receiver receives from; choose another channel");
            return wrong("dead_letter", &rule);
        }
        Ok(())
    }

    /// Says what works, but will surprise.
    pub(super) fn warn(&self, guarantees: &Guarantees) {
        if let Some(native) =
            guarantees.native_attempts.filter(|native| *native < self.retry.attempts.saturating_add(10))
        {
            tracing::warn!(
                receiver = %self.name, native, attempts = self.retry.attempts,
                "the provider moves a message away after fewer deliveries than attempts + 10: deploys and give-backs count there too"
            );
        }
    }
}
