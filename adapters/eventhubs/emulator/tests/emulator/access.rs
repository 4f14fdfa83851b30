//! Tokens, and what clients say when they connect.

use fe2o3_amqp::types::{messaging::Body, primitives::Value};
use strait_eventhubs_emulator::{Access, Clock, Config, DEFAULT_KEY, Recorded};
use tokio::time::timeout;

use crate::client::{self, Client, EARLIEST, TIMEOUT, emulator, end, event, sas, send, send_end};

#[tokio::test]
async fn a_client_without_a_token_is_refused() {
    let emulator = emulator(Config::default()).await;
    let mut anonymous = Client::anonymous(&emulator).await;
    let mut receiver = anonymous.receiver(0, "$Default", EARLIEST, None).await;
    assert!(end(&mut receiver).await.contains("UnauthorizedAccess"));
    let mut sender = anonymous.sender("orders").await;
    let reason = send_end(&mut sender).await;
    assert!(!reason.is_empty());
    assert_eq!(anonymous.read("orders", None).await.0, 401);
    assert_eq!(
        anonymous.put(&sas("sb://localhost/orders", "wrong", 4_000_000_000), "sb://localhost/orders").await,
        401
    );
    assert_eq!(anonymous.put(&sas("sb://localhost/orders", DEFAULT_KEY.1, 5), "sb://localhost/orders").await, 401);
    assert_eq!(
        anonymous.put(&sas("sb://localhost/others", DEFAULT_KEY.1, 4_000_000_000), "sb://localhost/others").await,
        202
    );
    assert_eq!(anonymous.read("orders", None).await.0, 401);
    assert_eq!(
        anonymous.put(&sas("sb://localhost/orders", DEFAULT_KEY.1, 4_000_000_000), "sb://localhost/orders").await,
        202
    );
    assert_eq!(anonymous.read("orders", None).await.0, 200);
    emulator.shutdown().await;

    let open = Config { access: Access { open: true, ..Access::default() }, ..Config::default() };
    let emulator = client::emulator(open).await;
    let mut anonymous = Client::anonymous(&emulator).await;
    send(&mut anonymous.sender("orders").await, event("a")).await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn links_end_when_their_token_expires() {
    let clock = Clock::at(1_000_000);
    let emulator = emulator(Config { clock: clock.clone(), ..Config::default() }).await;
    let mut client = Client::anonymous(&emulator).await;
    assert_eq!(client.put(&sas("sb://localhost/orders", DEFAULT_KEY.1, 2_000), "sb://localhost/orders").await, 202);
    let mut sender = client.sender("orders").await;
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    send(&mut sender, event("a")).await;
    clock.set(2_000_000);
    assert!(send_end(&mut sender).await.contains("Closed"));
    let _ = next_or_end(&mut receiver).await;
    assert_eq!(client.read("orders", None).await.0, 401);
    emulator.shutdown().await;
}

/// A receiver may still be given what was sent before its end.
async fn next_or_end(receiver: &mut fe2o3_amqp::Receiver) -> String {
    loop {
        match timeout(TIMEOUT, receiver.recv::<Body<Value>>()).await.unwrap() {
            Ok(_) => {}
            Err(reason) => return format!("{reason:?}"),
        }
    }
}

#[tokio::test]
async fn a_connection_has_one_link_to_cbs() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let _held = fe2o3_amqp::Sender::attach(&mut client.session, "held", "$cbs").await.unwrap();
    let mut second = fe2o3_amqp::Sender::attach(&mut client.session, "second", "$cbs").await.unwrap();
    assert!(send_end(&mut second).await.contains("Closed"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn performatives_are_recorded_without_tokens() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let sender = client.sender("orders").await;
    let records = emulator.records();
    let said = |of: &dyn Fn(&Recorded) -> bool| records.iter().filter(|record| of(&record.sent)).count();
    assert_eq!(said(&|it| matches!(it, Recorded::Open(open) if open.container_id == "test")), 1);
    assert_eq!(said(&|it| matches!(it, Recorded::Begin(_))), 1);
    assert_eq!(said(&|it| matches!(it, Recorded::Attach(attach) if attach.name == sender.name())), 1);
    assert_eq!(said(&|it| matches!(it, Recorded::PutToken { accepted: true, .. })), 1);
    assert!(!format!("{records:?}").contains("SharedAccessSignature"));
    emulator.shutdown().await;
}
