use std::{collections::VecDeque, hint::black_box, sync::Arc};

use strait_core::{Consumer, Key, Message, Producer};
use strait_kit::{LogSettings, QueueSettings, Start};
use strait_memory::{LogOptions, MemoryLog, MemoryQueue, QueueOptions};
use strait_runtime::{DeadLetter, Pending, Receiver, ReceiverSettings, Sender, SenderSettings, Worker};

use crate::{
    Clock, Keys, Shape, Strait, Taking, Way,
    clock::{CHUNK, UNREAD},
    payload,
};

/// How many messages are stored before, whatever is received of them: so that storing cancels out of the difference of
/// two runs.
const STORED: usize = 60_000;

pub(crate) async fn run(case: Strait, clock: Arc<Clock>) {
    let (producer, consumer) = open(case.shape);
    let messages = messages(case.keys);
    match case.way {
        Way::Stored => {
            assert!(clock.messages + 2 * UNREAD < STORED, "at most {} messages", STORED - 2 * UNREAD);
            for first in (0..STORED).step_by(CHUNK) {
                store(&*producer, &messages, first).await;
            }
        }
        Way::Direct => {
            let clock = Arc::clone(&clock);
            tokio::spawn(async move {
                for first in (0..).step_by(CHUNK) {
                    clock.room().await;
                    store(&*producer, &messages, first).await;
                }
            });
        }
        Way::EndToEnd => {
            let sender = Sender::new(producer, SenderSettings::default()).expect("inside a runtime");
            let clock = Arc::clone(&clock);
            tokio::spawn(async move {
                let mut pending = VecDeque::new();
                for n in 0.. {
                    if n % CHUNK == 0 {
                        clock.room().await;
                    }
                    if pending.len() == UNREAD {
                        let oldest: Pending = pending.pop_front().expect("is not empty");
                        if !oldest.await.is_sent() {
                            return;
                        }
                    }
                    let Ok(accepted) = sender.enqueue(messages(n)).await else { return }; // the runtime ends
                    pending.push_back(accepted);
                }
            });
        }
    }
    receive(case, consumer, clock).await;
}

fn open(shape: Shape) -> (Arc<dyn Producer>, Arc<dyn Consumer>) {
    match shape {
        Shape::Log => {
            let mut options = LogOptions::named("bench");
            options.bytes = usize::MAX;
            let log = MemoryLog::new(options);
            let consumer = log.consumer("bench", &Start::Earliest, LogSettings::default()).expect("there is a start");
            (log.producer(), consumer)
        }
        Shape::Queue => {
            let mut options = QueueOptions::named("bench");
            options.bytes = usize::MAX;
            let queue = MemoryQueue::new(options);
            (queue.producer(), queue.consumer(QueueSettings::default()))
        }
    }
}

fn messages(which: Keys) -> impl Fn(usize) -> Message + Send + Sync {
    let key = |n: usize| Key::new(&format!("customer-{n}")).expect("neither empty nor long");
    let keys: Vec<Key> = (0..1000).map(key).collect();
    move |n| {
        let message = Message::new(payload());
        match which {
            Keys::None => message,
            Keys::Thousand => message.with_key(keys[n % 1000].clone()),
            Keys::Unique => message.with_key(key(n)),
        }
    }
}

async fn store(producer: &dyn Producer, messages: &impl Fn(usize) -> Message, first: usize) {
    let batch: Vec<_> = (first..first + CHUNK).map(messages).collect();
    let outcomes = producer.send(&batch).await;
    assert!(outcomes.iter().all(Result::is_ok), "memory refused a message");
}

async fn receive(case: Strait, consumer: Arc<dyn Consumer>, clock: Arc<Clock>) {
    let in_flight = if case.taking == Taking::Pool { 4 } else { 256 };
    let mut settings = ReceiverSettings::new(DeadLetter::Block).in_flight(in_flight);
    settings.prefetch = Some(settings.buffer); // nobody else is to have a share
    if case.keys != Keys::None {
        settings = settings.in_order();
    }
    let receiver = Receiver::new(consumer, settings).expect("memory keeps order by key");
    match case.taking {
        Taking::One => {
            while !clock.is_done() {
                let delivery = receiver.recv().await.expect("memory opens").expect("is open");
                black_box(delivery.message().payload.len());
                clock.hit(1);
                delivery.ack();
            }
        }
        Taking::Batch => {
            while !clock.is_done() {
                let batch = receiver.recv_batch(CHUNK).await.expect("memory opens").expect("is open");
                for message in batch.messages() {
                    black_box(message.payload.len());
                }
                clock.hit(batch.len());
                batch.ack();
            }
        }
        Taking::Pool => {
            let counted = Arc::clone(&clock);
            let worker = Worker::new(receiver).run(move |delivery, _| {
                black_box(delivery.message().payload.len());
                counted.hit(1);
                async move {
                    drop(delivery);
                    Ok(())
                }
            });
            tokio::select! {
                outcome = worker => outcome.expect("memory opens"),
                () = clock.done() => {}
            }
        }
    }
}
