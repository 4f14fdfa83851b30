//! What of a message is in tags, whose values are text.

use std::io::Write as _;

use base64::{Engine as _, encoded_len, engine::general_purpose::STANDARD};
use bytes::Bytes;
use strait_core::{Error, ErrorKind, Headers, Id, Message, Result};

use super::wire::{self, Tag};

/// The field of a sub-record that holds tags.
const TAGS: u32 = 4;
const NAME: u32 = 1;
const VALUE: u32 = 2;

const ID: &str = "strait-id";
const KEYLESS: &str = "strait-keyless";
/// What a value begins with whose bytes follow as base64.
const ESCAPE: &str = "base64:";

/// How many bytes the tags of a message have in its sub-record. A sender gives an id to what has none, so that it counts
/// in any case.
pub(super) fn measure(message: &Message) -> Result<usize> {
    let keyless = if message.key.is_none() { wire::field(wire::tag(KEYLESS.len(), 0)) } else { 0 };
    message.headers.iter().try_fold(id_bytes() + keyless, |sum, (name, value)| {
        if name == ID || name == KEYLESS {
            let text = format!("headers: {name:?} is what this provider writes itself");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let length = if is_text(value) { value.len() } else { escaped(value.len()) };
        Ok(sum + wire::field(wire::tag(name.len(), length)))
    })
}

/// How many bytes [`measure`] counts for an id.
pub(super) fn id_bytes() -> usize {
    wire::field(wire::tag(ID.len(), Id::TEXT_BYTES))
}

fn escaped(length: usize) -> usize {
    ESCAPE.len() + encoded_len(length, true).unwrap_or(usize::MAX / 2)
}

/// Whether a value stands in a tag as it is.
fn is_text(value: &[u8]) -> bool {
    !value.starts_with(ESCAPE.as_bytes()) && std::str::from_utf8(value).is_ok()
}

/// Writes the tags of a message into its sub-record.
pub(super) fn put(message: &Message, into: &mut Vec<u8>) {
    if let Some(id) = message.id {
        begin(ID, Id::TEXT_BYTES, into);
        write!(into, "{id}").expect("a vector takes all");
    }
    if message.key.is_none() {
        begin(KEYLESS, 0, into);
    }
    for (name, value) in message.headers.iter() {
        if is_text(value) {
            begin(name, value.len(), into);
            into.extend_from_slice(value);
        } else {
            begin(name, escaped(value.len()), into);
            into.extend_from_slice(ESCAPE.as_bytes());
            into.extend_from_slice(STANDARD.encode(value).as_bytes());
        }
    }
}

/// Begins a tag, up to its value of `length` bytes.
fn begin(name: &str, length: usize, into: &mut Vec<u8>) {
    wire::begin(TAGS, wire::tag(name.len(), length), into);
    wire::put(NAME, name.as_bytes(), into);
    wire::begin(VALUE, length, into);
}

/// What tags say of a message.
#[derive(Debug, Default)]
pub(super) struct Told {
    pub(super) id: Option<Id>,
    pub(super) keyless: bool,
    pub(super) headers: Headers,
}

/// Reads tags. What looks like one of ours and is none is a header.
pub(super) fn read(tags: Vec<Tag>) -> Told {
    let mut told = Told::default();
    let mut headers: Vec<(String, Bytes)> = Vec::new();
    for Tag { name, value } in tags {
        let (name, value) = (name.unwrap_or_default(), value.unwrap_or_default());
        if name == ID
            && told.id.is_none()
            && let Some(id) = id(&value)
        {
            told.id = Some(id);
        } else if name == KEYLESS && value.is_empty() && !told.keyless {
            told.keyless = true;
        } else {
            headers.push((name, unescape(value)));
        }
    }
    told.headers = headers.into_iter().collect();
    told
}

/// An id in the form in which it is written.
fn id(text: &str) -> Option<Id> {
    text.parse().ok().filter(|id: &Id| id.to_string() == text)
}

fn unescape(value: String) -> Bytes {
    match value.strip_prefix(ESCAPE).and_then(|rest| STANDARD.decode(rest).ok()) {
        Some(bytes) => bytes.into(),
        None => value.into(),
    }
}
