//! Whoever may not look at a topic or a subscription uses it all the same; wrong credentials are told.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use strait_core::{ErrorKind, Result};
use strait_pubsub::{Access, Client, Identity, PubSubOptions, PubSubProducer, PubSubQueue};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// Opens a topic and a subscription of a service that answers every call with this status and this error.
async fn opened(status: u16, name: &str, reason: &str) -> [Result<()>; 2] {
    let error = format!(
        r#"{{"error": {{"code": {status}, "status": "{name}", "message": "as planned.", "details": [{{
            "@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "{reason}", "domain": "googleapis.com"
        }}]}}}}"#
    );
    let answer = format!(
        "HTTP/1.1 {status} No\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{error}",
        error.len()
    );
    let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut access = Access::default();
    access.project = Some("strait".to_owned());
    access.endpoint = Some(format!("http://{}", service.local_addr().unwrap()));
    access.identity = Identity::Anonymous;
    let serving = tokio::spawn(async move {
        loop {
            let (mut call, _) = service.accept().await.unwrap();
            assert!(call.read(&mut [0; 4096]).await.unwrap() > 0);
            call.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let client = Client::connect(&access).unwrap();
    let topic = PubSubProducer::open(&client, "orders").await.map(drop);
    let subscription = PubSubQueue::open(&client, "billing", PubSubOptions::default()).await.map(drop);
    serving.abort();
    [topic, subscription]
}

#[tokio::test]
async fn who_may_not_look_opens_all_the_same() {
    for outcome in opened(403, "PERMISSION_DENIED", "IAM_PERMISSION_DENIED").await {
        outcome.unwrap();
    }
}

#[tokio::test]
async fn wrong_credentials_and_a_service_that_is_not_enabled_are_told() {
    let [topic, subscription] = opened(401, "UNAUTHENTICATED", "ACCESS_TOKEN_EXPIRED").await;
    let why = "the credentials are not accepted (Unauthenticated, ACCESS_TOKEN_EXPIRED: as planned)";
    let topic = topic.unwrap_err();
    assert_eq!(
        (topic.kind(), topic.to_string()),
        (ErrorKind::Denied, format!("pubsub: cannot open topic \"orders\": {why}"))
    );
    let text = format!("pubsub: cannot open subscription \"billing\": {why}");
    assert_eq!(subscription.unwrap_err().to_string(), text);
    let why = "not allowed (PermissionDenied, SERVICE_DISABLED: as planned)";
    for outcome in opened(403, "PERMISSION_DENIED", "SERVICE_DISABLED").await {
        let error = outcome.unwrap_err();
        assert!(error.kind() == ErrorKind::Denied && error.to_string().ends_with(why), "{error}");
    }
}
