//! Faults on demand.

use std::time::Duration;

use strait_eventhubs_emulator::{Config, Disruption, SendFault};
use tokio::time::timeout;

use crate::client::{Client, EARLIEST, TIMEOUT, emulator, end, event, next, refusal, send, send_end};

#[tokio::test]
async fn send_faults() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    let faults = emulator.faults();
    let last = || emulator.namespace().partition("orders", 0).unwrap().last;
    faults.next_sends(SendFault::Release, 1);
    faults.next_sends(SendFault::Modify, 1);
    assert!(sender.send(event("a")).await.unwrap().is_released());
    assert!(sender.send(event("b")).await.unwrap().is_modified());
    faults.busy(1.0);
    refusal(&mut sender, event("c")).await;
    faults.busy(0.0);
    assert_eq!(last(), -1);
    faults.settle_after(Duration::from_millis(20));
    let sent = [sender.send_batchable(event("d")).await.unwrap(), sender.send_batchable(event("e")).await.unwrap()];
    for sent in sent {
        assert!(sent.await.unwrap().is_accepted());
    }
    faults.clear();
    faults.next_sends(SendFault::NeverSettle, 1);
    let _never = sender.send_batchable(event("f")).await.unwrap();
    send(&mut sender, event("g")).await;
    assert_eq!(last(), 3);
    faults.next_sends(SendFault::LoseAnswer, 1);
    // The library leaves what is in flight without an outcome when the peer is gone.
    let _lost = sender.send_batchable(event("h")).await.unwrap();
    assert!(timeout(TIMEOUT, client.connection.on_close()).await.unwrap().is_err());
    assert_eq!(last(), 4);
    emulator.shutdown().await;
}

#[tokio::test]
async fn disruptions_of_links_and_connections() {
    let emulator = emulator(Config::default()).await;
    let faults = emulator.faults();
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    send(&mut sender, event("a")).await;
    assert_eq!(next(&mut receiver).await.1, "a");
    faults.disrupt(Disruption::DetachReceivers { hub: Some("orders".into()) });
    assert!(end(&mut receiver).await.contains("DetachForced"));
    faults.disrupt(Disruption::DetachSenders { hub: None });
    assert!(send_end(&mut sender).await.contains("Closed"));

    let mut receiver = client.receiver(0, "$Default", EARLIEST, Some(1)).await;
    assert_eq!(next(&mut receiver).await.1, "a");
    faults.disrupt(Disruption::Steal { hub: None, partition: Some(0) });
    assert!(end(&mut receiver).await.contains("Stolen"));

    faults.pause("orders", 0, true);
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    client.read("orders", None).await;
    assert_eq!(receiver.credit(), 200, "nothing came");
    faults.pause("orders", 0, false);
    assert_eq!(next(&mut receiver).await.1, "a");

    faults.disrupt(Disruption::CloseConnections);
    let reason = timeout(TIMEOUT, client.connection.on_close()).await.unwrap();
    assert!(format!("{reason:?}").contains("ConnectionForced"), "{reason:?}");
    let mut client = Client::connect(&emulator).await;
    faults.disrupt(Disruption::DropConnections);
    assert!(timeout(TIMEOUT, client.connection.on_close()).await.unwrap().is_err());
    emulator.shutdown().await;
}
