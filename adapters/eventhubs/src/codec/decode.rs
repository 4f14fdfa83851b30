use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use fe2o3_amqp_types::{
    messaging::{AmqpValue, Body, Message as Wire, MessageAnnotations, MessageId, annotations::OwnedKey},
    primitives::{Symbol, Value},
};
use strait_core::{Headers, Id, Key, Message};

use super::{CONTENT_TYPE, CORRELATION_ID, KEY};

/// The header of a message id that is not one of Strait's.
const MESSAGE_ID: &str = "message-id";

/// An event that was read.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) message: Message,
    /// Its sequence number; none if the service sent none.
    pub(crate) sequence: Option<u64>,
    pub(crate) stored_at: Option<SystemTime>,
}

/// An event as it was sent, by whatever client: numbers, times and the like are read as their text, and a body that is no
/// data as the text of its value.
pub(crate) fn decode(wire: Wire<Body<Value>>) -> Event {
    let annotations = wire.message_annotations.unwrap_or_default();
    let (mut headers, mut id) = (Headers::default(), None);
    if let Some(properties) = wire.properties {
        let named = properties.message_id.map(text);
        id = named.as_ref().and_then(|text| text.parse::<Id>().ok());
        let own = [
            (MESSAGE_ID, named.filter(|_| id.is_none())),
            (CORRELATION_ID, properties.correlation_id.map(text)),
            (CONTENT_TYPE, properties.content_type.map(|kind| kind.0)),
        ];
        for (name, text) in own {
            if let Some(text) = text {
                headers.append(name, text);
            }
        }
    }
    for (name, value) in wire.application_properties.into_iter().flat_map(|properties| properties.0) {
        headers.append(name, bytes(value.into()));
    }
    let mut message = Message::new(payload(wire.body));
    message.key = match annotation(&annotations, KEY) {
        Some(Value::String(key) | Value::Symbol(Symbol(key))) => Key::new(key).ok(),
        _ => None,
    };
    (message.headers, message.id) = (headers, id);
    let sequence = match annotation(&annotations, "x-opt-sequence-number") {
        Some(Value::Long(number)) => u64::try_from(*number).ok(),
        Some(Value::Ulong(number)) => Some(*number),
        _ => None,
    };
    let stored_at = match annotation(&annotations, "x-opt-enqueued-time") {
        Some(Value::Timestamp(time)) => {
            let millis = u64::try_from(time.milliseconds()).ok();
            millis.and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)))
        }
        _ => None,
    };
    Event { message, sequence, stored_at }
}

fn annotation<'a>(annotations: &'a MessageAnnotations, name: &str) -> Option<&'a Value> {
    annotations.0.get(&OwnedKey::from(Symbol::from(name)))
}

fn text(id: MessageId) -> String {
    match id {
        MessageId::String(text) => text,
        MessageId::Ulong(number) => number.to_string(),
        MessageId::Uuid(id) => Value::Uuid(id).to_string(),
        MessageId::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
    }
}

fn payload(body: Body<Value>) -> Bytes {
    match body {
        Body::Data(mut data) if data.len() == 1 => Bytes::from(data.remove(0).0.into_vec()),
        Body::Data(data) => data.into_iter().flat_map(|data| data.0.into_vec()).collect(),
        Body::Value(AmqpValue(value)) => bytes(value),
        Body::Sequence(sequences) => {
            bytes(Value::List(sequences.into_iter().flat_map(|sequence| sequence.0).collect()))
        }
        Body::Empty => Bytes::new(),
    }
}

/// The bytes of what has some, else the text of a value.
fn bytes(value: Value) -> Bytes {
    match value {
        Value::Binary(bytes) => Bytes::from(bytes.into_vec()),
        Value::String(text) | Value::Symbol(Symbol(text)) => Bytes::from(text),
        Value::Null => Bytes::new(),
        Value::Described(described) => bytes(described.value),
        Value::Char(character) => Bytes::from(character.to_string()),
        other => Bytes::from(other.to_string()),
    }
}
