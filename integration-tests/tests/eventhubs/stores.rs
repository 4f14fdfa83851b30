//! Several hubs whose groups keep their rows in one store.

use std::{fmt::Write as _, time::Duration};

use strait_config::{Bus, Registry};
use strait_core::{Key, Message};
use strait_eventhubs::EventHubs;
use strait_eventhubs_emulator::{Config, Emulator, HubSettings};
use tokio::time::timeout;

const TIMEOUT: Duration = Duration::from_mins(1);

fn bus(emulator: &Emulator, folder: &str) -> Bus {
    let connection = emulator.connection_string("orders");
    let connection = connection.split(";EntityPath").next().unwrap();
    let mut text = format!("provider = \"eventhubs\"\n[connections.eventhubs]\nconnection_string = \"{connection}\"\n");
    for hub in ["orders", "payments"] {
        let table = write!(
            text,
            r#"
[senders.{hub}.on.eventhubs]
hub = "{hub}"
[receivers.{hub}]
dead_letter = "discard"
[receivers.{hub}.on.eventhubs]
hub = "{hub}"
group = "billing"
leases = "file:{folder}"
expiry = "3s"
"#
        );
        table.unwrap();
    }
    Bus::builder(Registry::new().with(EventHubs)).environment(|_| None).text("strait.toml", &text).build().unwrap()
}

async fn send(bus: &Bus, hub: &str, numbers: std::ops::Range<usize>) {
    let sender = bus.sender(hub).await.unwrap();
    // Of one key, so that the partition has the same name in both hubs.
    let message = |number| Message::new(format!("{hub} {number}")).with_key(Key::new("a").unwrap());
    for outcome in sender.send_all(numbers.map(message)).await {
        outcome.into_result().unwrap();
    }
}

async fn receive(bus: &Bus, hub: &str, numbers: std::ops::Range<usize>) {
    let receiver = bus.receiver(hub).await.unwrap();
    for number in numbers {
        let delivery = timeout(TIMEOUT, receiver.recv()).await;
        let delivery = delivery.unwrap_or_else(|_| panic!("{hub} {number} does not come: {:?}", receiver.health()));
        let delivery = delivery.unwrap().unwrap();
        assert_eq!(delivery.message().payload, format!("{hub} {number}"));
        delivery.ack_confirmed().await.unwrap();
    }
}

/// dapr/components-contrib#1055: two hubs in one container overwrite each other's checkpoints.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hubs_in_one_store_never_mix() {
    let hub = |name| HubSettings { groups: vec!["billing".into()], ..HubSettings::new(name, 1) };
    let emulator = Emulator::start(Config::default().hub(hub("orders")).hub(hub("payments"))).await.unwrap();
    let leases = tempfile::tempdir().unwrap();
    let folder = leases.path().display().to_string();
    let first = bus(&emulator, &folder);
    send(&first, "orders", 0..20).await;
    send(&first, "payments", 0..5).await;
    receive(&first, "orders", 0..20).await;
    receive(&first, "payments", 0..5).await;
    first.close().await.unwrap();
    // Each goes on behind its own last event.
    let second = bus(&emulator, &folder);
    send(&second, "orders", 20..21).await;
    send(&second, "payments", 5..6).await;
    receive(&second, "payments", 5..6).await;
    receive(&second, "orders", 20..21).await;
    second.close().await.unwrap();
    emulator.shutdown().await;
}
