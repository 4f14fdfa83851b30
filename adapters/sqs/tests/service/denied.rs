//! What may not be done is told by its permission, and is not mistaken for what cannot be known.

use strait_core::{Budget, Consumer as _, ErrorKind, Message, Producer as _};
use strait_kit::{Queue as _, QueueSettings};
use strait_sqs::{Role, SnsProducer, SqsOptions, SqsProducer, SqsQueue};

use crate::{access, connect, refused, stub};

const SENTENCE: &str = "User: arn:aws:iam::123456789012:user/x is not authorized to perform this";

#[tokio::test]
async fn whoever_may_not_look_may_send_and_receive() {
    let stub =
        stub(|call| (call.operation == "GetQueueAttributes").then(|| refused(400, "AccessDeniedException", SENTENCE)))
            .await;
    let client = connect(&access(&stub.url())).await;
    SqsProducer::open(&client, crate::QUEUE_URL).await.unwrap();
    let queue = SqsQueue::open(&client, crate::QUEUE_URL, SqsOptions::default()).await.unwrap();
    let consumer = queue.consumer(QueueSettings::default());
    assert_eq!(consumer.guarantees().message_bytes, 1 << 20);
}

#[tokio::test]
async fn credentials_that_are_wrong_open_nothing() {
    for code in
        ["InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredTokenException"]
    {
        let json = stub(move |_| Some(refused(403, code, "hunter2"))).await;
        let error = SqsProducer::open(&connect(&access(&json.url())).await, crate::QUEUE_URL).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{code}");
        assert!(error.to_string().contains(code) && !error.to_string().contains("hunter2"), "{error}");
        let body =
            format!("<ErrorResponse><Error><Code>{code}</Code><Message>hunter2</Message></Error></ErrorResponse>");
        let xml = stub(move |_| Some((403, body.clone()))).await;
        let topic = "arn:aws:sns:eu-west-1:123456789012:orders";
        let error = SnsProducer::open(&connect(&access(&xml.url())).await, topic).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{code}: {error}");
    }
}

#[tokio::test]
async fn each_call_names_the_permission_that_it_needs() {
    let stub = stub(|call| {
        let may = matches!(call.operation.as_str(), "GetQueueUrl" | "GetQueueAttributes");
        (!may).then(|| refused(400, "com.amazonaws.sqs#AccessDeniedException", SENTENCE))
    })
    .await;
    let client = connect(&access(&stub.url())).await;
    let told = |error: strait_core::Error, permission: &str| {
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = error.to_string();
        assert!(text.contains(&format!("needs the permission {permission} (")) && text.contains(SENTENCE), "{text}");
    };
    let producer = SqsProducer::open(&client, "orders").await.unwrap();
    told(producer.send(&[Message::new("1")]).await.remove(0).unwrap_err(), "sqs:SendMessage");
    let queue = SqsQueue::open(&client, "orders", SqsOptions::default()).await.unwrap();
    told(queue.receive(Budget::new(1, 1 << 20)).await.unwrap_err(), "sqs:ReceiveMessage");
}

#[tokio::test]
async fn an_entry_names_it_too() {
    let message = serde_json::json!({
        "Messages": [{ "MessageId": "m", "ReceiptHandle": "hunter2", "Body": "1" }],
    });
    let failed = serde_json::json!({
        "Successful": [],
        "Failed": [{ "Id": "0", "Code": "AccessDenied", "SenderFault": true, "Message": SENTENCE }],
    });
    let stub = stub(move |call| match call.operation.as_str() {
        "ReceiveMessage" => Some((200, message.to_string())),
        "DeleteMessageBatch" | "ChangeMessageVisibilityBatch" => Some((200, failed.to_string())),
        _ => None,
    })
    .await;
    let client = connect(&access(&stub.url())).await;
    let queue = SqsQueue::open(&client, "orders", SqsOptions::default()).await.unwrap();
    let leased = queue.receive(Budget::new(1, 1 << 20)).await.unwrap().remove(0);
    let handles = [leased.handle];
    for (outcomes, permission) in [
        (queue.delete(&handles).await, "sqs:DeleteMessage"),
        (queue.extend(&handles).await, "sqs:ChangeMessageVisibility"),
        (queue.release(&handles).await, "sqs:ChangeMessageVisibility"),
    ] {
        let error = outcomes[0].clone().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let text = error.to_string();
        assert!(text.contains(&format!("needs the permission {permission} (")) && text.contains(SENTENCE), "{text}");
        assert!(!text.contains("hunter2"));
    }
}

#[tokio::test]
async fn a_role_that_may_not_be_taken_on_is_no_outage() {
    let body =
        format!("<ErrorResponse><Error><Code>AccessDenied</Code><Message>{SENTENCE}</Message></Error></ErrorResponse>");
    let stub = stub(move |call| (call.operation == "AssumeRole").then(|| (403, body.clone()))).await;
    let mut access = access(&stub.url());
    access.role = Some(Role { arn: "arn:aws:iam::123456789012:role/orders".to_owned(), external_id: None });
    let error = SqsProducer::open(&connect(&access).await, "orders").await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Denied, false));
    assert!(error.to_string().contains("needs the permission sts:AssumeRole (AccessDenied: User"), "{error}");
}

#[tokio::test]
async fn a_key_that_is_missing_is_no_missing_queue() {
    let stub = stub(|call| {
        (call.operation == "ReceiveMessage").then(|| refused(400, "KMS.NotFoundException", "the key hunter2"))
    })
    .await;
    let client = connect(&access(&stub.url())).await;
    let queue = SqsQueue::open(&client, "orders", SqsOptions::default()).await.unwrap();
    let error = queue.receive(Budget::new(1, 1 << 20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied);
    assert!(error.to_string().ends_with("its KMS key does not exist (KMS.NotFoundException)"), "{error}");
}
