//! What fuzz targets run: bytes from outside, and what holds of whatever is read from them.

use std::collections::HashMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use bytes::Bytes;
use strait_core::{ErrorKind, Headers, reserved};

use crate::codec::{Beside, Layout, decode, packed_as_read};

/// Packed headers: those that are read are packed as they were.
pub fn headers(input: &[u8]) {
    packed_as_read(input);
}

/// A message with attributes: it is read as something. If that can be sent, it comes out as it went in, and is as large as
/// it was said to be.
pub fn messages(mut input: &[u8]) {
    let flags = byte(&mut input);
    let group = (flags & 1 > 0).then(|| text(&mut input));
    let trace = (flags & 2 > 0).then(|| text(&mut input));
    let body = text(&mut input);
    let mut attributes = HashMap::new();
    while !input.is_empty() {
        let (name, value) = attribute(&mut input);
        attributes.insert(name, value);
    }
    let Some(message) = decode(body, Some(attributes), group.as_deref(), trace.as_deref()) else { return };
    for (group, trace) in [(false, false), (false, true), (true, true)] {
        let layout = match Layout::of(&message, Beside { group, trace }) {
            Ok(layout) => layout,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
                continue;
            }
        };
        let attributes: HashMap<_, MessageAttributeValue> =
            layout.attributes().map(|attribute| (attribute.name.to_owned(), attribute.into())).collect();
        assert!(!layout.body().is_empty() && attributes.len() <= 10);
        if message.id.is_some() {
            assert_eq!(layout.bytes(), size(layout.body(), &attributes), "its size");
        }
        let group = if group { layout.group() } else { None };
        let back = decode(layout.body().to_owned(), Some(attributes), group.as_deref(), layout.trace());
        let back = back.expect("its payload is there");
        assert!(back.payload == message.payload, "its payload");
        assert!(back.key == message.key && back.id == message.id, "its key or its id");
        assert!(sorted(&back.headers) == sorted(&message.headers), "its headers");
    }
}

/// As SQS counts it.
fn size(body: &str, attributes: &HashMap<String, MessageAttributeValue>) -> usize {
    let value = |value: &MessageAttributeValue| {
        value.string_value().map_or(0, str::len) + value.binary_value().map_or(0, |blob| blob.as_ref().len())
    };
    let each = attributes.iter().map(|(name, it)| name.len() + it.data_type().len() + value(it));
    body.len() + each.sum::<usize>()
}

/// In the order of names, and of values of a name. Types are those of attributes, which keep what fits alone.
fn sorted(headers: &Headers) -> Vec<(&str, &Bytes)> {
    let mut all: Vec<_> = headers.iter().filter(|(name, _)| *name != reserved::TYPES).collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

/// An attribute of one of our names or of any other, with text, bytes, both, or nothing, and perhaps a type of its own.
fn attribute(input: &mut &[u8]) -> (String, MessageAttributeValue) {
    let name = match byte(input) {
        0 => "strait-id".to_owned(),
        1 => "strait-body".to_owned(),
        2 => "strait-key".to_owned(),
        3 => "strait-headers".to_owned(),
        _ => text(input),
    };
    let kind = byte(input);
    let own = (kind & 4 > 0).then(|| text(input));
    let string = (kind & 1 > 0).then(|| text(input));
    let binary = (kind & 2 > 0).then(|| chunk(input).to_vec().into());
    let data_type = own.unwrap_or_else(|| if binary.is_some() { "Binary" } else { "String" }.to_owned());
    let value = MessageAttributeValue::builder().data_type(data_type).set_string_value(string);
    (name, value.set_binary_value(binary).build().expect("it has a type"))
}

fn byte(input: &mut &[u8]) -> u8 {
    input.split_off_first().copied().unwrap_or_default()
}

/// As many bytes as the next one says, if there are so many.
fn chunk<'a>(input: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(byte(input)).min(input.len());
    input.split_off(..length).unwrap_or_default()
}

fn text(input: &mut &[u8]) -> String {
    String::from_utf8_lossy(chunk(input)).into_owned()
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold() {
        seeds::each("sqs_headers", headers);
        seeds::each("sqs_messages", messages);
    }
}
