use bytes::Bytes;
use strait_core::{Error, ErrorKind, Id, Key, Message, Result, reserved};

use super::{
    ATTRIBUTES, BODY, Beside, EMPTY, HEADERS, ID, KEY, NO_BODY, TRACE, packed, text,
    types::{self, Types},
    value::{Attribute, Value},
};

/// Where each part of a message goes. Nothing is copied before it is sent.
#[derive(Debug)]
pub(crate) struct Layout<'a> {
    message: &'a Message,
    beside: Beside,
    body: Body<'a>,
    /// The key, if an attribute carries it.
    key: Option<Value<'a>>,
    /// The header of X-Ray, if it goes beside the attributes.
    trace: Option<&'a str>,
    /// Headers with an attribute of their own.
    own: Vec<Attribute<'a>>,
    /// The others, in order.
    packed: Vec<(&'a str, &'a Bytes)>,
}

#[derive(Debug)]
enum Body<'a> {
    Text(&'a str),
    Binary(&'a Bytes),
    Empty,
}

impl<'a> Layout<'a> {
    /// Lays out a message for a place that carries so much beside attributes.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] names the field that cannot be carried.
    pub(crate) fn of(message: &'a Message, beside: Beside) -> Result<Self> {
        let body = match text::allowed(&message.payload) {
            _ if message.payload.is_empty() => Body::Empty,
            // What stands for a payload that is elsewhere is not to be taken for one.
            Some(text) if text != NO_BODY => Body::Text(text),
            _ => Body::Binary(&message.payload),
        };
        let key = match &message.key {
            Some(key) if beside.group => key_of_group(message, key)?,
            Some(key) => Some(Value::of(key.as_str().as_bytes())),
            None => None,
        };
        let taken = 1 + usize::from(!matches!(body, Body::Text(_))) + usize::from(key.is_some());
        let mut layout = Self { message, beside, body, key, trace: None, own: Vec::new(), packed: Vec::new() };
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
        let types = types::of(&self.message.headers);
        self.share(room, types.as_ref());
        if !self.packed.is_empty() {
            self.share(room - 1, types.as_ref()); // one of them for the rest
        }
        // The types of headers that have no attribute travel with them.
        if let (Some(types), Some(said)) = (&types, self.message.headers.get(reserved::TYPES))
            && self.packed.iter().any(|(name, _)| types.contains_key(*name))
        {
            self.packed.push((reserved::TYPES, said));
        }
        Ok(())
    }

    fn share(&mut self, room: usize, types: Option<&Types>) {
        self.own.clear();
        self.packed.clear();
        self.trace = None;
        let mut traced = false;
        for (name, value) in self.message.headers.iter() {
            // The first value alone: what goes beside the attributes is read before them.
            if self.beside.trace && name == TRACE && !traced {
                traced = true;
                self.trace = text::allowed(value).filter(|text| text::is_trace(text));
                if self.trace.is_some() {
                    continue;
                }
            }
            if name == reserved::TYPES && types.is_some() {
                continue; // attributes have types
            }
            let fits = self.own.len() < room
                && !value.is_empty()
                && text::names_an_attribute(name)
                && !self.own.iter().any(|other| other.name == name)
                // Values of a name stay in order.
                && !self.packed.iter().any(|(other, _)| *other == name);
            if fits {
                let data_type = types.and_then(|types| types.get(name));
                self.own.push(Attribute::of(name, value, data_type.map(String::as_str)));
            } else {
                self.packed.push((name, value));
            }
        }
    }

    pub(crate) fn body(&self) -> &'a str {
        if let Body::Text(text) = self.body { text } else { NO_BODY }
    }

    /// Whether the key is a group id.
    pub(crate) fn is_grouped(&self) -> bool {
        self.beside.group
    }

    /// The group: the key, or else the id, so that messages without a key wait for nobody. `None` without either.
    pub(crate) fn group(&self) -> Option<String> {
        let key = self.message.key.as_ref().map(|key| key.as_str().to_owned());
        key.or_else(|| self.message.id.map(|id| id.to_string()))
    }

    /// The trace header, for where it goes beside the attributes. It does not count in the size of the message.
    pub(crate) fn trace(&self) -> Option<&'a str> {
        self.trace
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = Attribute<'a>> {
        let id = self.message.id.map(|id| Attribute::plain(ID, Value::Owned(id.to_string())));
        let body = match self.body {
            Body::Text(_) => None,
            Body::Binary(bytes) => Some(Attribute::plain(BODY, Value::Binary(bytes))),
            Body::Empty => Some(Attribute::plain(BODY, Value::Text(EMPTY))),
        };
        let key = self.key.clone().map(|key| Attribute::plain(KEY, key));
        let packed =
            (!self.packed.is_empty()).then(|| Attribute::plain(HEADERS, Value::Packed(packed::pack(&self.packed))));
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
        let own: usize = self.own.iter().map(Attribute::bytes).sum();
        let packed = if self.packed.is_empty() { 0 } else { attribute(HEADERS, packed::size(&self.packed)) };
        body + attribute(ID, Id::TEXT_BYTES) + key + own + packed
    }
}

/// How long the words `String` and `Binary` are.
const TYPE: usize = 6;

/// A group id is what every provider carries as a key. One that could be taken for the id has an attribute besides.
fn key_of_group<'a>(message: &Message, key: &'a Key) -> Result<Option<Value<'a>>> {
    if !key.is_portable() {
        return Err(invalid("key: must be 1 to 128 visible ASCII characters, as a message group id is".to_owned()));
    }
    let like_an_id = key.as_str().len() == Id::TEXT_BYTES && message.id.is_none_or(|id| id.to_string() == key.as_str());
    Ok(like_an_id.then(|| Value::Text(key.as_str())))
}

fn invalid(text: String) -> Error {
    Error::new(ErrorKind::Invalid, text)
}
