//! How a message travels: a body of text, and at most ten attributes.
//!
//! | attribute | type | holds |
//! |---|---|---|
//! | `strait-id` | String | the message's id |
//! | `strait-body` | Binary | the payload, if it is no text that SQS takes; the body is `-` then |
//! | `strait-body` | String | `empty`: the payload is empty; the body is `-` then |
//! | `strait-key` | String or Binary | the key, where it is no group id: from an SNS topic without order |
//! | `strait-headers` | Binary | headers that have no attribute of their own, see [`packed`] |
//! | any other | String or Binary | the header of that name |

mod decode;
mod layout;
mod packed;
mod text;

pub(crate) use decode::decode;
pub(crate) use layout::{Layout, Value};

/// What the attributes are called that this crate writes itself.
const ID: &str = "strait-id";
const BODY: &str = "strait-body";
const KEY: &str = "strait-key";
const HEADERS: &str = "strait-headers";

/// What is in the body when the payload is not.
const NO_BODY: &str = "-";
/// What `strait-body` says of an empty payload.
const EMPTY: &str = "empty";

/// How long an id is as text.
const UUID: usize = 36;

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
        layout.attributes().map(|(name, value)| (name.to_owned(), value.into())).collect()
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
            let layout = Layout::of(&message, grouped).unwrap();
            let (body, attributes) = (layout.body().to_owned(), attributes(&layout));
            prop_assert!(!body.is_empty() && attributes.len() <= ATTRIBUTES);
            prop_assert_eq!(counted(&body, &attributes), layout.bytes());
            let group = grouped.then(|| layout.group().unwrap());
            let back = decode(body, Some(attributes), group.as_deref());
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
            decode(body, Some(attributes.collect()), Some("g"));
        }
    }

    #[test]
    fn plain_messages_of_others_are_their_body() {
        let message = decode("{\"Type\":\"Notification\"}".to_owned(), None, None);
        assert_eq!((&message.payload[..], message.id, message.key), (&b"{\"Type\":\"Notification\"}"[..], None, None));
        let of_a_group = decode("x".to_owned(), None, Some("customer 7"));
        assert_eq!(of_a_group.key, Some(Key::new("customer 7").unwrap()));
    }

    #[test]
    fn a_key_that_is_the_id_is_a_key_all_the_same() {
        let id = Id::from_bytes([7; 16]);
        let message = Message::new("x").with_id(id).with_key(Key::new(&id.to_string()).unwrap());
        let layout = Layout::of(&message, true).unwrap();
        let back = decode(layout.body().to_owned(), Some(attributes(&layout)), layout.group().as_deref());
        assert_eq!(back.key, message.key);
    }

    #[test]
    fn what_cannot_be_carried_is_refused_by_its_field() {
        let refusal = |message: &Message| Layout::of(message, true).map(drop).unwrap_err().to_string();
        let key = Message::new("1").with_key(Key::new("ключ").unwrap());
        assert!(refusal(&key).starts_with("key:"));
        assert!(!refusal(&key).contains("ключ"));
        for name in [ID, BODY, KEY, HEADERS] {
            assert!(refusal(&Message::new("1").with_header(name, "x")).starts_with("headers: \"strait-"));
        }
        let long = Message::new("1").with_header(&"n".repeat(1 << 16), "x");
        assert!(refusal(&long).starts_with("headers: a name"));
        let unordered = Message::new("1").with_key(Key::new("ключ").unwrap());
        assert!(Layout::of(&unordered, false).is_ok(), "an attribute carries any key");
    }
}
