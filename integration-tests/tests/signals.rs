//! A worker that is told to stop by the system. A process of its own, since a signal is for all of it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, reason = "a test that does not hold panics")]

use std::process::{Command, id};

use strait_core::Message;
use strait_kit::QueueSettings;
use strait_memory::{MemoryQueue, QueueOptions};
use strait_runtime::{DeadLetter, Failure, Receiver, ReceiverSettings, Worker};
use tokio::sync::mpsc;

/// What runs goes on to its end and is settled, what was not started is given back, and `run` returns.
#[tokio::test]
async fn a_signal_drains() {
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
                assert!(Command::new("kill").args([signal, &id().to_string()]).status().unwrap().success());
                while stopping.health().state != strait_runtime::State::Closed {
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
