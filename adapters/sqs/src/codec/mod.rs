//! How a message travels: a body of text, and at most ten attributes.
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `strait-id` | String | the message's id |
//! | `strait-body` | Binary | the payload, if it is no text that SQS takes, or is `-`; the body is `-` then |
//! | `strait-body` | String | `empty`: the payload is empty; the body is `-` then |
//! | `strait-key` | String or Binary | the key, where it is no group id: of an SNS topic or a queue without order |
//! | `strait-headers` | Binary | headers that have no attribute of their own, see [`packed`] |
//! | any other | String or Binary, or as the header `strait-types` says | the header of that name |
//!
//! On a queue the header `AWSTraceHeader` is the system attribute of that name.

mod decode;
mod layout;
mod packed;
mod text;
mod types;
mod value;

pub(crate) use decode::decode;
pub(crate) use layout::Layout;
#[cfg(any(test, fuzzing))]
pub(crate) use packed::packed_as_read;

/// What a place carries beside the body and the attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside {
    /// The key, as a message group id.
    pub(crate) group: bool,
    /// The trace header of AWS X-Ray, as a system attribute.
    pub(crate) trace: bool,
}

/// What the attributes are called that this crate writes itself.
const ID: &str = "strait-id";
const BODY: &str = "strait-body";
const KEY: &str = "strait-key";
const HEADERS: &str = "strait-headers";

/// The system attribute, and header, of AWS X-Ray.
const TRACE: &str = "AWSTraceHeader";

/// What is in the body when the payload is not.
const NO_BODY: &str = "-";
/// What `strait-body` says of an empty payload.
const EMPTY: &str = "empty";

/// Most attributes of a message: a queue fed by a topic in raw form does not get one with more.
const ATTRIBUTES: usize = 10;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use aws_sdk_sqs::types::MessageAttributeValue;
    use bytes::Bytes;
    use proptest::{collection::vec, prelude::*};
    use strait_core::{Headers, Id, Key, Message};

    use super::*;

    fn attributes(layout: &Layout<'_>) -> HashMap<String, MessageAttributeValue> {
        layout.attributes().map(|attribute| (attribute.name.to_owned(), attribute.into())).collect()
    }

    fn beside(group: bool) -> Beside {
        Beside { group, trace: true }
    }

    fn there_and_back(message: &Message) -> Message {
        let layout = Layout::of(message, beside(true)).unwrap();
        let group = layout.group();
        decode(layout.body().to_owned(), Some(attributes(&layout)), group.as_deref(), layout.trace()).unwrap()
    }

    /// Counted anew, from what is sent.
    fn counted(body: &str, attributes: &HashMap<String, MessageAttributeValue>) -> usize {
        let value = |value: &MessageAttributeValue| {
            let text = value.string_value().map_or(0, str::len);
            text + value.binary_value().map_or(0, |blob| blob.as_ref().len())
        };
        let each = attributes.iter().map(|(name, it)| name.len() + it.data_type().len() + value(it));
        body.len() + each.sum::<usize>()
    }

    fn headers() -> impl Strategy<Value = Headers> {
        let name = prop_oneof!["[a-z]{1,8}", "[a-c]", any::<String>(), Just("AWS.x".to_owned())];
        let value = prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>()];
        vec((name, value.prop_map(Bytes::from)), 0..14).prop_map(|pairs| pairs.into_iter().collect())
    }

    fn message() -> impl Strategy<Value = Message> {
        let payload = prop_oneof![any::<String>().prop_map(String::into_bytes), any::<Vec<u8>>(), Just(Vec::new())];
        (payload, headers(), proptest::option::of("[!-~]{1,128}"), any::<[u8; 16]>()).prop_map(
            |(payload, headers, key, id)| {
                let mut message = Message::new(payload).with_id(Id::from_bytes(id));
                message.headers = headers;
                message.key = key.map(|key| Key::new(&key).unwrap());
                message
            },
        )
    }

    /// In the order of names, and of values of a name.
    fn sorted(headers: &Headers) -> Vec<(String, Bytes)> {
        let mut all: Vec<_> = headers.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        all
    }

    proptest! {
        #[test]
        fn a_message_comes_out_as_it_went_in_and_is_as_large_as_it_was_said_to_be(message in message(), grouped: bool) {
            let layout = Layout::of(&message, beside(grouped)).unwrap();
            let (body, attributes) = (layout.body().to_owned(), attributes(&layout));
            prop_assert!(!body.is_empty() && attributes.len() <= ATTRIBUTES);
            prop_assert_eq!(counted(&body, &attributes), layout.bytes());
            let group = grouped.then(|| layout.group().unwrap());
            let back = decode(body, Some(attributes), group.as_deref(), layout.trace()).unwrap();
            prop_assert_eq!((&back.payload, &back.key, back.id), (&message.payload, &message.key, message.id));
            prop_assert_eq!(sorted(&back.headers), sorted(&message.headers));
        }

        #[test]
        fn what_others_wrote_is_read_as_it_is(
            body: String,
            names in vec(prop_oneof![Just(ID), Just(BODY), Just(KEY), Just(HEADERS), Just("x")], 0..5),
            value: Vec<u8>,
            text: String,
            binary: bool,
        ) {
            let attributes = names.into_iter().map(|name| {
                let it = MessageAttributeValue::builder();
                let it = if binary {
                    it.data_type("Binary").binary_value(value.clone().into())
                } else {
                    it.data_type("Number.int").string_value(&text)
                };
                (name.to_owned(), it.build().unwrap())
            });
            decode(body, Some(attributes.collect()), Some("g"), Some("t"));
        }
    }

    #[test]
    fn plain_messages_of_others_are_their_body() {
        let message = decode("{\"Type\":\"Notification\"}".to_owned(), None, None, None).unwrap();
        assert_eq!((&message.payload[..], message.id, message.key), (&b"{\"Type\":\"Notification\"}"[..], None, None));
        let of_a_group = decode("x".to_owned(), None, Some("customer 7"), None).unwrap();
        assert_eq!(of_a_group.key, Some(Key::new("customer 7").unwrap()));
    }

    #[test]
    fn a_key_that_is_the_id_is_a_key_all_the_same() {
        let id = Id::from_bytes([7; 16]);
        let message = Message::new("x").with_id(id).with_key(Key::new(&id.to_string()).unwrap());
        assert_eq!(there_and_back(&message).key, message.key);
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_its_field() {
        let refusal = |message: &Message| Layout::of(message, beside(true)).map(drop).unwrap_err().to_string();
        let key = Message::new("1").with_key(Key::new("ключ").unwrap());
        assert!(refusal(&key).starts_with("key:"));
        assert!(!refusal(&key).contains("ключ"));
        for name in [ID, BODY, KEY, HEADERS] {
            assert!(refusal(&Message::new("1").with_header(name, "x")).starts_with("headers: \"strait-"));
        }
        let long = Message::new("1").with_header(&"n".repeat(1 << 16), "x");
        assert!(refusal(&long).starts_with("headers: a name"));
        let unordered = Message::new("1").with_key(Key::new("ключ").unwrap());
        assert!(Layout::of(&unordered, beside(false)).is_ok(), "an attribute carries any key");
    }

    #[test]
    fn a_payload_that_is_a_dash_is_no_hole_and_a_hole_is_no_payload() {
        let dash = Message::new("-").with_id(Id::from_bytes([1; 16]));
        assert_eq!(there_and_back(&dash).payload, dash.payload);
        for payload in [&b"-"[..], b"\0", b""] {
            let message = Message::new(payload).with_id(Id::from_bytes([1; 16]));
            let layout = Layout::of(&message, beside(true)).unwrap();
            let mut lost = attributes(&layout);
            lost.remove(BODY).expect("the payload is an attribute");
            assert_eq!(decode(layout.body().to_owned(), Some(lost), None, None), None, "{payload:?}");
        }
        // Others may write what they like.
        assert_eq!(decode("-".to_owned(), None, None, None).unwrap().payload, "-");
    }

    #[test]
    fn a_trace_header_goes_beside_the_attributes() {
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1";
        let traced = Message::new("1").with_header(TRACE, root);
        let layout = Layout::of(&traced, beside(true)).unwrap();
        assert_eq!((layout.trace(), layout.attributes().count()), (Some(root), 0));
        assert_eq!(there_and_back(&traced).headers, traced.headers);
        // What the service would refuse as one is a header like any other, and so are those of a topic.
        let other = Message::new("1").with_header(TRACE, "hello");
        assert_eq!(Layout::of(&other, beside(true)).unwrap().trace(), None);
        assert_eq!(there_and_back(&other).headers, other.headers);
        let topic = Layout::of(&traced, Beside { group: false, trace: false }).unwrap();
        assert_eq!((topic.trace(), topic.attributes().count()), (None, 1));
    }

    /// What somebody else wrote, and what is sent when it is sent on.
    fn sent_on(
        written: &[(&str, &str, &[u8])],
        change: impl Fn(&mut Message),
    ) -> HashMap<String, MessageAttributeValue> {
        let written = written.iter().map(|(name, data_type, value)| {
            let it = MessageAttributeValue::builder().data_type(*data_type);
            let it = if data_type.starts_with("Binary") {
                it.binary_value(value.to_vec().into())
            } else {
                it.string_value(String::from_utf8(value.to_vec()).unwrap())
            };
            ((*name).to_owned(), it.build().unwrap())
        });
        let mut message = decode("x".to_owned(), Some(written.collect()), None, None).unwrap().redrive();
        change(&mut message);
        attributes(&Layout::of(&message, beside(true)).unwrap())
    }

    #[test]
    fn the_types_of_others_are_kept() {
        let written: [(&str, &str, &[u8]); 5] = [
            ("count", "Number.int", b"7"),
            ("doc", "String.json", b"{}"),
            ("image", "Binary.png", b"\x89PNG"),
            ("raw", "Binary", b"text"),
            ("name", "String", b"x"),
        ];
        let sent = sent_on(&written, |_| {});
        for (name, data_type, value) in written {
            let it = &sent[name];
            let bytes = it.string_value().map(str::as_bytes).or(it.binary_value().map(AsRef::as_ref));
            assert_eq!((it.data_type(), bytes), (data_type, Some(value)), "{name}");
        }
        assert!(!sent.contains_key("strait-types"));
        // Changed on the way, so that it fits no more.
        let sent = sent_on(&written, |message| message.headers.insert("count", "seven"));
        assert_eq!(sent["count"].data_type(), "String");
    }

    #[test]
    fn types_are_kept_of_more_attributes_than_there_is_room_for() {
        let written: Vec<_> = (0..9).map(|number| (format!("h{number}"), "Number", b"7")).collect();
        let written: Vec<_> = written.iter().map(|(name, kind, value)| (name.as_str(), *kind, &value[..])).collect();
        let sent = sent_on(&written, |message| message.headers.insert("a", "1"));
        let back = decode("x".to_owned(), Some(sent), None, None).unwrap();
        let types = types::of(&back.headers).unwrap();
        assert!((0..9).all(|number| types[&format!("h{number}")] == "Number"), "{types:?}");
    }
}
