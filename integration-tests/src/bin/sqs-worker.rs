//! `sqs-worker ENDPOINT QUEUE`: a process that works on a queue, for tests that freeze it.
//!
//! Says `start` and `end` for each message, with its payload. Handlers end once a line came in. Stops at SIGTERM.

use std::{
    env,
    error::Error,
    io::{Write as _, stdin, stdout},
    sync::Arc,
};

use integration_tests::sqs::{connect, frozen};
use strait_kit::QueueSettings;
use strait_runtime::{DeadLetter, Delivery, Failure, Receiver, ReceiverSettings, Worker};
use strait_sqs::SqsQueue;
use tokio::sync::watch;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let [endpoint, name] = &arguments[..] else { return Err("usage: sqs-worker ENDPOINT QUEUE".into()) };
    let queue = SqsQueue::open(&connect(endpoint).await?, name, frozen::options()).await?;
    let settings = ReceiverSettings::new(DeadLetter::Block).in_flight(frozen::IN_FLIGHT);
    let settings = if name.strip_suffix(".fifo").is_some() { settings.in_order() } else { settings };
    let receiver = Receiver::new(Arc::new(queue.consumer(QueueSettings::default())), settings)?;
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
