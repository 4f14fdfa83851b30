//! What `create = true` adds to a queue leaves what others set.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use strait_sqs::subscribe;

use crate::{access, connect, stub};

#[tokio::test]
async fn a_policy_is_added_to_once_and_never_replaced() {
    let deny = json!({ "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": "*" });
    let stored = Arc::new(Mutex::new(json!({ "Version": "2012-10-17", "Statement": [deny] }).to_string()));
    let stub = stub({
        let stored = Arc::clone(&stored);
        move |call| match call.operation.as_str() {
            "GetQueueAttributes" => {
                let arn = "arn:aws:sqs:eu-west-1:123456789012:orders";
                let attributes = json!({ "QueueArn": arn, "Policy": *stored.lock().unwrap() });
                Some((200, json!({ "Attributes": attributes }).to_string()))
            }
            "SetQueueAttributes" => {
                *stored.lock().unwrap() = call.json()["Attributes"]["Policy"].as_str().unwrap().to_owned();
                None
            }
            _ => None,
        }
    })
    .await;
    let client = connect(&access(&stub.url())).await;
    for _ in 0..2 {
        subscribe(&client, "arn:aws:sns:eu-west-1:123456789012:orders", crate::QUEUE_URL).await.unwrap();
    }
    let policy: Value = serde_json::from_str(&stored.lock().unwrap()).unwrap();
    let statements = policy["Statement"].as_array().unwrap();
    assert_eq!((statements.len(), &statements[0]), (2, &deny));
    assert_eq!(statements[1]["Condition"]["ArnEquals"]["aws:SourceArn"], "arn:aws:sns:eu-west-1:123456789012:orders");
    assert_eq!((stub.calls("SetQueueAttributes").len(), stub.calls("Subscribe").len()), (1, 2));
}
