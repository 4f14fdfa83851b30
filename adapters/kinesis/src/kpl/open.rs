use bytes::Bytes;
use md5::{Digest as _, Md5};
use prost::{
    Message as _,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};
use strait_core::{Key, Message};

use super::{
    CHECKSUM, MAGIC, tags,
    wire::{HASH_KEYS, PARTITION_KEYS, SUB_RECORDS, SubRecord},
};

/// What a record holds.
#[derive(Debug)]
pub enum Opened {
    /// One message: the record's data as it is. The flaw says why, if it begins as an aggregate does.
    Plain(Option<Flaw>),
    /// The messages of an aggregate; it may have none.
    Messages(Messages),
}

/// Why a record that begins with [`MAGIC`] is no aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Its checksum is not that of its content.
    Checksum,
    /// Its checksum is right, and its content cannot be read: no message of it may be lost for that.
    Content,
}

impl Flaw {
    /// Its name, for headers and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Checksum => "checksum",
            Self::Content => "content",
        }
    }
}

/// The messages of an aggregate, in order. They are decoded one by one, so that a record takes no more memory than it has
/// bytes, beside the keys.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The protobuf message.
    content: Bytes,
    /// What of it is still to come.
    rest: Bytes,
    /// Where in it the partition keys are.
    keys: Vec<Place>,
    remaining: usize,
}

/// A piece of a record: its start and its end.
type Place = (u32, u32);

/// Reads a record's data, whatever it is. Sub-records are not opened in turn.
pub fn open(data: &Bytes) -> Opened {
    if !data.starts_with(&MAGIC) {
        return Opened::Plain(None);
    }
    let end = data.len().saturating_sub(CHECKSUM);
    // Without any content it is not taken for one by others either.
    if end <= MAGIC.len() || Md5::digest(&data[MAGIC.len()..end])[..] != data[end..] {
        return Opened::Plain(Some(Flaw::Checksum));
    }
    Messages::scan(data.slice(MAGIC.len()..end)).map_or(Opened::Plain(Some(Flaw::Content)), Opened::Messages)
}

impl Messages {
    /// Reads all of it once, so that later nothing can be wrong with it.
    fn scan(content: Bytes) -> Option<Self> {
        let (mut keys, mut hash_keys, mut remaining) = (Vec::new(), 0_u64, 0);
        let (mut most_key, mut most_hash_key) = (None, None);
        let mut rest = content.clone();
        while !rest.is_empty() {
            let (number, value) = field(&mut rest)?;
            match number {
                PARTITION_KEYS => {
                    Key::new(std::str::from_utf8(&value).ok()?).ok()?;
                    let end = u32::try_from(content.len() - rest.len()).ok()?;
                    keys.push((end - u32::try_from(value.len()).ok()?, end));
                }
                HASH_KEYS => {
                    std::str::from_utf8(&value).ok()?;
                    hash_keys += 1;
                }
                SUB_RECORDS => {
                    let record = SubRecord::decode(value).ok()?;
                    if record.data.is_none() || record.tags.iter().any(|tag| tag.name.is_none()) {
                        return None;
                    }
                    most_key = most_key.max(Some(record.partition_key?));
                    most_hash_key = most_hash_key.max(record.hash_key);
                    remaining += 1;
                }
                _ => {}
            }
        }
        // The tables may stand behind what refers to them.
        let known = most_key.is_none_or(|most| most < keys.len() as u64);
        let hash_known = most_hash_key.is_none_or(|most| most < hash_keys);
        (known && hash_known).then(|| Self { rest: content.clone(), content, keys, remaining })
    }

    fn key(&self, index: u64) -> Option<Key> {
        let (start, end) = *self.keys.get(usize::try_from(index).ok()?)?;
        Key::new(std::str::from_utf8(&self.content[start as usize..end as usize]).ok()?).ok()
    }
}

impl Iterator for Messages {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let record = loop {
            let (number, value) = field(&mut self.rest)?;
            if number == SUB_RECORDS {
                break SubRecord::decode(value).ok()?;
            }
        };
        self.remaining -= 1;
        let told = tags::read(record.tags);
        let mut message = Message::new(record.data?);
        message.key = if told.keyless { None } else { self.key(record.partition_key?) };
        (message.id, message.headers) = (told.id, told.headers);
        Some(message)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.remaining, Some(self.remaining))
    }
}

impl ExactSizeIterator for Messages {}

/// The next field: its number, and its bytes if it is one that is read here. `None` if there is none, or none that can be
/// read.
fn field(rest: &mut Bytes) -> Option<(u32, Bytes)> {
    let (number, wire_type) = decode_key(rest).ok()?;
    if !matches!(number, PARTITION_KEYS | HASH_KEYS | SUB_RECORDS) {
        skip_field(wire_type, number, rest, DecodeContext::default()).ok()?;
        return Some((number, Bytes::new()));
    }
    if wire_type != WireType::LengthDelimited {
        return None;
    }
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    (length <= rest.len()).then(|| (number, rest.split_to(length)))
}
