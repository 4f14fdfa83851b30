use std::borrow::Cow;

use aws_sdk_sqs::primitives::Blob;
use bytes::Bytes;

use super::{text, types};

/// The value of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Owned(String),
    Binary(&'a [u8]),
    Packed(Vec<u8>),
}

impl<'a> Value<'a> {
    /// Text where it is some, and bytes otherwise.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        text::allowed(bytes).map_or(Self::Binary(bytes), Self::Text)
    }

    /// The type that it has where nobody says another.
    pub(super) fn data_type(&self) -> &'static str {
        match self {
            Self::Text(_) | Self::Owned(_) => "String",
            Self::Binary(_) | Self::Packed(_) => "Binary",
        }
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Owned(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Packed(bytes) => bytes.len(),
        }
    }
}

/// An attribute of a message.
#[derive(Clone, Debug)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: &'a str,
    data_type: Cow<'a, str>,
    value: Value<'a>,
}

impl<'a> Attribute<'a> {
    /// One of the type that its value has by itself.
    pub(super) fn plain(name: &'a str, value: Value<'a>) -> Self {
        Self { name, data_type: value.data_type().into(), value }
    }

    /// A header, of the type that it had where it came from, if its value still fits that.
    pub(super) fn of(name: &'a str, bytes: &'a Bytes, data_type: Option<&str>) -> Self {
        let value = Value::of(bytes);
        match data_type {
            Some(data_type) if types::fits(data_type, bytes) => {
                let value = if data_type.starts_with("Binary") { Value::Binary(bytes) } else { value };
                Self { name, data_type: data_type.to_owned().into(), value }
            }
            _ => Self::plain(name, value),
        }
    }

    /// How much it counts in the size of a message.
    pub(super) fn bytes(&self) -> usize {
        self.name.len() + self.data_type.len() + self.value.len()
    }

    /// Its type, its text, and its bytes: one of the two.
    fn parts(self) -> (String, Option<String>, Option<Blob>) {
        let (text, bytes) = match self.value {
            Value::Text(text) => (Some(text.to_owned()), None),
            Value::Owned(text) => (Some(text), None),
            Value::Binary(bytes) => (None, Some(Blob::new(bytes))),
            Value::Packed(bytes) => (None, Some(Blob::new(bytes))),
        };
        (self.data_type.into_owned(), text, bytes)
    }
}

impl From<Attribute<'_>> for aws_sdk_sqs::types::MessageAttributeValue {
    fn from(attribute: Attribute<'_>) -> Self {
        let (data_type, text, bytes) = attribute.parts();
        let value = Self::builder().data_type(data_type).set_string_value(text).set_binary_value(bytes);
        value.build().expect("it has a type")
    }
}

impl From<Attribute<'_>> for aws_sdk_sns::types::MessageAttributeValue {
    fn from(attribute: Attribute<'_>) -> Self {
        let (data_type, text, bytes) = attribute.parts();
        let value = Self::builder().data_type(data_type).set_string_value(text).set_binary_value(bytes);
        value.build().expect("it has a type")
    }
}
