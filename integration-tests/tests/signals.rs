//! A worker that is told to stop by the system. A process of its own, since a signal is for all of it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that does not hold panics")]

use std::{
    process::{Command, id},
    time::Duration,
};

use strait_core::{ErrorKind, Message};
use strait_kit::QueueSettings;
use strait_memory::{MemoryQueue, QueueOptions};
use strait_runtime::{Context, DeadLetter, Delivery, Failure, Receiver, ReceiverSettings, State, Worker};
use tokio::sync::{Mutex, mpsc};

/// One test at a time: a signal is for all of them.
static TURN: Mutex<()> = Mutex::const_new(());

fn signal(name: &str) {
    assert!(Command::new("kill").args([name, &id().to_string()]).status().unwrap().success());
}

/// What runs goes on to its end and is settled, what was not started is given back, and `run` returns.
#[tokio::test]
async fn a_signal_drains() {
    let _turn = TURN.lock().await;
    for signal in ["-TERM", "-INT"] {
        let queue = MemoryQueue::new(QueueOptions::named("orders"));
        for outcome in queue.producer().send(&["1", "2", "3"].map(Message::new)).await {
            outcome.unwrap();
        }
        let settings = ReceiverSettings::new(DeadLetter::Block).in_flight(1);
        let receiver = Receiver::new(queue.consumer(QueueSettings::default()), settings).unwrap();
        let (tell, mut told) = mpsc::unbounded_channel();
        let stopping = receiver.clone();
        let worker = Worker::new(receiver).stop_on_signals().run(move |delivery, _| {
            let (tell, stopping) = (tell.clone(), stopping.clone());
            async move {
                tell.send(delivery.message().payload.clone()).unwrap();
                self::signal(signal);
                while stopping.health().state != State::Closed {
                    tokio::task::yield_now().await; // until it is heard
                }
                Ok::<(), Failure>(())
            }
        });
        worker.await.unwrap();
        told.close();
        assert_eq!(told.recv().await.unwrap(), "1");
        assert!(told.recv().await.is_none(), "nothing is started after {signal}");
        assert_eq!(queue.len(), 2, "what ran is settled, and the rest is given back");
    }
}

/// A second signal does not wait for a handler that hangs: `run` returns, with an error, and what was in hand comes again.
#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let _turn = TURN.lock().await;
    let queue = MemoryQueue::new(QueueOptions::named("orders"));
    for outcome in queue.producer().send(&["1", "2", "3"].map(Message::new)).await {
        outcome.unwrap();
    }
    for local in [false, true] {
        let mut settings = ReceiverSettings::new(DeadLetter::Block).in_flight(1);
        settings.drain = Duration::from_hours(1);
        let receiver = Receiver::new(queue.consumer(QueueSettings::default()), settings).unwrap();
        let stopping = receiver.clone();
        let handler = move |_: Delivery, _: Context| {
            let stopping = stopping.clone();
            async move {
                signal("-TERM");
                while stopping.health().state != State::Closed {
                    tokio::task::yield_now().await; // until it is heard
                }
                signal("-INT");
                std::future::pending::<Result<(), Failure>>().await
            }
        };
        let worker = Worker::new(receiver.clone()).stop_on_signals();
        let ended = if local { worker.run_local(handler).await } else { worker.run(handler).await };
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::Closed);
        receiver.close().await.unwrap();
        assert_eq!(queue.len(), 3, "nothing was settled");
    }
}
