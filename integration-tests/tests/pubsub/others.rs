//! What others write is read, and what we write is read by others: payload, key and attributes as documented. Case 15.

use bytes::Bytes;
use integration_tests::{
    emulators::fresh,
    pubsub::{connect, endpoint, options},
    queues::{python, take},
};
use serde_json::{Value, json};
use strait_core::{Id, Key, Message, Producer as _, Received};
use strait_emulators::Emulator;
use strait_kit::QueueSettings;
use strait_pubsub::{Client, NewSubscription, PubSubProducer, PubSubQueue, create_subscription, create_topic};

/// The script beside this file, run by the Python of the emulator's installation, which pins Google's client.
async fn google(arguments: &[&str]) -> Vec<Value> {
    let host = endpoint().replace("http://", "");
    python(Emulator::PubSub, "pubsub/client.py", &[&[&*host], arguments].concat()).await
}

/// A topic and a subscription of one name.
async fn channel(ordered: bool) -> (Client, String) {
    let (client, name) = (connect(&endpoint()).unwrap(), fresh("others"));
    create_topic(&client, &name).await.unwrap();
    let mut new = NewSubscription::new(&name, &name);
    new.ordered = ordered;
    create_subscription(&client, &new).await.unwrap();
    (client, name)
}

async fn receive(client: &Client, name: &str, count: usize) -> Vec<Received> {
    let consumer = PubSubQueue::open(client, name, options()).await.unwrap().consumer(QueueSettings::default());
    take(consumer, count).await
}

async fn what_googles_client_writes_is_read(ordered: bool) {
    let (client, name) = channel(ordered).await;
    google(&["write", &format!("projects/strait/topics/{name}")]).await;
    let received = receive(&client, &name, 4).await;
    let find = |payload: &[u8]| &received.iter().find(|it| it.message.payload == payload).unwrap().message;
    let headers = |message: &Message| -> Vec<(String, String)> {
        let text = |value: &Bytes| String::from_utf8(value.to_vec()).unwrap();
        message.headers.iter().map(|(name, value)| (name.to_owned(), text(value))).collect()
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };

    let plain = find(b"{\"order\": 1}");
    assert_eq!((plain.id, plain.headers.len()), (None, 0));
    assert_eq!(plain.key, Some(Key::new("customer 0").unwrap()));
    let attributed = find(b"with attributes");
    let expected = pairs(&[("content-type", "application/json"), ("empty", ""), ("strait-id", "not ours")]);
    assert_eq!((headers(attributed), &attributed.key, attributed.id), (expected, &None, None));
    let native = find(b"\0\xffbinary");
    assert_eq!((native.id, native.headers.len()), (Some(Id::from_bytes([1; 16])), 0));
    assert_eq!(native.key, Some(Key::new(&"k".repeat(1024)).unwrap()));
    assert_eq!(headers(find(b"")), pairs(&[("only", "attributes")]));
    assert!(received.iter().all(|it| it.origin.redeliveries() == 0 && it.origin.stored_at().is_some()));
}

#[tokio::test]
async fn what_googles_client_writes_is_read_without_order() {
    what_googles_client_writes_is_read(false).await;
}

#[tokio::test]
async fn what_googles_client_writes_is_read_in_order() {
    what_googles_client_writes_is_read(true).await;
}

#[tokio::test]
async fn googles_client_reads_what_we_write() {
    let (client, name) = channel(true).await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    let id = |byte| Id::from_bytes([byte; 16]);
    let messages = [
        Message::new("{\"order\": 1}").with_id(id(1)).with_key(Key::new("ключ 7").unwrap()),
        Message::new(Bytes::from_static(b"\0\xff")).with_id(id(2)).with_header("X-Kind", "ж"),
        Message::new("").with_id(id(3)).with_header("content-type", "text/plain").with_header("empty", ""),
    ];
    for outcome in producer.send(&messages).await {
        outcome.unwrap();
    }
    let subscription = format!("projects/strait/subscriptions/{name}");
    let read = google(&["read", &subscription, "3"]).await;
    let of = |byte| {
        let id = id(byte).to_string();
        read.iter().find(|message| message["attributes"]["strait-id"] == json!(id)).unwrap()
    };
    let text = |byte| json!(id(byte).to_string());
    let expected = [
        json!({ "data": "eyJvcmRlciI6IDF9", "key": "ключ 7", "attributes": { "strait-id": text(1) } }),
        json!({ "data": "AP8=", "key": "", "attributes": { "strait-id": text(2), "X-Kind": "ж" } }),
        json!({ "data": "", "key": "", "attributes": { "strait-id": text(3), "content-type": "text/plain", "empty": "" } }),
    ];
    for (number, expected) in (1..).zip(expected) {
        assert_eq!(*of(number), expected);
    }
}
