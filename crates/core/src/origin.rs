use std::{fmt, sync::Arc, time::SystemTime};

/// A provider's name for a message: a sequence number, an offset, a message id. Only the provider that made it can
/// interpret it. Positions of a log that progress is stored as have one order: `strait_kit::compare`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Position {
    /// A number, on providers that count.
    Number(u64),
    /// Anything else.
    Text(Arc<str>),
}

impl Default for Position {
    fn default() -> Self {
        Self::Number(0)
    }
}

impl From<u64> for Position {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for Position {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// Where a delivery came from, for logs, metrics and dead letters. Its partition is
/// [`Claim::partition`](crate::Claim::partition).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    position: Position,
    redeliveries: u32,
    crashes: u32,
    stored_at: Option<SystemTime>,
}

impl Origin {
    /// The message at `position`.
    pub fn new(position: impl Into<Position>) -> Self {
        Self { position: position.into(), ..Self::default() }
    }

    /// Says how often the provider delivered it before.
    pub fn with_redeliveries(mut self, count: u32) -> Self {
        self.redeliveries = count;
        self
    }

    /// Says how many processes ended while they worked on it, and on nothing else of its partition.
    pub fn with_crashes(mut self, count: u32) -> Self {
        self.crashes = count;
        self
    }

    /// Says when the provider stored it.
    pub fn with_stored_at(mut self, time: SystemTime) -> Self {
        self.stored_at = Some(time);
        self
    }

    /// The provider's name for the message.
    pub fn position(&self) -> &Position {
        &self.position
    }

    /// How often the provider delivered it before, as far as it knows; 0 where it does not count.
    ///
    /// This never counts as attempts: deploys and give-backs raise it too.
    pub fn redeliveries(&self) -> u32 {
        self.redeliveries
    }

    /// How many processes ended while they worked on it, where it is under suspicion of that; else 0.
    ///
    /// These count as attempts.
    pub fn crashes(&self) -> u32 {
        self.crashes
    }

    /// When the provider stored it, by the provider's clock, where it says so.
    pub fn stored_at(&self) -> Option<SystemTime> {
        self.stored_at
    }
}
