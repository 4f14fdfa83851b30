//! From a file to open channels, and what is refused on the way.

use std::time::Duration;

use integration_tests::{
    emulators::fresh,
    pubsub::{connect, endpoint, options},
    queues::feed,
};
use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Message};
use strait_pubsub::{
    Access, Client, Identity, NewSubscription, PubSub, PubSubProducer, PubSubQueue, create_subscription, create_topic,
};
use tokio::time::timeout;

fn bus(create: bool, tables: &str) -> Bus {
    let text = format!(
        r#"
provider = "pubsub"
[connections.pubsub]
project = "strait"
endpoint = "{}"
create = {create}
{tables}"#,
        endpoint()
    );
    Bus::builder(Registry::new().with(PubSub)).environment(|_| None).text("strait.toml", &text).build().unwrap()
}

/// A topic and two subscriptions, all of them made, in order of keys.
#[tokio::test]
async fn a_file_makes_a_topic_and_what_it_feeds() {
    let name = fresh("orders");
    let receiver = |group: &str| {
        format!(
            r#"
[receivers.{group}]
ordering = "key"
dead_letter = "discard"
[receivers.{group}.on.pubsub]
subscription = "{name}-{group}"
topic = "{name}"
wait = "1s"
"#
        )
    };
    let sender = format!("[senders.orders.on.pubsub]\ntopic = \"{name}\"\n");
    let bus = bus(true, &[sender, receiver("billing"), receiver("shipping")].concat());
    feed(bus, &["billing", "shipping"]).await;
}

/// A new subscription starts where it is told to, and a known one goes on.
#[tokio::test]
async fn a_new_subscription_starts_at_a_time() {
    let (client, topic) = (connect(&endpoint()).unwrap(), fresh("orders"));
    create_topic(&client, &topic).await.unwrap();
    let producer = PubSubProducer::open(&client, &topic).await.unwrap();
    let send = async |text: &'static str| {
        for outcome in strait_core::Producer::send(&producer, &[Message::new(text)]).await {
            outcome.unwrap();
        }
    };
    let table = |start: &str| {
        format!(
            "[receivers.app]\ndead_letter = \"discard\"\n[receivers.app.on.pubsub]\nsubscription = \"{topic}-{}\"\n\
             topic = \"{topic}\"\nordered = false\nwait = \"1s\"\nstart = \"{start}\"\n",
            start.len()
        )
    };
    send("old").await;
    let latest = bus(true, &table("latest")).receiver("app").await.unwrap();
    tokio::time::sleep(Duration::from_millis(10)).await;
    send("new").await;
    let delivery = latest.recv().await.unwrap().unwrap();
    assert_eq!(delivery.message().payload, "new");
    delivery.ack_confirmed().await.unwrap();
    latest.close().await.unwrap();
    let past = bus(true, &table("2001-01-01T00:00:00Z")).receiver("app").await.unwrap();
    for expected in ["old", "new"] {
        let delivery = past.recv().await.unwrap().unwrap();
        assert_eq!(delivery.message().payload, expected);
        delivery.ack_confirmed().await.unwrap();
    }
    past.close().await.unwrap();
    let known = bus(true, &table("2001-01-01T00:00:00Z")).receiver("app").await.unwrap();
    assert!(timeout(Duration::from_secs(4), known.recv()).await.is_err(), "a known one goes on");
    known.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let name = fresh("orders");
    let table = |more: &str| {
        format!(
            "[senders.out.on.pubsub]\ntopic = \"{name}\"\n[receivers.app]\nordering = \"key\"\ndead_letter = \"discard\"\n\
             [receivers.app.on.pubsub]\nsubscription = \"{name}\"\n{more}"
        )
    };
    // Nothing is there, and nothing is made unless it is asked for.
    let bare = bus(false, &table(""));
    assert_eq!(bare.sender("out").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(bare.receiver("app").await.unwrap_err().kind(), ErrorKind::NotFound);
    let named = bus(false, &table(&format!("topic = \"{name}\"\n"))).receiver("app").await.unwrap_err();
    assert_eq!(named.kind(), ErrorKind::Config);
    assert!(named.to_string().contains("receivers.app.on.pubsub.topic: is for create = true"), "{named}");
    let made = bus(true, &table(&format!("topic = \"{name}\"\nordered = false\n")));
    made.sender("out").await.unwrap();
    let refused = made.receiver("app").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("receivers.app.ordering"), "{refused}");
    made.close().await.unwrap();
    // Its own acknowledgement deadline is 10 s.
    let long = bus(false, &table("wait = \"6s\"\n")).receiver("app").await.unwrap_err();
    assert_eq!(long.kind(), ErrorKind::Config);
    assert!(long.to_string().contains("wait: must be at most half"), "{long}");
}

/// A lease that is not the subscription's is asked for, and is as long as it is said to be.
#[tokio::test]
async fn a_lease_of_ones_own_is_asked_for() {
    let (client, name) = (connect(&endpoint()).unwrap(), fresh("orders"));
    create_topic(&client, &name).await.unwrap();
    create_subscription(&client, &NewSubscription::new(&name, &name)).await.unwrap();
    let producer = PubSubProducer::open(&client, &name).await.unwrap();
    for outcome in strait_core::Producer::send(&producer, &[Message::new("1")]).await {
        outcome.unwrap();
    }
    let mut longer = options();
    longer.lease = Some(Duration::from_mins(1));
    let queue = PubSubQueue::open(&client, &name, longer).await.unwrap();
    let budget = strait_core::Budget::new(10, 1 << 20);
    let held = strait_kit::Queue::receive(&queue, budget).await.unwrap();
    assert_eq!(held.len(), 1);
    // Nobody extends it here: by the subscription's own ten seconds it would come again.
    let begun = tokio::time::Instant::now();
    while begun.elapsed() < Duration::from_secs(14) {
        assert!(strait_kit::Queue::receive(&queue, budget).await.unwrap().is_empty());
    }
    let released = strait_kit::Queue::release(&queue, &[held[0].handle.clone()]).await;
    assert!(released.iter().all(Result::is_ok));
}

#[tokio::test]
async fn an_address_that_is_none_or_where_nobody_listens_is_told() {
    let mut access = Access::default();
    for (address, kind) in [("127.0.0.1:1", ErrorKind::Config), ("http://a b", ErrorKind::Config)] {
        access.endpoint = Some(address.to_owned());
        assert_eq!(Client::connect(&access).unwrap_err().kind(), kind, "{address}");
    }
    let nobody = connect("http://127.0.0.1:1").unwrap();
    let refused = timeout(Duration::from_secs(20), PubSubProducer::open(&nobody, "orders")).await.unwrap().unwrap_err();
    assert_eq!((refused.kind(), refused.is_ambiguous()), (ErrorKind::Unavailable, false), "{refused:?}");
    let text = "pubsub: cannot open topic \"orders\": \"127.0.0.1:1\" refuses connections";
    assert_eq!(refused.to_string(), text);
    assert!(std::error::Error::source(&refused).unwrap().to_string().starts_with("Connection refused"));
    // The data path tells it as the admin client does.
    let producer = PubSubProducer::open(&connect(&endpoint()).unwrap(), "orders").await;
    assert_eq!(producer.unwrap_err().kind(), ErrorKind::NotFound);
}

/// What is called by a name that no machine has, by both paths.
#[tokio::test]
async fn a_host_without_an_address_is_told() {
    let mut access = Access::default();
    (access.project, access.endpoint) = (Some("strait".to_owned()), Some("https://pubsub.invalid".to_owned()));
    access.identity = Identity::Anonymous;
    let client = Client::connect(&access).unwrap();
    let refused = PubSubProducer::open(&client, "orders").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    let text = "pubsub: cannot open topic \"orders\": \"pubsub.invalid\" has no address";
    assert_eq!(refused.to_string(), text);
}

/// Google's clients find an emulator by a variable, and so does this one: in a process of its own, which has it.
#[tokio::test]
async fn the_variable_of_googles_clients_is_read() {
    if std::env::var("STRAIT_TEST_VARIABLE").is_err() {
        let host = endpoint().replace("http://", "");
        let name = "opening::the_variable_of_googles_clients_is_read";
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args([name, "--exact"]).env("PUBSUB_EMULATOR_HOST", host).env("STRAIT_TEST_VARIABLE", "1");
        child.env("STRAIT_PUBSUB", endpoint());
        let output = child.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let mut access = Access::default();
    access.project = Some("strait".to_owned());
    let client = Client::connect(&access).unwrap();
    let name = fresh("orders");
    assert!(create_topic(&client, &name).await.unwrap());
    assert!(!create_topic(&client, &name).await.unwrap(), "it exists");
    PubSubProducer::open(&client, &name).await.unwrap();
}
