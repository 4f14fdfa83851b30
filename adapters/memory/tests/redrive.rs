//! Dead letters are sent again, up to a limit and to an end, also where every message dies again.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Message, reserved};
use strait_memory::Memory;
use strait_runtime::Receiver;
use tokio::time::{sleep, timeout};

const CONFIG: &str = r#"
provider = "memory"
[connections.memory]
shape = "SHAPE"
[senders.orders.on.memory]
topic = "orders"
[senders.failed.on.memory]
topic = "failed"
[connections.small]
type = "memory"
shape = "SHAPE"
bytes = 1000
message_bytes = 1000
[senders.full]
provider = "small"
deadline = "1s"
[senders.full.on.small]
topic = "full"
[receivers.billing]
ordering = "key"
dead_letter = "failed"
retry = { attempts = 1 }
[receivers.billing.on.memory]
topic = "orders"
group = "billing"
[receivers.failed]
dead_letter = "discard"
retry = { attempts = 1 }
[receivers.failed.on.memory]
topic = "failed"
group = "redrive"
"#;

const SHAPES: [&str; 2] = ["log", "queue"];

fn bus(shape: &str) -> Bus {
    let text = CONFIG.replace("SHAPE", shape);
    Bus::builder(Registry::new().with(Memory)).environment(|_| None).text("strait.toml", &text).build().unwrap()
}

async fn next(receiver: &Receiver) -> Option<strait_runtime::Delivery> {
    timeout(Duration::from_secs(60), receiver.recv()).await.ok()?.unwrap()
}

/// Sends ten orders, of two keys, and lets all become dead letters.
async fn ten_die(bus: &Bus, billing: &Receiver) {
    let orders = bus.sender("orders").await.unwrap();
    for number in 0..10 {
        orders.send(Message::new(number.to_string()).with_key(number % 2)).await.unwrap();
    }
    for _ in 0..10 {
        next(billing).await.unwrap().reject("no card");
    }
    while billing.health().counts.dead_lettered < 10 {
        sleep(Duration::from_millis(1)).await; // of the paused clock: the letters are stored meanwhile
    }
}

#[tokio::test(start_paused = true)]
async fn dead_letters_are_sent_again_up_to_a_limit_and_to_the_end() {
    for shape in SHAPES {
        let bus = bus(shape);
        let billing = bus.receiver("billing").await.unwrap();
        ten_die(&bus, &billing).await;
        let some = bus.redrive("failed", "orders").await.unwrap().limit(3).run().await.unwrap();
        assert_eq!((some.sent, some.left), (3, 0), "{shape}");
        let all = bus.redrive("failed", "orders").await.unwrap().run().await.unwrap();
        assert_eq!((all.sent, all.left), (7, 0), "{shape}");
        let none = bus.redrive("failed", "orders").await.unwrap().limit(0).run().await.unwrap();
        assert_eq!(none.sent, 0);

        let mut numbers = Vec::new();
        for _ in 0..10 {
            let delivery = next(&billing).await.unwrap();
            assert_eq!(delivery.message().redrives(), 1);
            numbers.push(String::from_utf8_lossy(&delivery.message().payload).parse::<u32>().unwrap());
            delivery.ack();
        }
        for key in 0..2 {
            let of_key: Vec<_> = numbers.iter().filter(|number| *number % 2 == key).collect();
            assert!(of_key.len() == 5 && of_key.is_sorted(), "{shape}: {numbers:?}");
        }
        bus.close().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn it_ends_though_every_message_dies_again() {
    for shape in SHAPES {
        let bus = bus(shape);
        let billing = bus.receiver("billing").await.unwrap();
        ten_die(&bus, &billing).await;
        let handler = tokio::spawn(async move {
            // Not for ever, so that going in a circle is a failure and no hang.
            for _ in 0..50 {
                let Some(delivery) = billing.recv().await.unwrap() else { break };
                delivery.reject("still no card");
            }
        });
        let redriven = bus.redrive("failed", "orders").await.unwrap().run().await.unwrap();
        // On a queue that keeps order, a letter that is held keeps back those behind it.
        let left = if shape == "log" { 10 } else { 2 };
        assert_eq!((redriven.sent, redriven.left), (10, left), "{shape}");
        let again = bus.redrive("failed", "orders").await.unwrap().limit(1).run().await.unwrap();
        assert_eq!(again.sent, 1, "{shape}: what was left is still there");
        bus.close().await.unwrap();
        handler.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_sent_ends_it_and_no_letter_is_lost() {
    for shape in SHAPES {
        let bus = bus(shape);
        let billing = bus.receiver("billing").await.unwrap();
        ten_die(&bus, &billing).await;
        let full = bus.sender("full").await.unwrap();
        while full.send(Message::new("x")).await.is_ok() {}
        let error = bus.redrive("failed", "full").await.unwrap().run().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Throttled, "{shape}: {error}");
        let failed = bus.receiver("failed").await.unwrap();
        for _ in 0..10 {
            let letter = next(&failed).await.expect("a letter is lost");
            assert_eq!(letter.message().headers.get_str(reserved::RECEIVER), Some("billing"));
            letter.ack();
        }
        bus.close().await.unwrap();
    }
}
