//! A message as the sections of AMQP 1.0, written by hand: its size is known without encoding it, and each event is encoded
//! once, into the batch that it travels in.

use strait_core::{Error, ErrorKind, Id, Message, Result};

use super::{CONTENT_TYPE, CORRELATION_ID, KEY, KEY_BYTES, section};

/// An event as it stands in a batch.
pub(crate) type Encoded = Vec<u8>;

/// What a batch adds to an event: the section that holds it.
pub(crate) const ENTRY: usize = SECTION + 5;

/// A section begins with its descriptor.
const SECTION: usize = 3;

const NULL: u8 = 0x40;
/// The codes of a kind of value: with lengths of one byte, and of four.
type Codes = [u8; 2];
const LIST: Codes = [0xc0, 0xd0];
const MAP: Codes = [0xc1, 0xd1];
const BINARY: Codes = [0xa0, 0xb0];
const TEXT: Codes = [0xa1, 0xb1];
const SYMBOL: Codes = [0xa3, 0xb3];

/// Where a header goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    ContentType,
    CorrelationId,
    Application,
}

fn place(name: &str, value: &[u8]) -> Place {
    match name {
        CONTENT_TYPE if value.is_ascii() => Place::ContentType,
        CORRELATION_ID if std::str::from_utf8(value).is_ok() => Place::CorrelationId,
        _ => Place::Application,
    }
}

/// Checks a message, and says how many bytes it has as an event of a batch. A sender gives an id to what has none, so that it
/// counts in any case.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] names the field that cannot be carried.
pub(crate) fn measure(message: &Message) -> Result<usize> {
    let mut bytes = ENTRY;
    if let Some(key) = &message.key {
        let key = key.as_str();
        if key.len() > KEY_BYTES {
            let text = format!("key: has {} bytes, and may have {KEY_BYTES}", key.len());
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        bytes += SECTION + compound(2, value(KEY.len()) + value(key.len()));
    }
    let mut names: Vec<_> = message.headers.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    if let Some([name, _]) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Error::new(ErrorKind::Invalid, format!("headers: {name:?} has several values")));
    }
    let Sizes { id, properties, count, application } = Sizes::of(message);
    bytes += SECTION + compound(7, properties - id + value(Id::TEXT_BYTES));
    if count > 0 {
        bytes += SECTION + compound(count, application);
    }
    Ok(bytes + SECTION + value(message.payload.len()))
}

/// How many bytes the values have that a message is encoded as.
struct Sizes {
    id: usize,
    /// All properties, the id among them.
    properties: usize,
    /// How many names and values of application properties there are, and their bytes.
    count: usize,
    application: usize,
}

impl Sizes {
    fn of(message: &Message) -> Self {
        let id = if message.id.is_some() { value(Id::TEXT_BYTES) } else { 1 };
        let (mut content_type, mut correlation_id, mut application, mut count) = (1, 1, 0, 0);
        for (name, held) in message.headers.iter() {
            match place(name, held) {
                Place::ContentType => content_type = value(held.len()),
                Place::CorrelationId => correlation_id = value(held.len()),
                Place::Application => {
                    application += value(name.len()) + value(held.len());
                    count += 2;
                }
            }
        }
        Self { id, properties: id + 4 + correlation_id + content_type, count, application }
    }
}

/// How many bytes a text, a symbol or a binary has.
fn value(length: usize) -> usize {
    if length > 255 { 5 + length } else { 2 + length }
}

/// How many bytes a list or a map has, of so many values with so many bytes: a code, its size, its count and the values.
fn compound(count: usize, values: usize) -> usize {
    if is_short(count, values) { 3 + values } else { 9 + values }
}

/// Whether the size, which includes the count, and the count have a byte each.
fn is_short(count: usize, values: usize) -> bool {
    count <= 255 && values < 255
}

/// A message as an event, of as many bytes as [`measure`] says without [`ENTRY`].
pub(crate) fn encode(message: &Message) -> Encoded {
    let sizes = Sizes::of(message);
    let key_bytes = message.key.as_ref().map_or(0, |key| key.as_str().len());
    let most = 5 * (SECTION + 9) + KEY.len() + key_bytes + sizes.properties + sizes.application + message.payload.len();
    let mut out = Vec::with_capacity(most);
    if let Some(key) = &message.key {
        begin_section(&mut out, section::ANNOTATIONS);
        begin_compound(&mut out, MAP, 2, value(KEY.len()) + value(key_bytes));
        put(&mut out, SYMBOL, KEY.as_bytes());
        put(&mut out, TEXT, key.as_str().as_bytes());
    }
    begin_section(&mut out, section::PROPERTIES);
    begin_compound(&mut out, LIST, 7, sizes.properties);
    match &message.id {
        Some(id) => put(&mut out, TEXT, id.to_string().as_bytes()),
        None => out.push(NULL),
    }
    out.extend([NULL; 4]); // user-id, to, subject, reply-to
    let header = |wanted: Place| {
        let mut headers = message.headers.iter();
        headers.find(|(name, value)| place(name, value) == wanted).map(|(_, value)| value)
    };
    for (wanted, codes) in [(Place::CorrelationId, TEXT), (Place::ContentType, SYMBOL)] {
        match header(wanted) {
            Some(value) => put(&mut out, codes, value),
            None => out.push(NULL),
        }
    }
    if sizes.count > 0 {
        begin_section(&mut out, section::APPLICATION_PROPERTIES);
        begin_compound(&mut out, MAP, sizes.count, sizes.application);
        for (name, value) in message.headers.iter().filter(|(name, value)| place(name, value) == Place::Application) {
            put(&mut out, TEXT, name.as_bytes());
            put(&mut out, if std::str::from_utf8(value).is_ok() { TEXT } else { BINARY }, value);
        }
    }
    begin_section(&mut out, section::DATA);
    put(&mut out, BINARY, &message.payload);
    out
}

fn begin_section(out: &mut Encoded, code: u8) {
    out.extend([0x00, 0x53, code]);
}

fn put(out: &mut Encoded, codes: Codes, value: &[u8]) {
    if let Ok(length) = u8::try_from(value.len()) {
        out.extend([codes[0], length]);
    } else {
        out.push(codes[1]);
        out.extend(size(value.len()));
    }
    out.extend_from_slice(value);
}

/// Begins a list or a map of so many values, which have so many bytes.
fn begin_compound(out: &mut Encoded, codes: Codes, count: usize, values: usize) {
    if let (Ok(length), Ok(count)) = (u8::try_from(values + 1), u8::try_from(count)) {
        out.extend([codes[0], length, count]);
    } else {
        out.push(codes[1]);
        out.extend(size(values + 4));
        out.extend(size(count));
    }
}

/// A length of four bytes. No message is that large.
fn size(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{collection::btree_map, option, prelude::*};
    use strait_core::Key;

    use super::*;
    use crate::codec::{Event, decode};

    fn message() -> impl Strategy<Value = Message> {
        let value = prop_oneof![any::<Vec<u8>>(), "[ -~]{0,300}".prop_map(String::into_bytes)];
        let name = prop_oneof!["[a-z.-]{1,300}", Just("content-type".to_owned()), Just("correlation-id".to_owned())];
        let payload = prop_oneof![any::<Vec<u8>>(), (0..70_000_usize).prop_map(|size| vec![7; size])];
        let key = option::of(".{1,30}".prop_map(|key| Key::new(&key).unwrap()));
        (payload, btree_map(name, value, 0..10), key, any::<[u8; 16]>()).prop_map(|(payload, headers, key, id)| {
            let mut message = Message::new(payload).with_id(Id::from_bytes(id));
            message.headers = headers.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect();
            message.key = key.filter(|key| key.as_str().len() <= KEY_BYTES);
            message
        })
    }

    proptest! {
        #[test]
        fn the_size_is_known_to_the_byte(message in message()) {
            prop_assert_eq!(measure(&message).unwrap(), ENTRY + encode(&message).len());
        }

        #[test]
        fn what_is_encoded_is_decoded(message in message()) {
            let Event { message: decoded, .. } = decode(&encode(&message).into()).unwrap();
            // Headers that have a field of their own come before all others.
            let own = |message: &Message, own: bool| -> Vec<(String, Bytes)> {
                let all = message.headers.iter().filter(|(name, value)| (place(name, value) != Place::Application) == own);
                all.map(|(name, value)| (name.to_owned(), value.clone())).collect()
            };
            prop_assert_eq!(own(&decoded, false), own(&message, false));
            let sorted = |message| { let mut own = own(message, true); own.sort(); own };
            prop_assert_eq!(sorted(&decoded), sorted(&message));
            prop_assert_eq!((decoded.payload, decoded.key, decoded.id), (message.payload, message.key, message.id));
        }
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_its_field() {
        let refused = |message| measure(&message).unwrap_err().to_string();
        let long = Message::new("").with_key(Key::new(&"k".repeat(129)).unwrap());
        assert_eq!(refused(long), "key: has 129 bytes, and may have 128");
        let mut twice = Message::new("");
        twice.headers.append("a", "1");
        twice.headers.append("a", "2");
        assert_eq!(refused(twice), "headers: \"a\" has several values");
    }
}
