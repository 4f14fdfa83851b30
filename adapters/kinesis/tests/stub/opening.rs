//! Streams are found by their name or their ARN.

use serde_json::json;
use strait_core::{ErrorKind, Producer as _};
use strait_kinesis::{Envelope, KinesisProducer};
use strait_testkit::kinesis::{Fault, StreamSettings, Stub};

use super::{connect, message};

#[tokio::test]
async fn every_call_names_the_stream_by_its_arn() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default());
    let (client, arn) = (connect(&stub).await, stub.arn("orders"));
    for text in ["orders", arn.as_str()] {
        let producer = KinesisProducer::open(&client, text, Envelope::Kpl).await.unwrap();
        producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap();
        assert_eq!(producer.destinations(), [format!("kinesis:{arn}")]);
    }
    for call in stub.seen("PutRecords") {
        assert_eq!((&call.body["StreamARN"], &call.body["StreamName"]), (&json!(arn), &json!(null)));
    }
    assert!(!format!("{client:?}").contains("hunter2"));
}

#[tokio::test]
async fn what_is_not_there_is_told_when_it_is_opened() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default());
    let client = connect(&stub).await;
    let open = async |text: &str| KinesisProducer::open(&client, text, Envelope::Kpl).await.unwrap_err();
    let missing = open("others").await;
    assert_eq!(missing.kind(), ErrorKind::NotFound, "{missing}");
    stub.delete("orders");
    let deleting = open("orders").await;
    assert_eq!(deleting.kind(), ErrorKind::NotFound);
    assert_eq!(deleting.to_string(), "kinesis: cannot open \"orders\": it is being deleted");
    let consumer = "arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/billing:1";
    for text in ["", "a b", "a/b", &"n".repeat(129), consumer, "arn:aws:sqs:us-east-1:000000000000:orders"] {
        let wrong = open(text).await;
        assert_eq!(wrong.kind(), ErrorKind::Config, "{wrong}");
        assert!(wrong.to_string().starts_with("kinesis: stream: "), "{wrong}");
    }
}

/// Without the permission to look at it, a stream is called as it was given, and a record has 1 MiB.
#[tokio::test]
async fn a_caller_that_may_not_look_at_a_stream_sends_to_it() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default().with_record_bytes(5 << 20));
    stub.plan(|call| {
        (call.operation == "DescribeStreamSummary").then_some(Fault::Refuse(400, "AccessDeniedException"))
    });
    let client = connect(&stub).await;
    let producer = KinesisProducer::open(&client, "orders", Envelope::Kpl).await.unwrap();
    assert_eq!((producer.limits().message_bytes, producer.destinations()), (1 << 20, Vec::new()));
    producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap();
    assert_eq!(stub.seen("PutRecords")[0].body["StreamName"], json!("orders"));
    stub.plan(|_| Some(Fault::Refuse(400, "AccessDeniedException")));
    let denied = producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap_err();
    assert_eq!(denied.kind(), ErrorKind::Denied);
    assert!(denied.to_string().contains("needs the permission kinesis:PutRecords"), "{denied}");
}
