//! Receivers: positions, epochs, and how many there may be.

use strait_eventhubs_emulator::{Config, HubSettings, Retention};

use crate::client::{Client, EARLIEST, emulator, end, event, next, send};

#[tokio::test]
async fn selectors_say_where_a_receiver_starts() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    for text in ["a", "b", "c"] {
        send(&mut sender, event(text)).await;
    }
    for (selector, text) in [
        ("amqp.annotation.x-opt-sequence-number > '0'", "b"),
        ("amqp.annotation.x-opt-sequence-number >= 2", "c"),
        ("amqp.annotation.x-opt-enqueued-time > '0'", "a"),
        ("amqp.annotation.x-opt-offset >= '0'", "a"),
    ] {
        let mut receiver = client.receiver(0, "$Default", selector, None).await;
        assert_eq!(next(&mut receiver).await.1, text, "{selector}");
        receiver.close().await.unwrap();
    }
    let mut latest = client.receiver(0, "$Default", "amqp.annotation.x-opt-offset > @latest", None).await;
    send(&mut sender, event("d")).await;
    assert_eq!(next(&mut latest).await.1, "d");
    for (selector, words) in [
        (
            "amqp.annotation.x-opt-sequence-number > '488'",
            "The supplied sequence number '488' is invalid. The last sequence number in the system is '3'",
        ),
        ("amqp.annotation.x-opt-sequence-number > 'x'", "selector"),
    ] {
        let mut receiver = client.receiver(0, "$Default", selector, None).await;
        let end = end(&mut receiver).await;
        assert!(end.contains(words) && end.contains("com.microsoft:argument-error"), "{end}");
    }
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_position_below_retention_starts_at_the_oldest_event() {
    let hub =
        HubSettings { retention: Retention { events: 2, ..Retention::default() }, ..HubSettings::new("short", 1) };
    let emulator = emulator(Config::default().hub(hub)).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("short").await;
    for text in ["a", "b", "c", "d"] {
        send(&mut sender, event(text)).await;
    }
    let address = "short/ConsumerGroups/$Default/Partitions/0";
    let mut receiver = client.receiver_of(address, "amqp.annotation.x-opt-sequence-number > '0'", None).await.unwrap();
    assert_eq!(next(&mut receiver).await, (2, "c".to_owned()));
    emulator.shutdown().await;
}

#[tokio::test]
async fn epochs_steal_and_refuse() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut loose = client.receiver(0, "$Default", EARLIEST, None).await;
    let mut first = client.receiver(0, "$Default", EARLIEST, Some(5)).await;
    assert!(end(&mut loose).await.contains("Stolen"));
    for epoch in [Some(4), None] {
        let mut refused = client.receiver(0, "$Default", EARLIEST, epoch).await;
        assert!(end(&mut refused).await.contains("epoch of '5'"));
    }
    let _other_group = client.receiver(0, "billing", EARLIEST, Some(1)).await;
    let mut second = client.receiver(0, "$Default", EARLIEST, Some(5)).await;
    assert!(end(&mut first).await.contains("New receiver with higher epoch"));
    let mut sender = client.sender("orders/Partitions/0").await;
    send(&mut sender, event("a")).await;
    assert_eq!(next(&mut second).await.1, "a");
    emulator.shutdown().await;
}

#[tokio::test]
async fn the_sixth_reader_is_refused() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        readers.push(client.receiver(0, "$Default", EARLIEST, None).await);
    }
    let mut sixth = client.receiver(0, "$Default", EARLIEST, None).await;
    let reason = end(&mut sixth).await;
    assert!(reason.contains("which is 5") && reason.contains("ResourceLimitExceeded"), "{reason}");
    readers.pop().unwrap().close().await.unwrap();
    let mut sender = client.sender("orders/Partitions/0").await;
    send(&mut sender, event("a")).await;
    let mut again = client.receiver(0, "$Default", EARLIEST, None).await;
    assert_eq!(next(&mut again).await.1, "a");
    emulator.shutdown().await;
}

#[tokio::test]
async fn unknown_entities_are_not_found() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    for (address, words) in [
        ("others/ConsumerGroups/$Default/Partitions/0", "could not be found"),
        ("orders/ConsumerGroups/others/Partitions/0", "could not be found"),
        ("orders/ConsumerGroups/$Default/Partitions/4", "should be between 0 and 3"),
    ] {
        let mut receiver = client.receiver_of(address, EARLIEST, None).await.unwrap();
        let reason = end(&mut receiver).await;
        assert!(reason.contains(words), "{reason}");
    }
    emulator.shutdown().await;
}
