//! What the tests of all queues share.

use std::{path::Path, process::Stdio, sync::Arc};

use serde_json::Value;
use strait_config::Bus;
use strait_core::{Budget, Consumer, Message, Received, Token};
use strait_emulators::Emulator;
use strait_kit::{Queue, QueueConsumer, QueueSettings};
use strait_runtime::Meter;
use strait_testkit::{Faults, FaultyQueue, Member, first};
use tokio::process::Command;

use crate::{again::again, mortal::Mortal};

/// A member that consumes `queue`, whose calls meet `faults`, and which can be killed.
pub fn member<Q: Queue>(queue: Q, mut settings: QueueSettings, faults: Faults) -> Member {
    let meter = Meter::default();
    settings.observer = Arc::new(meter.clone());
    let (queue, kill) = Mortal::new(queue);
    let consumer = QueueConsumer::new(FaultyQueue::new(queue, faults), settings);
    Member::new(Arc::new(consumer), meter, move || kill.now())
}

/// Asks a few times what a test wants to know: a server closes connections that were idle, and who asks just then is not
/// answered.
///
/// # Panics
///
/// If there is no answer.
pub async fn answered<T, E: std::fmt::Debug, F: Future<Output = Result<T, E>>>(ask: impl Fn() -> F) -> T {
    for _ in 0..4 {
        if let Ok(answer) = ask().await {
            return answer;
        }
    }
    ask().await.expect("the emulator answers")
}

/// The next messages, settled, from a consumer that is closed then.
///
/// # Panics
///
/// If one cannot be had or settled.
pub async fn take(consumer: impl Consumer, count: usize) -> Vec<Received> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = again(|| first(&consumer, Budget::new(10, 1 << 30))).await.expect("it receives");
        for received in &batch {
            settle(&consumer, received.claim.token()).await;
        }
        all.extend(batch);
    }
    consumer.close().await.expect("it closes");
    all
}

/// Settles a message.
///
/// # Panics
///
/// If it cannot be settled.
pub(crate) async fn settle(consumer: &dyn Consumer, token: Token) {
    let outcome = again(|| async { consumer.settle(&[token]).await.pop().expect("one outcome per token") }).await;
    outcome.expect("it is settled");
}

/// Sends messages of a key by the sender `orders`, and expects each of these receivers to get all of them in order.
///
/// # Panics
///
/// If one does not.
pub async fn feed(bus: Bus, receivers: &[&str]) {
    let orders = again(|| bus.sender("orders")).await.expect("the sender opens");
    for number in 0..5 {
        let message = Message::new(number.to_string()).with_key("a");
        orders.send(message).await.expect("it is sent");
    }
    for name in receivers {
        let receiver = again(|| bus.receiver(name)).await.expect("the receiver opens");
        for number in 0..5 {
            let delivery = receiver.recv().await.expect("it receives").expect("it is open");
            assert_eq!(delivery.message().payload, number.to_string(), "{name}");
            delivery.ack_confirmed().await.expect("it is settled");
        }
    }
    bus.close().await.expect("it closes");
}

/// Runs a script of `tests` by the Python of an emulator's installation, which pins the client of whoever made the
/// service. Brings what it says, a value a line.
///
/// # Panics
///
/// If it fails.
pub async fn python(emulator: Emulator, script: &str, arguments: &[&str]) -> Vec<Value> {
    let python = strait_emulators::install(emulator).expect("it is installed").join("venv/bin/python");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script);
    let mut command = Command::new(python);
    let run = command.arg(script).args(arguments).stderr(Stdio::inherit()).output().await.expect("there is a Python");
    assert!(run.status.success(), "{:?}", run.status);
    let text = String::from_utf8(run.stdout).expect("it writes text");
    text.lines().map(|line| serde_json::from_str(line).expect("it writes JSON")).collect()
}
