use aws_sdk_sqs::{primitives::Blob, types::MessageAttributeValue};
use bytes::Bytes;
use strait_core::{Error, ErrorKind, Key, Message, Result};

use super::{ATTRIBUTES, BODY, EMPTY, HEADERS, ID, KEY, NO_BODY, UUID, packed, text};

/// Where each part of a message goes. Nothing is copied before it is sent.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    message: &'a Message,
    grouped: bool,
    body: Body<'a>,
    /// The key, if an attribute carries it.
    key: Option<Value<'a>>,
    /// Headers with an attribute of their own.
    own: Vec<(&'a str, Value<'a>)>,
    /// The others, in order.
    packed: Vec<(&'a str, &'a Bytes)>,
}

#[derive(Debug)]
enum Body<'a> {
    Text(&'a str),
    Binary(&'a Bytes),
    Empty,
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Owned(String),
    Binary(&'a [u8]),
    Packed(Vec<u8>),
}

impl<'a> Layout<'a> {
    /// Lays out a message; `grouped` says that its key is a group id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the field that cannot be carried.
    pub(crate) fn of(message: &'a Message, grouped: bool) -> Result<Self> {
        let body = match text::allowed(&message.payload) {
            _ if message.payload.is_empty() => Body::Empty,
            // What stands for a payload that is elsewhere is not to be taken for one.
            Some(text) if text != NO_BODY => Body::Text(text),
            _ => Body::Binary(&message.payload),
        };
        let key = match &message.key {
            Some(key) if grouped => key_of_group(message, key)?,
            Some(key) => Some(Value::of(key.as_str().as_bytes())),
            None => None,
        };
        let taken = 1 + usize::from(!matches!(body, Body::Text(_))) + usize::from(key.is_some());
        let mut layout = Self { message, grouped, body, key, own: Vec::new(), packed: Vec::new() };
        if !message.headers.is_empty() {
            layout.place_headers(ATTRIBUTES - taken)?;
        }
        Ok(layout)
    }

    fn place_headers(&mut self, room: usize) -> Result<()> {
        for (name, _) in self.message.headers.iter() {
            if [ID, BODY, KEY, HEADERS].contains(&name) {
                return Err(invalid(format!("headers: {name:?} is what this provider writes itself")));
            }
            if name.len() > packed::LONGEST_NAME {
                let text = format!("headers: a name has {} bytes, and must have at most 65535", name.len());
                return Err(invalid(text));
            }
        }
        self.share(room);
        if !self.packed.is_empty() {
            self.share(room - 1); // one of them for the rest
        }
        Ok(())
    }

    fn share(&mut self, room: usize) {
        self.own.clear();
        self.packed.clear();
        for (name, value) in self.message.headers.iter() {
            let fits = self.own.len() < room
                && !value.is_empty()
                && text::names_an_attribute(name)
                && !self.own.iter().any(|(other, _)| *other == name)
                // Values of a name stay in order.
                && !self.packed.iter().any(|(other, _)| *other == name);
            if fits { self.own.push((name, Value::of(value))) } else { self.packed.push((name, value)) }
        }
    }

    pub(crate) fn body(&self) -> &'a str {
        if let Body::Text(text) = self.body { text } else { NO_BODY }
    }

    /// Whether the key is a group id.
    pub(crate) fn is_grouped(&self) -> bool {
        self.grouped
    }

    /// The group: the key, or else the id, so that messages without a key wait for nobody. `None` without either.
    pub(crate) fn group(&self) -> Option<String> {
        let key = self.message.key.as_ref().map(|key| key.as_str().to_owned());
        key.or_else(|| self.message.id.map(|id| id.to_string()))
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = (&'a str, Value<'a>)> {
        let id = self.message.id.map(|id| (ID, Value::Owned(id.to_string())));
        let body = match self.body {
            Body::Text(_) => None,
            Body::Binary(bytes) => Some((BODY, Value::Binary(bytes))),
            Body::Empty => Some((BODY, Value::Text(EMPTY))),
        };
        let key = self.key.clone().map(|key| (KEY, key));
        let packed = (!self.packed.is_empty()).then(|| (HEADERS, Value::Packed(packed::pack(&self.packed))));
        id.into_iter().chain(body).chain(key).chain(self.own.iter().cloned()).chain(packed)
    }

    /// How large SQS says it is: the body, and name, type and value of each attribute. A sender gives an id to what has
    /// none, so that it counts in any case.
    pub(crate) fn bytes(&self) -> usize {
        let attribute = |name: &str, value: usize| name.len() + TYPE + value;
        let body = match self.body {
            Body::Text(text) => text.len(),
            Body::Binary(bytes) => NO_BODY.len() + attribute(BODY, bytes.len()),
            Body::Empty => NO_BODY.len() + attribute(BODY, EMPTY.len()),
        };
        let key = self.key.as_ref().map_or(0, |key| attribute(KEY, key.len()));
        let own: usize = self.own.iter().map(|(name, value)| attribute(name, value.len())).sum();
        let packed = if self.packed.is_empty() { 0 } else { attribute(HEADERS, packed::size(&self.packed)) };
        body + attribute(ID, UUID) + key + own + packed
    }
}

/// How long the words `String` and `Binary` are.
const TYPE: usize = 6;

/// A group id is what every provider carries as a key. One that could be taken for the id has an attribute besides.
fn key_of_group<'a>(message: &Message, key: &'a Key) -> Result<Option<Value<'a>>> {
    if !key.is_portable() {
        return Err(invalid("key: must be 1 to 128 visible ASCII characters, as a message group id is".to_owned()));
    }
    let like_an_id = key.as_str().len() == UUID && message.id.is_none_or(|id| id.to_string() == key.as_str());
    Ok(like_an_id.then(|| Value::Text(key.as_str())))
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::Invalid, text)
}

impl<'a> Value<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        text::allowed(bytes).map_or(Self::Binary(bytes), Self::Text)
    }

    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Owned(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
            Self::Packed(bytes) => bytes.len(),
        }
    }

    /// Its type, its text, and its bytes: one of the two.
    pub(crate) fn parts(self) -> (&'static str, Option<String>, Option<Blob>) {
        match self {
            Self::Text(text) => ("String", Some(text.to_owned()), None),
            Self::Owned(text) => ("String", Some(text), None),
            Self::Binary(bytes) => ("Binary", None, Some(Blob::new(bytes))),
            Self::Packed(bytes) => ("Binary", None, Some(Blob::new(bytes))),
        }
    }
}

impl From<Value<'_>> for MessageAttributeValue {
    fn from(value: Value<'_>) -> Self {
        let (data_type, text, bytes) = value.parts();
        let value = Self::builder().data_type(data_type).set_string_value(text).set_binary_value(bytes);
        value.build().expect("it has a type")
    }
}
