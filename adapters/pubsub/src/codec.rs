//! How a message travels: its payload as data, its key as the ordering key, its id and headers as attributes.
//!
//! | attribute | holds |
//! |---|---|
//! | `strait-id` | the message's id |
//! | any other | the header of that name |

use std::collections::HashMap;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::PubsubMessage;
use prost::encoding::encoded_len_varint;
use strait_core::{Error, ErrorKind, Headers, Id, Key, Message, Result};

/// What the attribute is called that this crate writes itself.
const ID: &str = "strait-id";

/// Most bytes of a request: 10 MB, as Google's clients count them, less what the name of the topic may take.
pub(crate) const REQUEST_BYTES: usize = 10_000_000 - 1_000;
/// Most messages of a request.
pub(crate) const REQUEST_MESSAGES: usize = 1000;

/// Most attributes of a message, the id among them.
const ATTRIBUTES: usize = 100;
const NAME_BYTES: usize = 256;
const VALUE_BYTES: usize = 1024;

/// Checks a message, and says how large it is in a request. A sender gives an id to what has none, so that it counts in
/// any case.
///
/// # Errors
///
/// [`ErrorKind::Invalid`] names the field that cannot be carried.
pub(crate) fn measure(message: &Message) -> Result<usize> {
    if message.headers.len() >= ATTRIBUTES {
        let text = format!("headers: there are {}, and may be {}", message.headers.len(), ATTRIBUTES - 1);
        return Err(invalid(text));
    }
    let mut attributes = field(entry(ID.len(), Id::TEXT_BYTES));
    let mut names = Vec::with_capacity(message.headers.len());
    for (name, value) in message.headers.iter() {
        check(name, value)?;
        names.push(name);
        attributes += field(entry(name.len(), value.len()));
    }
    names.sort_unstable();
    if let Some(name) = names.iter().zip(names.iter().skip(1)).find_map(|(one, next)| (one == next).then_some(one)) {
        return Err(invalid(format!("headers: {name:?} has several values")));
    }
    let bytes = |length: usize| if length == 0 { 0 } else { field(length) };
    let key = message.key.as_ref().map_or(0, |key| key.as_str().len());
    Ok(field(bytes(message.payload.len()) + attributes + bytes(key)))
}

/// A field of bytes, of those with a tag of one byte.
fn field(length: usize) -> usize {
    1 + encoded_len_varint(length as u64) + length
}

/// An entry of a map, without the field that it is in.
fn entry(name: usize, value: usize) -> usize {
    // What is empty is left out.
    let part = |length: usize| if length == 0 { 0 } else { field(length) };
    part(name) + part(value)
}

fn check(name: &str, value: &[u8]) -> Result<()> {
    if name == ID {
        return Err(invalid(format!("headers: {name:?} is what this provider writes itself")));
    }
    if name.is_empty() || name.len() > NAME_BYTES {
        return Err(invalid(format!("headers: a name has {} bytes, and must have 1 to {NAME_BYTES}", name.len())));
    }
    if name.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("goog")) {
        return Err(invalid(format!("headers: {name:?} begins with goog, which is reserved")));
    }
    if value.len() > VALUE_BYTES {
        let text = format!("headers: {name:?} has {} bytes, and may have {VALUE_BYTES}", value.len());
        return Err(invalid(text));
    }
    if std::str::from_utf8(value).is_err() {
        return Err(invalid(format!("headers: {name:?} must be UTF-8")));
    }
    Ok(())
}

/// A message as it is published.
///
/// # Errors
///
/// As [`measure`], and for what has neither payload nor id nor headers.
pub(crate) fn encode(message: &Message) -> Result<PubsubMessage> {
    measure(message)?;
    if message.payload.is_empty() && message.id.is_none() && message.headers.is_empty() {
        return Err(invalid("payload: is empty, and so are id and headers".to_owned()));
    }
    let id = message.id.map(|id| (ID.to_owned(), id.to_string()));
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned(); // it is UTF-8
    let own = message.headers.iter().map(|(name, value)| (name.to_owned(), text(value)));
    Ok(PubsubMessage {
        data: message.payload.clone(),
        attributes: id.into_iter().chain(own).collect(),
        ordering_key: message.key.as_ref().map_or_else(String::new, ToString::to_string),
        ..PubsubMessage::default()
    })
}

/// A message as it was sent. What this crate did not write is delivered as it is: attributes are headers, in the order
/// of their names.
pub(crate) fn decode(wire: PubsubMessage) -> Message {
    let mut attributes: HashMap<_, _> = wire.attributes;
    let mut message = Message::new(wire.data);
    message.key = Key::new(&wire.ordering_key).ok();
    message.id = attributes.get(ID).and_then(|id| id.parse::<Id>().ok());
    if message.id.is_some() {
        attributes.remove(ID); // what is not ours stays a header
    }
    let mut own: Vec<_> = attributes.into_iter().collect();
    own.sort_unstable();
    message.headers = Headers::from_iter(own);
    message
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

#[cfg(test)]
mod tests {
    use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::PublishRequest;
    use proptest::{collection::btree_map, prelude::*};
    use prost::Message as _;

    use super::*;

    fn message() -> impl Strategy<Value = Message> {
        let name = prop_oneof!["[a-f][a-z._-]{0,99}", "[а-я]{1,128}"];
        let value = prop_oneof![any::<String>(), "v{0,300}", Just("v".repeat(VALUE_BYTES))];
        let value = value.prop_filter("is short enough", |value| value.len() <= VALUE_BYTES);
        let payload = prop_oneof![any::<Vec<u8>>(), Just(Vec::new()), (0..40_000_usize).prop_map(|size| vec![7; size])];
        let key = proptest::option::of("[a-zж]{1,300}");
        (payload, btree_map(name, value, 0..ATTRIBUTES), key, any::<[u8; 16]>()).prop_map(
            |(payload, headers, key, id)| {
                let mut message = Message::new(payload).with_id(Id::from_bytes(id));
                message.headers = headers.into_iter().collect();
                message.key = key.map(|key| Key::new(&key).unwrap());
                message
            },
        )
    }

    proptest! {
        #[test]
        fn a_message_comes_out_as_it_went_in_and_is_as_large_as_it_was_said_to_be(message in message()) {
            let wire = encode(&message).unwrap();
            prop_assert!(wire.attributes.len() <= ATTRIBUTES);
            let request = PublishRequest { topic: String::new(), messages: vec![wire] };
            prop_assert_eq!(request.encoded_len(), measure(&message).unwrap());
            let back = decode(request.messages.into_iter().next().unwrap());
            prop_assert_eq!(back, message);
        }

        #[test]
        fn what_others_wrote_is_read_as_it_is(data: Vec<u8>, id: String, name: String, value: String, key: String) {
            let attributes = HashMap::from([(ID.to_owned(), id.clone()), (name, value)]);
            let wire = PubsubMessage { data: data.clone().into(), attributes, ordering_key: key, ..Default::default() };
            let message = decode(wire);
            prop_assert_eq!(&message.payload[..], &data[..]);
        }
    }

    #[test]
    fn what_is_no_id_of_ours_stays_a_header() {
        let attributes = HashMap::from([(ID.to_owned(), "7".to_owned()), ("b".to_owned(), "2".to_owned())]);
        let message = decode(PubsubMessage { attributes, ordering_key: "k".repeat(1025), ..Default::default() });
        assert_eq!((message.id, message.key), (None, None));
        assert_eq!(message.headers.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["b", ID]);
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_its_field() {
        let refusal = |message: &Message| {
            let refused = encode(message).map(drop).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid);
            refused.to_string()
        };
        let header = |name: &str, value: &[u8]| Message::new("1").with_header(name, value.to_vec());
        for (message, text) in [
            (header(ID, b"x"), "headers: \"strait-id\" is what this provider writes itself"),
            (header("", b"x"), "headers: a name has 0 bytes, and must have 1 to 256"),
            (header(&"n".repeat(257), b"x"), "headers: a name has 257 bytes, and must have 1 to 256"),
            (header("Google", b"x"), "headers: \"Google\" begins with goog, which is reserved"),
            (header("bin", b"\xff"), "headers: \"bin\" must be UTF-8"),
            (header("long", &[b'v'; 1025]), "headers: \"long\" has 1025 bytes, and may have 1024"),
            (Message::new(""), "payload: is empty, and so are id and headers"),
        ] {
            assert_eq!(refusal(&message), text);
        }
        let mut twice = header("a", b"1");
        twice.headers.append("a", "2");
        assert_eq!(refusal(&twice), "headers: \"a\" has several values");
        let mut many = Message::new("1");
        for number in 0..99 {
            many.headers.append(number.to_string(), "v");
        }
        assert!(encode(&many).is_ok());
        many.headers.append("99", "v");
        assert_eq!(refusal(&many), "headers: there are 100, and may be 99");
        let limits = header(&"n".repeat(256), &[b'v'; 1024]).with_key(Key::new(&"k".repeat(1024)).unwrap());
        assert!(encode(&limits).is_ok());
    }
}
