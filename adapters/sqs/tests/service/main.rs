//! What is asked of the service, where and as whom, and what its refusals are told as: against a stub in process.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod connecting;
mod creating;
mod denied;
mod places;
mod stub;
mod warnings;

use strait_config::Secret;
use strait_sqs::{Access, Client, Keys};

use self::stub::{Answer, Call, Stub};

/// Access to everything at one address, in `eu-west-1`.
fn access(endpoint: &str) -> Access {
    let mut access = Access::default();
    access.region = Some("eu-west-1".to_owned());
    access.endpoint = Some(endpoint.to_owned());
    access.keys = Some(Keys { id: Secret::new("AKIA"), secret: Secret::new("hunter2"), session_token: None });
    access
}

async fn connect(access: &Access) -> Client {
    Client::connect(access).await.unwrap()
}

const QUEUE_URL: &str = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders";

fn ok(body: &str) -> Answer {
    (200, body.to_owned())
}

/// A refusal, in the form of JSON.
fn refused(status: u16, code: &str, sentence: &str) -> Answer {
    (status, serde_json::json!({ "__type": code, "message": sentence }).to_string())
}

/// What a service answers where everything is well.
fn well(call: &Call) -> Answer {
    let xml = |operation: &str, result: &str| {
        format!("<{operation}Response><{operation}Result>{result}</{operation}Result></{operation}Response>")
    };
    match call.operation.as_str() {
        "GetQueueUrl" => (200, serde_json::json!({ "QueueUrl": QUEUE_URL }).to_string()),
        "GetCallerIdentity" => {
            let identity =
                "<Arn>arn:aws:iam::123456789012:user/x</Arn><UserId>x</UserId><Account>123456789012</Account>";
            (200, xml("GetCallerIdentity", identity))
        }
        "GetTopicAttributes" => (200, xml("GetTopicAttributes", "<Attributes/>")),
        "CreateTopic" => (200, xml("CreateTopic", "<TopicArn>arn:aws:sns:eu-west-1:123456789012:orders</TopicArn>")),
        "Subscribe" => (200, xml("Subscribe", "<SubscriptionArn>arn:x</SubscriptionArn>")),
        _ => ok("{}"),
    }
}

async fn stub(answer: impl Fn(&Call) -> Option<Answer> + Send + Sync + 'static) -> Stub {
    Stub::start(move |call| answer(call).unwrap_or_else(|| well(call))).await
}
