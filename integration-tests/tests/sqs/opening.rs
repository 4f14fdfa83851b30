//! From a file to open channels, and what is refused on the way.

use integration_tests::{
    emulators::fresh,
    queues::feed,
    sqs::{connect, endpoint},
};
use strait_config::{Bus, Registry};
use strait_core::ErrorKind;
use strait_sqs::{Sqs, SqsProducer, create_queue, create_topic, subscribe};

fn bus(create: bool, tables: &str) -> Bus {
    let text = format!(
        r#"
provider = "sqs"
[connections.sqs]
region = "us-east-1"
endpoint = "{}"
access_key_id = "test"
secret_access_key = "test"
timeout = "30s"
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
        format!("queue = \"arn:aws:sqs:us-east-1:000000000000:{name}\""),
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

/// Queues of one name in two regions are two, and an ARN or a URL says which is meant.
#[tokio::test]
async fn a_queue_is_found_in_the_region_of_its_arn_and_its_url() {
    let name = fresh("regions");
    let here = connect(&endpoint()).await.unwrap();
    create_queue(&here, &name, &[]).await.unwrap();
    let elsewhere = |region: &str| format!("arn:aws:sqs:{region}:000000000000:{name}");
    SqsProducer::open(&here, &elsewhere("us-east-1")).await.unwrap();
    let missing = SqsProducer::open(&here, &elsewhere("eu-west-1")).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    let url = format!("http://sqs.eu-west-1.localhost.localstack.cloud:4566/000000000000/{name}");
    let missing = SqsProducer::open(&here, &url).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
}

/// Feeding a queue adds to its policy, once, and leaves what others said in it.
#[tokio::test]
async fn a_policy_of_others_stays() {
    let client = connect(&endpoint()).await.unwrap();
    let deny =
        r#"{"Version":"2012-10-17","Statement":{"Effect":"Deny","Principal":"*","Action":"sqs:*","Resource":"*"}}"#;
    let url = create_queue(&client, &fresh("queue"), &[("Policy", deny)]).await.unwrap();
    let topic = create_topic(&client, &fresh("topic")).await.unwrap();
    for _ in 0..2 {
        subscribe(&client, &topic, &url).await.unwrap();
    }
    let request = client.sqs().get_queue_attributes().queue_url(&url).attribute_names("Policy".into());
    let policy = request.send().await.unwrap().attributes.unwrap()[&"Policy".into()].clone();
    let policy: serde_json::Value = serde_json::from_str(&policy).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    let effects: Vec<_> = statements.iter().map(|statement| statement["Effect"].as_str().unwrap()).collect();
    assert_eq!(effects, ["Deny", "Allow"]);
}
