//! A group has one registered consumer.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use serde_json::json;
use strait_core::{ErrorKind, Result};
use strait_kinesis::KinesisLog;
use strait_testkit::kinesis::{Fault, StreamSettings, Stub};

use super::super::connect;

async fn orders() -> Stub {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default());
    stub
}

async fn open(stub: &Stub, consumer: &str, create: bool) -> Result<()> {
    let client = connect(stub).await;
    KinesisLog::open_fan_out(&client, "orders", "billing", consumer, create).await.map(drop)
}

#[tokio::test]
async fn a_missing_consumer_is_registered_once_and_waited_for() {
    let stub = orders().await;
    open(&stub, "billing", true).await.unwrap();
    let registered = stub.seen("RegisterStreamConsumer").remove(0);
    assert_eq!(registered.body, json!({ "ConsumerName": "billing", "StreamARN": stub.arn("orders") }));
    // It was not there, was being made, and could be used.
    assert_eq!(stub.seen("DescribeStreamConsumer").len(), 3);
    open(&stub, "billing", false).await.unwrap();
    open(&stub, "billing", true).await.unwrap();
    assert_eq!(stub.seen("RegisterStreamConsumer").len(), 1);
}

#[tokio::test]
async fn without_create_a_missing_consumer_is_an_error() {
    let stub = orders().await;
    let error = open(&stub, "billing", false).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = "kinesis: consumer: \"billing\" is not registered with \"orders\": create = true registers it";
    assert_eq!(error.to_string(), text);
    let error = open(&stub, "no name", true).await.unwrap_err();
    assert!(error.to_string().starts_with("kinesis: consumer: must be the name of a consumer"), "{error}");
    assert!(stub.seen("RegisterStreamConsumer").is_empty());
}

/// Members of a group start together.
#[tokio::test]
async fn what_another_member_registered_meanwhile_is_used() {
    let stub = orders().await;
    open(&stub, "billing", true).await.unwrap();
    let calls = AtomicUsize::new(0);
    stub.plan(move |call| {
        let is_first = call.operation == "DescribeStreamConsumer" && calls.fetch_add(1, Relaxed) == 0;
        is_first.then_some(Fault::Refuse(400, "ResourceNotFoundException"))
    });
    open(&stub, "billing", true).await.unwrap();
    assert_eq!(stub.seen("RegisterStreamConsumer").len(), 2);
}

#[tokio::test]
async fn what_is_not_allowed_names_its_permission() {
    let stub = orders().await;
    for operation in ["DescribeStreamConsumer", "RegisterStreamConsumer"] {
        stub.plan(move |call| (call.operation == operation).then_some(Fault::Refuse(400, "AccessDeniedException")));
        let error = open(&stub, "billing", true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        assert!(error.to_string().contains(&format!("needs the permission kinesis:{operation}")), "{error}");
    }
    // Without its ARN, a stream has no consumers that can be named.
    stub.plan(|call| {
        (call.operation == "DescribeStreamSummary").then_some(Fault::Refuse(400, "AccessDeniedException"))
    });
    let error = open(&stub, "billing", true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("name it by its ARN"), "{error}");
}
