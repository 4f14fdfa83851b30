use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use bytes::Bytes;
use strait_core::{Headers, Id, Key, Message};

use super::{BODY, EMPTY, HEADERS, ID, KEY, NO_BODY, packed};

/// A message as it was sent. What this crate did not write is delivered as it is: the body is the payload, attributes
/// are headers, in the order of their names.
pub(crate) fn decode(
    body: String,
    attributes: Option<HashMap<String, MessageAttributeValue>>,
    group: Option<&str>,
) -> Message {
    let mut attributes = attributes.unwrap_or_default();
    let mut read = |name, parse: &dyn Fn(&MessageAttributeValue) -> bool| {
        let parsed = attributes.get(name).is_some_and(parse);
        if parsed { attributes.remove(name) } else { None } // what is not ours stays a header
    };
    let id_of = |value: &MessageAttributeValue| value.string_value().and_then(|text| text.parse::<Id>().ok());
    let id = read(ID, &|value| id_of(value).is_some()).and_then(|value| id_of(&value));
    let is_body = |value: &MessageAttributeValue| {
        body == NO_BODY && (value.binary_value().is_some() || value.string_value() == Some(EMPTY))
    };
    let payload = read(BODY, &is_body).map(|value| value.binary_value.map(|blob| Bytes::from(blob.into_inner())));
    let key_of = |value: &MessageAttributeValue| {
        let bytes = value.string_value().map(str::as_bytes).or(value.binary_value().map(AsRef::as_ref));
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| Key::new(text).ok())
    };
    let key = read(KEY, &|value| key_of(value).is_some()).and_then(|value| key_of(&value));
    let unpack = |value: &MessageAttributeValue| {
        value.binary_value().and_then(|blob| packed::unpack(Bytes::copy_from_slice(blob.as_ref())))
    };
    let packed = read(HEADERS, &|value| unpack(value).is_some()).and_then(|value| unpack(&value));

    let mut message = Message::new(match payload {
        None => Bytes::from(body),
        Some(binary) => binary.unwrap_or_default(),
    });
    message.id = id;
    message.key = key.or_else(|| key_of_group(group?, id));
    let mut own: Vec<_> = attributes.into_iter().map(|(name, value)| (name, into_bytes(value))).collect();
    own.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    own.extend(packed.into_iter().flatten());
    message.headers = Headers::from_iter(own);
    message
}

/// A message without a key is a group of its own, called as it is.
fn key_of_group(group: &str, id: Option<Id>) -> Option<Key> {
    if id.is_some_and(|id| id.to_string() == group) { None } else { Key::new(group).ok() }
}

fn into_bytes(value: MessageAttributeValue) -> Bytes {
    match (value.string_value, value.binary_value) {
        (Some(text), _) => text.into(),
        (None, Some(blob)) => blob.into_inner().into(),
        (None, None) => Bytes::new(),
    }
}
