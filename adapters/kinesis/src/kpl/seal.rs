use md5::{Digest as _, Md5};
use strait_core::{Error, ErrorKind, Key, Message, Result};

use super::{
    CHECKSUM, MAGIC, tags,
    wire::{self, HASH_KEYS, PARTITION_KEYS, SUB_RECORDS},
};

/// Most characters of a partition key.
pub const KEY_CHARACTERS: usize = 256;

/// The partition key of an aggregate of messages without keys.
pub(crate) const KEYLESS: &str = "-";
/// How long an explicit hash key is at most: that of 2<sup>128</sup> - 1.
const HASH_DIGITS: usize = 39;

/// Checks one message, and says how large an aggregate of it alone is. One without an id is counted with the one that it is
/// to get, and one without a key with the longest hash.
///
/// An aggregate of several messages is no larger than these sizes together, so that messages that fit by these do fit.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] names the field that cannot be carried: a key of more than 256 characters, or a header of a name
/// that is in use here.
pub fn measure(message: &Message) -> Result<usize> {
    Ok(outside(message.key.as_ref()) + wire::field(inside(message)?))
}

/// How large an aggregate is without its sub-records.
fn outside(key: Option<&Key>) -> usize {
    let keys = key.map_or(wire::field(KEYLESS.len()) + wire::field(HASH_DIGITS), |key| wire::field(key.as_str().len()));
    MAGIC.len() + keys + CHECKSUM
}

/// Refuses a key that is no partition key.
pub(crate) fn check_key(message: &Message) -> Result<()> {
    let Some(key) = &message.key else { return Ok(()) };
    // No character has less than a byte.
    if key.as_str().len() > KEY_CHARACTERS {
        let characters = key.as_str().chars().count();
        if characters > KEY_CHARACTERS {
            let text = format!("key: has {characters} characters, and may have {KEY_CHARACTERS}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    }
    Ok(())
}

/// How large a sub-record is, without its number and length.
fn inside(message: &Message) -> Result<usize> {
    check_key(message)?;
    // An index has two bytes, with its number.
    let indexes = if message.key.is_some() { 2 } else { 4 };
    Ok(indexes + wire::field(message.payload.len()) + tags::measure(message)?)
}

/// A record being made of messages that share a partition key: all of one key, or all without.
///
/// ```
/// use strait_core::{Key, Message};
/// use strait_kinesis::kpl::{Aggregate, Opened, open};
///
/// # fn main() -> strait_core::Result<()> {
/// let key = Key::new("customer-7")?;
/// let mut aggregate = Aggregate::of(&key);
/// aggregate.push(&Message::new("created").with_key(key.clone()))?;
/// aggregate.push(&Message::new("paid").with_key(key.clone()).with_header("by", "card"))?;
/// let Opened::Messages(messages) = open(&aggregate.finish().into()) else { unreachable!("it is one") };
/// let paid = messages.last().expect("there are two");
/// assert_eq!((&paid.payload[..], paid.key), (&b"paid"[..], Some(key)));
/// assert_eq!(paid.headers.get_str("by"), Some("card"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Aggregate {
    partition_key: Option<Key>,
    explicit_hash_key: Option<String>,
    bytes: Vec<u8>,
    messages: usize,
}

impl Aggregate {
    /// For messages of this key.
    pub fn of(key: &Key) -> Self {
        Self::new(Some(key.clone()), None)
    }

    /// For messages without keys. The record is put into the shard that has `hash`.
    pub fn keyless(hash: u128) -> Self {
        Self::new(None, Some(hash.to_string()))
    }

    fn new(partition_key: Option<Key>, explicit_hash_key: Option<String>) -> Self {
        let mut bytes = MAGIC.to_vec();
        let name = partition_key.as_ref().map_or(KEYLESS, Key::as_str);
        wire::put(PARTITION_KEYS, name.as_bytes(), &mut bytes);
        if let Some(hash) = &explicit_hash_key {
            wire::put(HASH_KEYS, hash.as_bytes(), &mut bytes);
        }
        Self { partition_key, explicit_hash_key, bytes, messages: 0 }
    }

    /// The partition key of the record.
    pub fn partition_key(&self) -> &str {
        self.partition_key.as_ref().map_or(KEYLESS, Key::as_str)
    }

    /// The explicit hash key of the record, if its shard is not to be chosen by the partition key.
    pub fn explicit_hash_key(&self) -> Option<&str> {
        self.explicit_hash_key.as_deref()
    }

    /// How many messages are in it.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// How large it is once it is finished.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + CHECKSUM
    }

    /// Adds a message.
    ///
    /// # Errors
    ///
    /// As [`measure`]; [`ErrorKind::Invalid`] also for a message of another key. It stays as it was.
    pub fn push(&mut self, message: &Message) -> Result<()> {
        self.push_within(message, usize::MAX).map(drop)
    }

    /// Adds a message, unless the record would have more than `most` bytes then. Returns whether it was added.
    ///
    /// # Errors
    ///
    /// As [`push`](Self::push).
    pub fn push_within(&mut self, message: &Message, most: usize) -> Result<bool> {
        let length = self.sub_record(message)?;
        if self.bytes() + wire::field(length) > most {
            return Ok(false);
        }
        let into = &mut self.bytes;
        into.reserve(wire::field(length) + CHECKSUM);
        wire::begin(SUB_RECORDS, length, into);
        wire::put_zero(1, into);
        if self.explicit_hash_key.is_some() {
            wire::put_zero(2, into);
        }
        wire::put(3, &message.payload, into);
        tags::put(message, into);
        self.messages += 1;
        Ok(true)
    }

    /// How large the sub-record of a message is, without its number and length.
    fn sub_record(&self, message: &Message) -> Result<usize> {
        if message.key != self.partition_key {
            return Err(Error::new(ErrorKind::Invalid, "key: is not that of the aggregate"));
        }
        let length = inside(message)?;
        Ok(if message.id.is_none() { length - tags::id_bytes() } else { length })
    }

    /// The record's data.
    pub fn finish(mut self) -> Vec<u8> {
        let checksum = Md5::digest(&self.bytes[MAGIC.len()..]);
        self.bytes.extend_from_slice(&checksum);
        self.bytes
    }
}
