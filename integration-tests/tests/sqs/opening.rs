//! From a file to open channels, and what is refused on the way.

use integration_tests::{emulators::fresh, queues::feed, sqs::endpoint};
use strait_config::{Bus, Registry};
use strait_core::ErrorKind;
use strait_sqs::Sqs;

fn bus(create: bool, tables: &str) -> Bus {
    let text = format!(
        r#"
provider = "sqs"
[connections.sqs]
region = "us-east-1"
endpoint = "{}"
access_key_id = "test"
secret_access_key = "test"
create = {create}
{tables}"#,
        endpoint()
    );
    Bus::builder(Registry::new().with(Sqs)).environment(|_| None).text("strait.toml", &text).build().unwrap()
}

/// A topic and two queues that it feeds, all of them made, in order of keys.
#[tokio::test]
async fn a_file_makes_a_topic_that_feeds_queues() {
    let name = fresh("orders");
    let receiver = |group: &str| {
        format!(
            r#"
[receivers.{group}]
ordering = "key"
dead_letter = "discard"
[receivers.{group}.on.sqs]
queue = "{name}-{group}.fifo"
topic = "{name}.fifo"
wait = "1s"
"#
        )
    };
    let sender = format!("[senders.orders.on.sqs]\ntopic = \"{name}.fifo\"\n");
    let bus = bus(true, &[sender, receiver("billing"), receiver("shipping")].concat());
    feed(bus, &["billing", "shipping"]).await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let name = fresh("queue");
    let tables = format!(
        r#"
[senders.long]
deadline = "5m"
[senders.long.on.sqs]
queue = "{name}.fifo"
[senders.plain.on.sqs]
queue = "{name}"
[receivers.ordered]
ordering = "key"
dead_letter = "discard"
[receivers.ordered.on.sqs]
queue = "{name}"
"#
    );
    // Nothing is there, and nothing is made unless it is asked for.
    let bare = bus(false, &tables);
    for sender in ["long", "plain"] {
        assert_eq!(bare.sender(sender).await.unwrap_err().kind(), ErrorKind::NotFound);
    }
    assert_eq!(bare.receiver("ordered").await.unwrap_err().kind(), ErrorKind::NotFound);
    let made = bus(true, &tables);
    made.sender("plain").await.unwrap();
    let refused = made.sender("long").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("deadline: must be at most 240s"), "{refused}");
    let refused = made.receiver("ordered").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unsupported);
    assert!(refused.to_string().contains("receivers.ordered.ordering"), "{refused}");
    made.close().await.unwrap();
}

#[tokio::test]
async fn a_topic_or_a_queue_that_is_not_there_is_not_found_by_any_name() {
    let name = fresh("missing");
    for table in [
        format!("topic = \"{name}\""),
        format!("topic = \"arn:aws:sns:us-east-1:000000000000:{name}\""),
        format!("queue = \"{name}\""),
        format!("queue = \"{}/000000000000/{name}\"", endpoint()),
    ] {
        let bus = bus(false, &format!("[senders.out.on.sqs]\n{table}\n"));
        assert_eq!(bus.sender("out").await.unwrap_err().kind(), ErrorKind::NotFound, "{table}");
    }
}

#[tokio::test]
async fn a_topic_for_a_queue_that_is_not_made_is_refused() {
    let name = fresh("queue");
    let table = format!(
        "[receivers.app]\ndead_letter = \"discard\"\n[receivers.app.on.sqs]\nqueue = \"{name}\"\ntopic = \"orders\"\n"
    );
    let refused = bus(false, &table).receiver("app").await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    assert!(refused.to_string().contains("receivers.app.on.sqs.topic: is for create = true"), "{refused}");
}
