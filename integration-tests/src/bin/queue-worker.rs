//! `queue-worker sqs|pubsub ENDPOINT NAME`: a process that works on a queue or a subscription, for tests that freeze it.
//!
//! Says `holds` with how many messages it has in hand, and `start` and `end` for each, with its payload. Handlers end once
//! a line came in. Stops at SIGTERM.

use std::{
    env,
    error::Error,
    io::{Write as _, stdin, stdout},
    sync::Arc,
};

use integration_tests::{
    frozen::{IN_FLIGHT, SENT_BEFORE},
    pubsub, sqs,
};
use strait_core::{Consumer, Measure, Observer, Ordering};
use strait_kit::QueueSettings;
use strait_pubsub::PubSubQueue;
use strait_runtime::{DeadLetter, Delivery, Failure, Meter, Receiver, ReceiverSettings, Worker};
use strait_sqs::SqsQueue;
use tokio::sync::watch;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let consumer: Arc<dyn Consumer> = match arguments[..] {
        ["sqs", endpoint, name] => {
            let queue = SqsQueue::open(&sqs::connect(endpoint).await?, name, sqs::options()).await?;
            Arc::new(queue.consumer(QueueSettings::default()))
        }
        ["pubsub", endpoint, name] => {
            let queue = PubSubQueue::open(&pubsub::connect(endpoint)?, name, pubsub::options()).await?;
            Arc::new(queue.consumer(QueueSettings::default()))
        }
        _ => return Err("usage: queue-worker sqs|pubsub ENDPOINT NAME".into()),
    };
    let mut settings = ReceiverSettings::new(DeadLetter::Block).in_flight(IN_FLIGHT);
    settings.prefetch = Some(SENT_BEFORE.len()); // so that it holds more than its handlers work on
    settings.meter = Meter::over(Arc::new(Holds));
    if consumer.guarantees().ordering == Ordering::Key {
        settings = settings.in_order();
    }
    let receiver = Receiver::new(consumer, settings)?;
    let (heard, go) = watch::channel(false);
    // A thread of its own, which nobody waits for: reading cannot be cancelled.
    std::thread::spawn(move || {
        let _ = stdin().read_line(&mut String::new());
        heard.send_replace(true);
    });
    let worked = Worker::new(receiver).stop_on_signals().run(move |delivery: Delivery, _| {
        let mut go = go.clone();
        async move {
            let payload = String::from_utf8_lossy(&delivery.message().payload).into_owned();
            say("start", &payload)?;
            go.wait_for(|go| *go).await.map_err(Failure::retry)?;
            say("end", &payload)
        }
    });
    Ok(worked.await?)
}

fn say(what: &str, payload: &str) -> Result<(), Failure> {
    writeln!(stdout(), "{what} {payload}").map_err(Failure::retry)
}

/// Says how many messages are in hand.
#[derive(Debug)]
struct Holds;

impl Observer for Holds {
    fn observe(&self, measure: Measure<'_>) {
        if let Measure::Buffered { messages, .. } = measure {
            let _ = writeln!(stdout(), "holds {messages}"); // nobody listens any more
        }
    }
}
