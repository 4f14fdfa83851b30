//! Records that hold several messages: what is written comes out as it went in, as large as it was said to be, and whatever
//! others wrote is read as something.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use bytes::Bytes;
use md5::{Digest as _, Md5};
use proptest::{collection::vec, prelude::*};
use prost::Message as _;
use strait_core::{Headers, Id, Key, Message};
use strait_kinesis::kpl::{Aggregate, Flaw, MAGIC, Opened, measure, open};

/// The format as its documentation has it, made by others than the code that is tested.
#[derive(Clone, PartialEq, prost::Message)]
struct Foreign {
    #[prost(string, repeated, tag = "1")]
    keys: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    hash_keys: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<ForeignRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ForeignRecord {
    #[prost(uint64, required, tag = "1")]
    key: u64,
    #[prost(uint64, optional, tag = "2")]
    hash_key: Option<u64>,
    #[prost(bytes = "bytes", required, tag = "3")]
    data: Bytes,
    #[prost(message, repeated, tag = "4")]
    tags: Vec<ForeignTag>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ForeignTag {
    #[prost(string, required, tag = "1")]
    key: String,
    #[prost(string, optional, tag = "2")]
    value: Option<String>,
}

fn foreign(keys: &[&str], records: &[(u64, &'static str)]) -> Foreign {
    let record =
        |(key, data): &(u64, &'static str)| ForeignRecord { key: *key, data: (*data).into(), ..Default::default() };
    Foreign {
        keys: keys.iter().map(ToString::to_string).collect(),
        hash_keys: Vec::new(),
        records: records.iter().map(record).collect(),
    }
}

fn record(content: &[u8]) -> Bytes {
    [&MAGIC, content, &Md5::digest(content)].concat().into()
}

fn messages(data: &Bytes) -> Vec<Message> {
    match open(data) {
        Opened::Messages(messages) => messages.collect(),
        Opened::Plain(flaw) => panic!("it is plain: {flaw:?}"),
    }
}

fn flaw(data: &Bytes) -> Option<Flaw> {
    match open(data) {
        Opened::Plain(flaw) => flaw,
        Opened::Messages(messages) => panic!("it has {} messages", messages.len()),
    }
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn header() -> impl Strategy<Value = (String, Vec<u8>)> {
    let name = prop_oneof!["[a-z][a-z0-9._-]{0,30}", any::<String>()];
    let name = name.prop_filter("is free", |name| !["strait-id", "strait-keyless"].contains(&&**name));
    let value = prop_oneof![
        any::<Vec<u8>>(),
        any::<String>().prop_map(Into::into),
        "base64:[A-Za-z=]{0,9}".prop_map(Into::into)
    ];
    (name, value)
}

fn message() -> impl Strategy<Value = Message> {
    let payload = prop_oneof![any::<Vec<u8>>(), (0..40_000_usize).prop_map(|size| vec![7; size])];
    (payload, vec(header(), 0..6), any::<[u8; 16]>()).prop_map(|(payload, headers, id)| {
        let mut message = Message::new(payload).with_id(Id::from_bytes(id));
        message.headers = headers.into_iter().collect();
        message
    })
}

proptest! {
    #[test]
    fn messages_come_out_as_they_went_in_and_as_large_as_was_said(
        all in vec(message(), 1..5), name in proptest::option::of("[a-zж-]{1,256}"), hash in any::<u128>(),
    ) {
        let key = name.map(|name| key(&name));
        let all: Vec<_> = all.into_iter().map(|message| match &key {
            Some(key) => message.with_key(key.clone()),
            None => message,
        }).collect();
        let mut aggregate = key.as_ref().map_or_else(|| Aggregate::keyless(hash), Aggregate::of);
        let mut alone = 0;
        for message in &all {
            let (before, size) = (aggregate.bytes(), measure(message).unwrap());
            alone += size;
            prop_assert!(!aggregate.push_within(message, before).unwrap(), "it takes some room");
            prop_assert!(aggregate.push_within(message, before + size).unwrap());
        }
        let (size, first) = (aggregate.bytes(), measure(&all[0]).unwrap());
        let data = Bytes::from(aggregate.finish());
        prop_assert_eq!(data.len(), size);
        let longest = if key.is_none() { 39 - hash.to_string().len() } else { 0 };
        prop_assert!(size <= alone && (all.len() > 1 || size + longest == first));
        prop_assert_eq!(messages(&data), all);
    }
}

#[test]
fn what_is_no_aggregate_is_delivered_whole_and_flagged() {
    let good = record(&foreign(&["a"], &[(0, "1"), (0, "2")]).encode_to_vec());
    assert_eq!(messages(&good).len(), 2);
    for text in ["", "1", "\u{0}", "hello"] {
        assert_eq!(flaw(&Bytes::from(text)), None);
    }
    let mut wrong = good.to_vec();
    *wrong.last_mut().unwrap() ^= 1;
    let cut = good.slice(..good.len() - 1);
    for data in [wrong.into(), cut, Bytes::from_static(&MAGIC), record(b"")] {
        assert_eq!(flaw(&data), Some(Flaw::Checksum));
    }
    for content in [
        b"\xff\xff\xff\xff\xff".to_vec(),
        foreign(&["a"], &[(0, "1"), (5, "2")]).encode_to_vec(),
        foreign(&[], &[(0, "1")]).encode_to_vec(),
        foreign(&[""], &[(0, "1")]).encode_to_vec(),
        foreign(&[&"k".repeat(1025)], &[(0, "1")]).encode_to_vec(),
        [&foreign(&["a"], &[(0, "1")]).encode_to_vec()[..], b"\x1a\x02\x08\x00"].concat(), // no data
        [&foreign(&["a"], &[(0, "1")]).encode_to_vec()[..], b"\x1a\x02\x1a\x00"].concat(), // no key
        [&foreign(&["a"], &[(0, "1")]).encode_to_vec()[..], b"\x1a\x7f\x08\x00"].concat(), // longer than there is
        {
            let mut hashed = foreign(&["a"], &[(0, "1")]);
            hashed.records[0].hash_key = Some(0);
            hashed.encode_to_vec()
        },
    ] {
        assert_eq!(flaw(&record(&content)), Some(Flaw::Content), "{content:x?}");
    }
}

#[test]
fn an_aggregate_of_nothing_has_no_messages() {
    assert!(messages(&record(&foreign(&["a"], &[]).encode_to_vec())).is_empty());
    assert!(messages(&record(b"\x38\x01")).is_empty(), "a field that nobody knows");
}

#[test]
fn an_aggregate_inside_another_is_not_opened() {
    let mut inner = Aggregate::of(&key("inner"));
    inner.push(&Message::new("x").with_key(key("inner"))).unwrap();
    let (inner, outer_key) = (Bytes::from(inner.finish()), key("outer"));
    let mut outer = Aggregate::of(&outer_key);
    outer.push(&Message::new(inner.clone()).with_key(outer_key.clone())).unwrap();
    let found = messages(&outer.finish().into());
    assert_eq!((&found[0].payload, &found[0].key), (&inner, &Some(outer_key)));
}

#[test]
fn keys_may_be_several_and_stand_behind_what_refers_to_them() {
    let (keys, records) = (foreign(&["a", "b"], &[]), foreign(&[], &[(1, "1"), (0, "2")]));
    let data = record(&[records.encode_to_vec(), keys.encode_to_vec()].concat());
    let found: Vec<_> = messages(&data).into_iter().map(|message| (message.key.unwrap(), message.payload)).collect();
    assert_eq!(found, [(key("b"), Bytes::from("1")), (key("a"), Bytes::from("2"))]);
}

#[test]
fn tags_of_others_are_headers() {
    let mut other = foreign(&["a"], &[(0, "1")]);
    let tag = |key: &str, value: Option<&str>| ForeignTag { key: key.into(), value: value.map(Into::into) };
    other.records[0].tags = vec![
        tag("strait-id", Some("7")),
        tag("h", None),
        tag("h", Some("base64:AP8=")),
        tag("h", Some("base64:?")),
        tag("strait-keyless", Some("no")),
        tag("strait-id", Some("01010101-0101-0101-0101-010101010101")),
    ];
    let found = messages(&record(&other.encode_to_vec())).remove(0);
    assert_eq!((found.id, found.key), (Some(Id::from_bytes([1; 16])), Some(key("a"))));
    let headers: [(&str, &[u8]); 5] =
        [("strait-id", b"7"), ("h", b""), ("h", b"\0\xff"), ("h", b"base64:?"), ("strait-keyless", b"no")];
    let headers: Headers = headers.into_iter().collect();
    assert_eq!(found.headers, headers);
}

/// The partition key of the record is that of each of its messages, and so is its explicit hash key.
#[test]
fn what_decides_on_the_shard_stands_inside_too() {
    let mut keyed = Aggregate::of(&key("customer-7"));
    assert_eq!((keyed.partition_key(), keyed.explicit_hash_key()), ("customer-7", None));
    let mut keyless = Aggregate::keyless(7);
    let (name, hash) = (keyless.partition_key().to_owned(), keyless.explicit_hash_key().unwrap().to_owned());
    keyed.push(&Message::new("1").with_key(key("customer-7"))).unwrap();
    keyless.push(&Message::new("1")).unwrap();
    let refusal = keyed.push(&Message::new("2").with_key(key("another"))).unwrap_err();
    assert_eq!(refusal.to_string(), "key: is not that of the aggregate");
    assert_eq!((keyed.messages(), hash.as_str()), (1, "7"));
    let read = |data: Vec<u8>| Foreign::decode(&data[MAGIC.len()..data.len() - 16]).unwrap();
    let (keyed, keyless) = (read(keyed.finish()), read(keyless.finish()));
    assert_eq!((keyed.keys, keyed.hash_keys, keyed.records[0].hash_key), (vec!["customer-7".into()], vec![], None));
    assert_eq!((keyless.keys, keyless.hash_keys, keyless.records[0].hash_key), (vec![name], vec![hash], Some(0)));
}

#[test]
fn what_cannot_be_carried_is_refused_by_name() {
    let refusal = |message: &Message| measure(message).unwrap_err().to_string();
    assert!(measure(&Message::new("1").with_key(key(&"€".repeat(256)))).is_ok(), "characters, not bytes");
    assert_eq!(
        refusal(&Message::new("1").with_key(key(&"k".repeat(257)))),
        "key: has 257 characters, and may have 256"
    );
    for name in ["strait-id", "strait-keyless"] {
        let text = format!("headers: {name:?} is what this provider writes itself");
        assert_eq!(refusal(&Message::new("1").with_header(name, "1")), text);
    }
}
