//! Attributes of others have types that headers do not have: `Number`, `String.json`, `Binary.png`. The reserved header
//! [`reserved::TYPES`] names them, so that a dead letter, and what is sent again from it, has the attributes of the original.

use std::collections::BTreeMap;

use aws_sdk_sqs::types::MessageAttributeValue;
use bytes::Bytes;
use strait_core::{Headers, reserved};

use super::{text, value::Value};

/// The type of each attribute that has one of its own.
pub(super) type Types = BTreeMap<String, String>;

/// What the headers of a message say of types; `None` if that is nothing.
pub(super) fn of(headers: &Headers) -> Option<Types> {
    serde_json::from_slice(headers.get(reserved::TYPES)?).ok()
}

/// The type of an attribute, if it is not what would be made of its value as a header.
pub(super) fn own(value: &MessageAttributeValue) -> Option<&str> {
    let plain = match (value.string_value(), value.binary_value()) {
        (Some(_), _) => "String",
        (None, Some(bytes)) => Value::of(bytes.as_ref()).data_type(),
        (None, None) => return None,
    };
    Some(value.data_type()).filter(|data_type| *data_type != plain)
}

/// The header that says them.
pub(super) fn header(types: &Types) -> Option<Bytes> {
    serde_json::to_vec(types).ok().filter(|_| !types.is_empty()).map(Bytes::from)
}

/// Whether a value may have this type. It may have been changed meanwhile, and the service refuses what is not so.
pub(super) fn fits(data_type: &str, value: &[u8]) -> bool {
    let text = text::allowed(value);
    let is_type = data_type.len() <= 256 && text::allowed(data_type.as_bytes()).is_some();
    is_type
        && match data_type.split('.').next() {
            Some("String") => text.is_some(),
            Some("Number") => text.is_some_and(is_number),
            Some("Binary") => true,
            _ => false,
        }
}

/// Numbers have 38 digits at most.
fn is_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let characters = text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'));
    digits <= 38 && characters && text.parse::<f64>().is_ok_and(|number| number == 0.0 || number.abs() < 1e126)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_is_for_values_that_fit_it() {
        for (data_type, value) in [
            ("Number", &b"7"[..]),
            ("Number.int", b"-1.5e3"),
            ("String.json", b"{}"),
            ("Binary", b"text"),
            ("Binary.png", b"\0"),
        ] {
            assert!(fits(data_type, value), "{data_type}");
        }
        for (data_type, value) in [
            ("Number", &b"seven"[..]),
            ("Number", b"inf"),
            ("Number", &[b'7'; 39]),
            ("Number", b"\0"),
            ("String.json", b"\xff"),
            ("Strings", b"x"),
            ("", b"x"),
            ("String.\0", b"x"),
        ] {
            assert!(!fits(data_type, value), "{data_type}");
        }
    }
}
