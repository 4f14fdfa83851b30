//! Hubs, links and connections that come and go.

use std::time::Duration;

use strait_eventhubs_emulator::{Config, HubSettings, Idle};
use tokio::time::timeout;

use crate::client::{self, Client, EARLIEST, TIMEOUT, emulator, end, event, send, send_end};

#[tokio::test]
async fn hubs_grow_and_are_recreated() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    send(&mut sender, event("a")).await;
    emulator.namespace().grow("orders", 6).unwrap();
    let mut added = client.sender("orders/Partitions/5").await;
    send(&mut added, event("b")).await;

    emulator.namespace().delete("orders").unwrap();
    assert!(send_end(&mut sender).await.contains("Closed"));
    assert_eq!(client.read("orders", None).await.0, 404);
    emulator.namespace().create(HubSettings::new("orders", 4)).unwrap();
    let mut receiver = client.receiver(0, "$Default", "amqp.annotation.x-opt-sequence-number > '0'", None).await;
    assert!(end(&mut receiver).await.contains("The last sequence number in the system is '-1'"));
    emulator.shutdown().await;
}

#[tokio::test]
async fn idle_links_and_connections_are_closed() {
    let idle = Idle { sender: Duration::from_millis(50), ..Idle::default() };
    let emulator = emulator(Config { idle, ..Config::default() }).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    assert!(send_end(&mut sender).await.contains("Closed"));
    emulator.shutdown().await;

    let idle = Idle { first_link: Duration::from_millis(50), ..Idle::default() };
    let emulator = client::emulator(Config { idle, ..Config::default() }).await;
    let mut anonymous = Client::anonymous(&emulator).await;
    let reason = timeout(TIMEOUT, anonymous.connection.on_close()).await.unwrap();
    assert!(format!("{reason:?}").contains("ConnectionForced"), "{reason:?}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_connection_whose_last_link_is_gone_is_closed() {
    let idle = Idle { connection: Duration::from_millis(50), ..Idle::default() };
    let emulator = emulator(Config { idle, ..Config::default() }).await;
    let mut client = Client::anonymous(&emulator).await;
    let receiver = client.receiver(0, "$Default", EARLIEST, None).await; // refused, but a link
    drop(receiver);
    let reason = timeout(TIMEOUT, client.connection.on_close()).await.unwrap();
    assert!(format!("{reason:?}").contains("ConnectionForced"), "{reason:?}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn shutdown_tells_every_client_and_closes_the_port() {
    let emulator = emulator(Config::default()).await;
    let address = emulator.address();
    let mut client = Client::connect(&emulator).await;
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    emulator.faults().freeze(true); // not even that holds it up
    timeout(TIMEOUT, emulator.shutdown()).await.unwrap();
    let reason = timeout(TIMEOUT, client.connection.on_close()).await.unwrap();
    assert!(format!("{reason:?}").contains("ConnectionForced"), "{reason:?}");
    end(&mut receiver).await;
    assert!(tokio::net::TcpStream::connect(address).await.is_err());
}
