use std::fmt;

use bytes::Bytes;
use md5::{Digest as _, Md5};
use strait_core::{Key, Message};

/// What the stream is called.
pub(crate) const STREAM: &str = "bench";
/// Of the same length as any id.
pub(crate) const ID: &str = "00000000-0000-7000-8000-000000000000";

/// What is in a record that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Content {
    /// There is none: the stream is empty.
    Nothing,
    /// The payload.
    Plain,
    /// An aggregate of so many messages.
    Kpl(usize),
}

/// By these words a stub is told.
impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("nothing"),
            Self::Plain => f.write_str("plain"),
            Self::Kpl(messages) => messages.fmt(f),
        }
    }
}

impl Content {
    pub(crate) fn read(word: &str) -> Option<Self> {
        Some(match word {
            "nothing" => Self::Nothing,
            "plain" => Self::Plain,
            messages => Self::Kpl(messages.parse().ok()?),
        })
    }
}

/// What is sent or read, and by how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// What each message carries.
    pub(crate) payload: &'static str,
    pub(crate) content: Content,
    /// How many send one message each and wait for it.
    pub(crate) callers: usize,
    /// How many outcomes are open before the oldest is waited for.
    pub(crate) open: usize,
    /// How many requests to send are under way at most.
    pub(crate) requests: usize,
    /// How many records by hand are asked for at once.
    pub(crate) limit: i32,
}

impl Load {
    pub(crate) fn new(bytes: usize) -> Self {
        let payload = "x".repeat(bytes).leak();
        Self { payload, content: Content::Nothing, callers: 256, open: 5000, requests: 8, limit: 2000 }
    }

    /// A message without a key.
    pub(crate) fn message(self) -> Message {
        Message::new(Bytes::from_static(self.payload.as_bytes()))
    }
}

/// So many keys.
pub(crate) fn keys(count: usize) -> Vec<Key> {
    (0..count).map(|number| Key::new(&format!("customer-{number}")).expect("it is a key")).collect()
}

/// Which of so many shards of equal size a partition key belongs to.
pub(crate) fn shard_of(partition_key: &str, shards: usize) -> usize {
    let hash = u128::from_be_bytes(Md5::digest(partition_key.as_bytes()).into());
    let width = u128::MAX / shards as u128;
    usize::try_from(hash / width).map_or(0, |shard| shard.min(shards - 1))
}
