use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::{Bytes, BytesMut};
use strait_core::{Headers, Id, Key, Message};

use super::{
    CONTENT_TYPE, CORRELATION_ID, KEY, section,
    value::{Malformed, Value},
};

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

/// Bytes that are no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Undecodable {
    /// Its sequence number, if that could be read.
    pub(crate) sequence: Option<u64>,
}

/// An event as it was sent, by whatever client: numbers, times and the like are read as their text, lists and maps as JSON,
/// and a body that is no data as the text of its value.
pub(crate) fn decode(whole: &Bytes) -> Result<Event, Undecodable> {
    let mut event = Event { message: Message::new(""), sequence: None, stored_at: None };
    match read(whole, &mut event) {
        Ok(()) => Ok(event),
        Err(Malformed) => Err(Undecodable { sequence: event.sequence }),
    }
}

fn read(whole: &Bytes, event: &mut Event) -> Result<(), Malformed> {
    let mut body = Body::default();
    let mut rest = &whole[..];
    if rest.is_empty() {
        return Err(Malformed);
    }
    while !rest.is_empty() {
        let (code, bytes) = match rest {
            [0, 0x53, code, bytes @ ..] | [0, 0x80, 0, 0, 0, 0, 0, 0, 0, code, bytes @ ..] => (*code, bytes),
            _ => return Err(Malformed),
        };
        let (value, behind) = Value::read(bytes)?;
        match code {
            section::ANNOTATIONS => annotated(value, event)?,
            section::PROPERTIES => named(value, whole, event)?,
            section::APPLICATION_PROPERTIES => described(value, whole, &mut event.message.headers)?,
            section::DATA | section::VALUE => body.data.push(value.bytes(whole)?),
            section::SEQUENCE => body.sequence(value)?,
            section::HEADER | section::DELIVERY_ANNOTATIONS | section::FOOTER => {}
            _ => return Err(Malformed),
        }
        rest = behind;
    }
    event.message.payload = body.payload();
    Ok(())
}

/// What the service wrote on the event, and its key.
fn annotated(annotations: Value<'_>, event: &mut Event) -> Result<(), Malformed> {
    for annotation in annotations.map()?.pairs() {
        match annotation? {
            (Value::Text("x-opt-sequence-number"), Value::Integer(number)) => {
                event.sequence = u64::try_from(number).ok();
            }
            (Value::Text("x-opt-enqueued-time"), Value::Timestamp(millis)) => {
                let millis = u64::try_from(millis).ok();
                event.stored_at = millis.and_then(|millis| UNIX_EPOCH.checked_add(Duration::from_millis(millis)));
            }
            (Value::Text(KEY), Value::Text(key)) => event.message.key = Key::new(key).ok(),
            _ => {}
        }
    }
    Ok(())
}

/// The properties that every message may have.
fn named(properties: Value<'_>, whole: &Bytes, event: &mut Event) -> Result<(), Malformed> {
    let headers = &mut event.message.headers;
    // The order of AMQP: message-id, user-id, to, subject, reply-to, correlation-id, content-type.
    let (mut id, mut correlation_id, mut content_type) = (Value::Null, Value::Null, Value::Null);
    for (index, value) in properties.list()?.enumerate() {
        let value = value?;
        match index {
            0 => id = value,
            5 => correlation_id = value,
            6 => content_type = value,
            _ => {}
        }
    }
    if id != Value::Null {
        let text = id.text()?;
        event.message.id = text.parse::<Id>().ok();
        if event.message.id.is_none() {
            headers.append(MESSAGE_ID, text);
        }
    }
    for (name, value) in [(CORRELATION_ID, correlation_id), (CONTENT_TYPE, content_type)] {
        if value != Value::Null {
            headers.append(name, value.bytes(whole)?);
        }
    }
    Ok(())
}

/// The properties of the application.
fn described(properties: Value<'_>, whole: &Bytes, headers: &mut Headers) -> Result<(), Malformed> {
    for property in properties.map()?.pairs() {
        let (name, value) = property?;
        headers.append(name.text()?, value.bytes(whole)?);
    }
    Ok(())
}

/// The sections of a body.
#[derive(Default)]
struct Body {
    data: Vec<Bytes>,
    /// What the sequences hold, as JSON without its brackets.
    sequences: Option<String>,
}

impl Body {
    fn sequence(&mut self, items: Value<'_>) -> Result<(), Malformed> {
        let json = self.sequences.get_or_insert_default();
        for item in items.list()? {
            if !json.is_empty() {
                json.push(',');
            }
            item?.json(json)?;
        }
        Ok(())
    }

    fn payload(mut self) -> Bytes {
        if let Some(json) = self.sequences {
            self.data.push(Bytes::from(format!("[{json}]")));
        }
        match &mut self.data[..] {
            [] => Bytes::new(),
            [one] => std::mem::take(one),
            several => several
                .iter()
                .fold(BytesMut::new(), |mut all, one| {
                    all.extend_from_slice(one);
                    all
                })
                .freeze(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Event {
        decode(&Bytes::copy_from_slice(bytes)).unwrap()
    }

    /// azure-sdk-for-java#32939: what Azure's client for JavaScript sends without a body ends a partition for good.
    #[test]
    fn bodies_of_every_kind_are_read() {
        for (body, payload) in [
            (&b"\0\x53\x75\x40"[..], ""),
            (b"\0\x53\x75\xa0\x01a\0\x53\x75\xa0\x01b", "ab"),
            (b"\0\x53\x76\xc0\x03\x01\x54\x01\0\x53\x76\xc0\x04\x01\xa1\x01b", r#"[1,"b"]"#),
            (b"\0\x53\x77\x40", ""),
            (b"\0\x80\0\0\0\0\0\0\0\x77\xa1\x01v", "v"),
            (b"\0\x53\x77\xc1\x06\x02\xa1\x01k\x54\x01", r#"{"k":1}"#),
            (b"\0\x53\x70\x45", ""),
        ] {
            assert_eq!(read(body).message.payload, payload, "{body:02x?}");
        }
    }

    #[test]
    fn properties_with_lists_maps_and_arrays_are_read_as_json() {
        let event = read(
            b"\0\x53\x74\xc1\x1e\x06\xa1\x01l\xc0\x04\x02\x54\x01\x40\xa1\x01m\xc1\x06\x02\xa1\x01k\x54\x01\xa1\x01a\xe0\x04\x02\x54\x07\x08\
              \0\x53\x75\xa0\x01x",
        );
        let headers = ["l", "m", "a"].map(|name| event.message.headers.get_str(name));
        assert_eq!(headers, [Some("[1,null]"), Some(r#"{"k":1}"#), Some("[7,8]")]);
        assert_eq!(event.message.payload, "x");
    }

    #[test]
    fn what_is_no_event_still_has_its_number() {
        let annotations = b"\0\x53\x72\xc1\x1a\x02\xa3\x15x-opt-sequence-number\x55\x07";
        let numbered = [&annotations[..], b"\0\x53\x74\x40"].concat();
        assert_eq!(decode(&numbered.into()).unwrap_err(), Undecodable { sequence: Some(7) });
        for bytes in [&b""[..], b"rubbish", b"\0\x53\x75", b"\0\x53\x6f\x40", b"\0\x53\x73\xa1\x00"] {
            let undecodable = decode(&Bytes::copy_from_slice(bytes)).unwrap_err();
            assert_eq!(undecodable, Undecodable { sequence: None }, "{bytes:02x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_event_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200), code in 0x70_u8..0x79) {
            let _ = decode(&bytes.clone().into());
            let _ = decode(&[&[0, 0x53, code][..], &bytes].concat().into());
        }
    }
}
