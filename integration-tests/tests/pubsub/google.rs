//! Messages between Google's own client for Rust and ours, in both directions: payload, key, attributes, exactly once.

use std::time::Duration;

use bytes::Bytes;
use google_cloud_auth::credentials::{Credentials, anonymous};
use google_cloud_pubsub::{
    client::{Publisher, Subscriber},
    model::Message as GoogleMessage,
    subscriber::{MessageStream, handler::Handler},
};
use integration_tests::{
    emulators::fresh,
    pubsub::{connect, endpoint, options, unsettled},
    queues::take,
};
use strait_core::{Id, Key, Message, Producer as _};
use strait_kit::QueueSettings;
use strait_pubsub::{Client, NewSubscription, PubSubProducer, PubSubQueue, create_subscription, create_topic};
use tokio::time::{Instant, timeout};

/// A stream of Google's may be a while about its first message on the emulator.
const PATIENCE: Duration = Duration::from_mins(1);

/// A topic and a subscription of one name, in order.
async fn channel(exactly_once: bool) -> (Client, String) {
    let (client, name) = (connect(&endpoint()).unwrap(), fresh("official"));
    create_topic(&client, &name).await.unwrap();
    let mut new = NewSubscription::new(&name, &name);
    new.exactly_once = exactly_once;
    create_subscription(&client, &new).await.unwrap();
    (client, name)
}

fn nobody() -> Credentials {
    anonymous::Builder::new().build()
}

async fn publisher(topic: &str) -> Publisher {
    let builder = Publisher::builder(format!("projects/strait/topics/{topic}"));
    builder.with_endpoint(endpoint()).with_credentials(nobody()).build().await.unwrap()
}

async fn stream(subscription: &str) -> MessageStream {
    let builder = Subscriber::builder().with_endpoint(endpoint()).with_credentials(nobody());
    let subscriber = builder.build().await.unwrap();
    subscriber.subscribe(format!("projects/strait/subscriptions/{subscription}")).build()
}

async fn what_google_publishes_is_received(exactly_once: bool) {
    let (client, name) = channel(exactly_once).await;
    let publisher = publisher(&name).await;
    let keyed = |text: &'static str| GoogleMessage::new().set_data(text).set_ordering_key("customer 7");
    let attributed = GoogleMessage::new().set_data(Bytes::from_static(b"\0\xff"));
    let attributed = attributed.set_attributes([("content-type", "application/json"), ("ж", "")]);
    let mut sent = Vec::new();
    for message in [keyed("1"), keyed("2"), attributed, keyed("3")] {
        sent.push(publisher.publish(message));
    }
    for sent in sent {
        sent.await.unwrap();
    }
    let queue = PubSubQueue::open(&client, &name, options()).await.unwrap();
    let received = take(queue.consumer(QueueSettings::default()), 4).await;
    let key = Key::new("customer 7").unwrap();
    let in_order: Vec<_> = received.iter().filter(|it| it.message.key.as_ref() == Some(&key)).collect();
    assert_eq!(in_order.iter().map(|it| &*it.message.payload).collect::<Vec<_>>(), [b"1", b"2", b"3"]);
    assert!(in_order.iter().all(|it| it.message.headers.is_empty() && it.message.id.is_none()));
    let attributed = received.iter().find(|it| it.message.key.is_none()).unwrap();
    assert_eq!(&attributed.message.payload[..], b"\0\xff");
    let headers: Vec<_> = attributed.message.headers.iter().map(|(name, value)| (name, &**value)).collect();
    assert_eq!(headers, [("content-type", &b"application/json"[..]), ("ж", b"")]);
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), 0);
}

#[tokio::test]
async fn what_googles_publisher_sends_is_received() {
    what_google_publishes_is_received(false).await;
}

#[tokio::test]
async fn what_googles_publisher_sends_is_received_exactly_once() {
    what_google_publishes_is_received(true).await;
}

async fn what_we_publish_is_received_by_google(exactly_once: bool) {
    let (client, name) = channel(exactly_once).await;
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    let (key, id) = (Key::new("ключ 7").unwrap(), |byte| Id::from_bytes([byte; 16]));
    let messages = [
        Message::new("1").with_id(id(1)).with_key(key.clone()),
        Message::new("2").with_id(id(2)).with_key(key).with_header("X-Kind", "ж"),
        Message::new(Bytes::from_static(b"\0\xff")).with_id(id(3)).with_header("empty", ""),
    ];
    for outcome in producer.send(&messages).await {
        outcome.unwrap();
    }
    let mut stream = stream(&name).await;
    let mut received = Vec::new();
    while received.len() < messages.len() {
        let (message, handler) = timeout(PATIENCE, stream.next()).await.expect("it comes").unwrap().unwrap();
        match handler {
            Handler::ExactlyOnce(handler) => {
                assert!(exactly_once);
                handler.confirmed_ack().await.unwrap();
            }
            handler => {
                assert!(!exactly_once);
                handler.ack();
            }
        }
        received.push(message);
    }
    let keyed: Vec<_> = received.iter().filter(|message| message.ordering_key == "ключ 7").collect();
    assert_eq!(keyed.iter().map(|message| &*message.data).collect::<Vec<_>>(), [b"1", b"2"]);
    let attribute = |message: &GoogleMessage, name: &str| message.attributes.get(name).cloned();
    assert_eq!(attribute(keyed[0], "strait-id"), Some(id(1).to_string()));
    assert_eq!(attribute(keyed[1], "X-Kind").as_deref(), Some("ж"));
    let plain = received.iter().find(|message| message.ordering_key.is_empty()).unwrap();
    assert_eq!((&plain.data[..], attribute(plain, "empty").as_deref()), (&b"\0\xff"[..], Some("")));
    // An acknowledgement that is not confirmed has its effect a moment later.
    let begun = Instant::now();
    while unsettled(&client, &name, &name).await.unwrap() > 0 {
        assert!(!exactly_once && begun.elapsed() < PATIENCE, "it was acknowledged");
    }
}

#[tokio::test]
async fn googles_subscriber_receives_what_we_send() {
    what_we_publish_is_received_by_google(false).await;
}

#[tokio::test]
async fn googles_subscriber_receives_what_we_send_exactly_once() {
    what_we_publish_is_received_by_google(true).await;
}
