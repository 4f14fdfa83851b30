//! What stands in records, and what requests hold.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use strait_core::{ErrorKind, Message, Producer as _};
use strait_kinesis::{
    Envelope,
    kpl::{Aggregate, KEY_CHARACTERS},
};
use strait_testkit::kinesis::StreamSettings;

use super::{key, message, orders, payloads, stored};

const MIB: usize = 1 << 20;

#[tokio::test]
async fn a_message_comes_out_as_it_went_in() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    let batch = [
        message("клиент 7", 1, vec![0, 0xff]).with_header("raw", vec![0xff]).with_header("by", "card"),
        message("", 2, ""),
        Message::new("without an id").with_key(key("b")),
    ];
    assert!(producer.send(&batch).await.iter().all(Result::is_ok));
    let mut found = stored(&stub);
    found.sort_by_key(|message| message.id.map_or(9, |id| id.as_bytes()[15]));
    assert_eq!(found, batch);
}

/// Messages of a key share a record, messages without one share others, and what decides on the shard stands inside too.
#[tokio::test]
async fn messages_share_a_record_by_key() {
    let (stub, producer) = orders(StreamSettings::default().with_shards(4), Envelope::Kpl).await;
    let batch: Vec<_> =
        ["a", "b", ""].iter().cycle().zip(0..12).map(|(name, number)| message(name, number, "x")).collect();
    let receipts = producer.send(&batch).await;
    let call = stub.seen("PutRecords").remove(0);
    let records = call.body["Records"].as_array().unwrap();
    assert_eq!(records.len(), 3);
    for record in records {
        let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
        let name = record["PartitionKey"].as_str().unwrap();
        // The first field of an aggregate is its partition key.
        assert_eq!(&data[6..6 + name.len()], name.as_bytes());
        if let Some(hash) = record["ExplicitHashKey"].as_str() {
            assert!(data.windows(hash.len()).any(|part| part == hash.as_bytes()));
        }
    }
    let positions: Vec<_> = receipts.into_iter().map(|receipt| receipt.unwrap().position.to_string()).collect();
    let of_a: Vec<_> = positions.iter().step_by(3).map(|position| position.split_once('.')).collect();
    let places: Vec<_> = of_a.iter().map(|position| position.map(|(_, place)| place)).collect();
    assert_eq!(places, [Some("0"), Some("1"), Some("2"), None], "the last one is named by the record alone");
    assert!(positions.iter().all(|position| position.len() >= 56));
}

#[tokio::test]
async fn records_without_a_key_are_spread_evenly() {
    let (stub, producer) = orders(StreamSettings::default().with_shards(4), Envelope::Kpl).await;
    for number in 0..100 {
        producer.send(&[message("", number, "x")]).await.remove(0).unwrap();
    }
    let counts: Vec<_> = stub.stored("orders").into_iter().map(|(_, records)| records.len()).collect();
    // Steps by the golden ratio keep each shard within two of its share, wherever they begin.
    assert!(counts.iter().all(|count| (23..=27).contains(count)), "{counts:?}");
}

/// To the byte: what `plan` accepts is stored, and one byte more is refused before anything is sent.
#[tokio::test]
async fn what_is_planned_within_the_limits_is_stored() {
    for (envelope, name) in [(Envelope::Kpl, "a"), (Envelope::Kpl, ""), (Envelope::Plain, "a"), (Envelope::Plain, "")] {
        let (stub, producer) = orders(StreamSettings::default().with_record_bytes(MIB + 1024), envelope).await;
        let limit = producer.limits().message_bytes;
        assert_eq!((limit, producer.limits().request_bytes), (MIB + 1024, 10 * MIB));
        let around = producer.plan(&message(name, 1, vec![7; 900_000])).unwrap().bytes - 900_000;
        let largest = message(name, 1, vec![7; limit - around]);
        assert_eq!(producer.plan(&largest).unwrap().bytes, limit);
        producer.send(std::slice::from_ref(&largest)).await.remove(0).unwrap();
        assert_eq!(stub.seen("PutRecords").len(), 1);

        // A sender refuses it by the plan; without one it is refused here, and those beside it are sent.
        let larger = message(name, 2, vec![7; limit - around + 1]);
        assert_eq!(producer.plan(&larger).unwrap().bytes, limit + 1);
        let outcomes = producer.send(&[larger, message("b", 3, "x")]).await;
        let error = outcomes[0].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().starts_with("payload: the record would have 10496"), "{error}");
        assert!(outcomes[1].is_ok());
    }
}

/// The stub refuses what Kinesis does: 501 records, and a byte more than 10 MiB.
#[tokio::test]
async fn every_request_is_legal() {
    for envelope in [Envelope::Kpl, Envelope::Plain] {
        let (stub, producer) = orders(StreamSettings::default(), envelope).await;
        let many: Vec<_> = (0..501).map(|number| message(&format!("key-{number}"), number, "x")).collect();
        assert!(producer.send(&many).await.iter().all(Result::is_ok));
        let sizes = |from: usize| -> Vec<_> {
            let calls = stub.seen("PutRecords");
            calls[from..].iter().map(|call| call.body["Records"].as_array().unwrap().len()).collect()
        };
        assert_eq!(sizes(0), [500, 1]);
        // Ten that fill a request to the byte, and one more.
        let around = producer.plan(&message("key-0", 1, vec![7; 900_000])).unwrap().bytes - 900_000;
        let filler = |number: u64| message(&format!("key-{number}"), number, vec![7; MIB - around]);
        let full: Vec<_> = (0..10).map(filler).chain([message("z", 99, "x")]).collect();
        assert!(producer.send(&full).await.iter().all(Result::is_ok));
        assert_eq!(sizes(2), [10, 1], "{envelope:?}");
    }
}

#[tokio::test]
async fn a_plain_record_is_the_payload() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Plain).await;
    let batch = [message("a", 1, vec![0, 0xff]), message("", 2, "")];
    assert!(producer.send(&batch).await.iter().all(Result::is_ok));
    let id = batch[1].id.unwrap().to_string();
    let expected = vec![("a".to_owned(), vec![0, 0xff]), (id, Vec::new())];
    assert_eq!(stub.stored("orders")[0].1, expected);
}

#[tokio::test]
async fn what_cannot_be_carried_is_refused_by_name_and_holds_up_its_key_alone() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Plain).await;
    let refusal = |message: &Message| producer.plan(message).unwrap_err().to_string();
    let headed = message("a", 1, "1").with_header("by", "card");
    let text = "headers: \"by\" cannot be carried in a plain record: see envelope = \"kpl\"";
    assert_eq!(refusal(&headed), text);
    let long = message(&"k".repeat(KEY_CHARACTERS + 1), 1, "1");
    assert_eq!(refusal(&long), "key: has 257 characters, and may have 256");
    assert!(producer.plan(&message(&"€".repeat(KEY_CHARACTERS), 1, "1")).is_ok());
    let mut aggregate = Aggregate::of(&key("a"));
    aggregate.push(&message("a", 1, "1")).unwrap();
    let opened = message("a", 1, aggregate.finish());
    assert_eq!(
        refusal(&opened),
        "payload: is an aggregate of the Kinesis Producer Library, and would be opened when it is read"
    );
    let outcomes = producer.send(&[message("a", 1, "1"), headed, message("a", 2, "2"), message("b", 3, "3")]).await;
    let told: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(told, [true, false, false, true]);
    let behind = outcomes[2].as_ref().unwrap_err();
    assert!(behind.to_string().starts_with("not sent, since a message before it with its key failed: headers:"));
    assert_eq!(payloads(&stored(&stub)), ["1", "3"]);
}
