//! Each call goes to the endpoint of its service, and is signed for the region of what it is about.

use strait_config::Secret;
use strait_sqs::{Keys, Role, Service, SnsProducer, SqsOptions, SqsProducer, SqsQueue};

use crate::{access, connect, stub, stub::Call};

#[tokio::test]
async fn an_endpoint_of_sqs_gets_nothing_of_sns_and_sts() {
    let (queues, topics, identity) = (stub(|_| None).await, stub(|_| None).await, stub(|_| None).await);
    let mut access = access("");
    access.endpoint = None;
    access.endpoints.insert(Service::Sqs, queues.url());
    access.endpoints.insert(Service::Sns, topics.url());
    access.endpoints.insert(Service::Sts, identity.url());
    let client = connect(&access).await;
    SqsProducer::open(&client, "orders").await.unwrap();
    SnsProducer::open(&client, "orders").await.unwrap();
    assert_eq!((queues.calls("GetQueueUrl").len(), queues.calls("GetCallerIdentity").len()), (1, 0));
    assert_eq!((topics.calls("GetTopicAttributes").len(), topics.calls("GetCallerIdentity").len()), (1, 0));
    assert_eq!(identity.calls("GetCallerIdentity").len(), 1);
}

#[tokio::test]
async fn a_role_is_asked_for_at_the_endpoint_of_sts() {
    let credentials = "<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>role</SecretAccessKey>\
        <SessionToken>of-the-role</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>";
    let role = format!("<AssumeRoleResponse><AssumeRoleResult>{credentials}</AssumeRoleResult></AssumeRoleResponse>");
    let queues = stub(|_| None).await;
    let identity = stub(move |call| (call.operation == "AssumeRole").then(|| (200, role.clone()))).await;
    let mut access = access(&queues.url());
    access.endpoints.insert(Service::Sts, identity.url());
    let arn = "arn:aws:iam::123456789012:role/orders".to_owned();
    access.role = Some(Role { arn, external_id: Some(Secret::new("external")) });
    SqsProducer::open(&connect(&access).await, "orders").await.unwrap();
    assert_eq!((queues.calls("AssumeRole").len(), identity.calls("AssumeRole").len()), (0, 1));
    assert_eq!(queues.calls("GetQueueUrl")[0].headers["x-amz-security-token"], "of-the-role");
}

#[tokio::test]
async fn temporary_keys_come_with_their_token() {
    let stub = stub(|_| None).await;
    let mut access = access(&stub.url());
    access.keys = access.keys.map(|keys| Keys { session_token: Some(Secret::new("token")), ..keys });
    SqsProducer::open(&connect(&access).await, "orders").await.unwrap();
    assert_eq!(stub.calls("GetQueueUrl")[0].headers["x-amz-security-token"], "token");
}

#[tokio::test]
async fn what_has_a_region_of_its_own_is_signed_for_it() {
    let stub = stub(|_| None).await;
    let client = connect(&access(&stub.url())).await;
    let scopes = |operation: &str| stub.calls(operation).iter().map(Call::scope).collect::<Vec<_>>();
    for queue in [
        "https://sqs.us-west-2.amazonaws.com/123456789012/orders",
        "arn:aws:sqs:us-west-2:123456789012:orders",
        "orders",
    ] {
        let producer = SqsProducer::open(&client, queue).await.unwrap();
        strait_core::Producer::send(&producer, &[strait_core::Message::new("1")]).await;
        SqsQueue::open(&client, queue, SqsOptions::default()).await.unwrap();
    }
    let (there, here) = ("us-west-2/sqs", "eu-west-1/sqs");
    assert_eq!(scopes("SendMessageBatch"), [there, there, here]);
    assert_eq!(scopes("GetQueueAttributes"), [there, there, there, there, here, here]);
    let urls = stub.calls("GetQueueUrl");
    assert_eq!((urls.len(), urls[0].scope()), (4, there.to_owned()));
    assert_eq!(urls[0].json(), serde_json::json!({ "QueueName": "orders", "QueueOwnerAWSAccountId": "123456789012" }));
    SnsProducer::open(&client, "arn:aws:sns:us-west-2:123456789012:orders").await.unwrap();
    SnsProducer::open(&client, "orders").await.unwrap();
    assert_eq!(scopes("GetTopicAttributes"), ["us-west-2/sns", "eu-west-1/sns"]);
}
