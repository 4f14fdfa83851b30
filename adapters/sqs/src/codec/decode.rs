use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use bytes::Bytes;
use strait_core::{Headers, Id, Key, Message, reserved};

use super::{BODY, EMPTY, HEADERS, ID, KEY, NO_BODY, TRACE, packed, types};

/// A message as it was sent. What this crate did not write is delivered as it is: the body is the payload, attributes
/// are headers, in the order of their names.
///
/// `None` if the payload was in an attribute that was lost on the way: this crate never writes a body that says so by itself.
pub(crate) fn decode(
    body: String,
    attributes: Option<HashMap<String, MessageAttributeValue>>,
    group: Option<&str>,
    trace: Option<&str>,
) -> Option<Message> {
    let mut attributes = attributes.unwrap_or_default();
    let id = take(&mut attributes, ID, |value| value.string_value()?.parse::<Id>().ok());
    let is_body = |value: &MessageAttributeValue| {
        body == NO_BODY && (value.binary_value().is_some() || value.string_value() == Some(EMPTY))
    };
    // Moved out, since it may be large.
    let payload = if attributes.get(BODY).is_some_and(is_body) { attributes.remove(BODY) } else { None };
    if payload.is_none() && body == NO_BODY && id.is_some() {
        return None;
    }
    let payload = payload.map(|value| value.binary_value.map(|blob| Bytes::from(blob.into_inner())));
    let key = take(&mut attributes, KEY, |value| {
        let bytes = value.string_value().map(str::as_bytes).or(value.binary_value().map(AsRef::as_ref));
        Key::new(std::str::from_utf8(bytes?).ok()?).ok()
    });
    let packed =
        take(&mut attributes, HEADERS, |value| packed::unpack(Bytes::copy_from_slice(value.binary_value()?.as_ref())));

    let mut message = Message::new(match payload {
        None => Bytes::from(body),
        Some(binary) => binary.unwrap_or_default(),
    });
    message.id = id;
    message.key = key.or_else(|| key_of_group(group?, id));
    let mut types: types::Types =
        attributes.iter().filter_map(|(name, value)| Some((name.clone(), types::own(value)?.to_owned()))).collect();
    let trace = trace.map(|trace| (TRACE.to_owned(), Bytes::copy_from_slice(trace.as_bytes())));
    let own = attributes.into_iter().map(|(name, value)| (name, into_bytes(value)));
    let mut own: Vec<_> = trace.into_iter().chain(own).collect();
    own.sort_by(|(one, _), (other, _)| one.cmp(other));
    own.extend(packed.into_iter().flatten());
    message.headers = Headers::from_iter(own);
    if let Some(said) = types::of(&message.headers) {
        types.extend(said);
    }
    if let Some(header) = types::header(&types) {
        message.headers.insert(reserved::TYPES, header);
    }
    Some(message)
}

/// Takes out what one of our attributes says. What does not say it is not ours, and stays a header.
fn take<T>(
    attributes: &mut HashMap<String, MessageAttributeValue>,
    name: &str,
    read: impl FnOnce(&MessageAttributeValue) -> Option<T>,
) -> Option<T> {
    let said = read(attributes.get(name)?)?;
    attributes.remove(name);
    Some(said)
}

/// A message without a key is a group of its own, called as it is.
fn key_of_group(group: &str, id: Option<Id>) -> Option<Key> {
    // An id is as long as any other, and is not to be written out where that tells them apart.
    if group.len() == Id::TEXT_BYTES && id.is_some_and(|id| id.to_string() == group) {
        None
    } else {
        Key::new(group).ok()
    }
}

fn into_bytes(value: MessageAttributeValue) -> Bytes {
    match (value.string_value, value.binary_value) {
        (Some(text), _) => text.into(),
        (None, Some(blob)) => blob.into_inner().into(),
        (None, None) => Bytes::new(),
    }
}
