//! What a worker makes of its handler's end.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_core::Message;
use strait_runtime::{
    Backoff, Batch, Context, DeadLetter, Delivery, Failure, Receiver, ReceiverSettings, Retry, State, Worker, json_with,
};
use support::{Script, text};
use tokio::{
    sync::{Notify, mpsc},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

const MINUTE: Duration = Duration::from_secs(60);

fn receiver(script: &Script, in_flight: usize) -> Receiver {
    let backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));
    let settings =
        ReceiverSettings::new(DeadLetter::Block).in_order().in_flight(in_flight).retry(Retry::new(9, backoff));
    Receiver::new(Arc::new(script.clone()), settings).unwrap()
}

/// Runs until `count` attempts were seen, then stops. Returns them.
async fn run<F>(
    script: &Script,
    count: usize,
    worker: impl FnOnce(Worker) -> Worker,
    handler: impl Fn(Delivery, Context) -> F + Send + Sync + 'static,
) -> Vec<String>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (seen, mut attempts) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let worker = worker(Worker::new(receiver(script, 4)).stop_on(stop.clone().cancelled_owned()));
    let running = tokio::spawn(worker.run(move |delivery, context| {
        seen.send(format!("{} {}", text(delivery.message()), context.attempt())).unwrap();
        handler(delivery, context)
    }));
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(timeout(MINUTE, attempts.recv()).await.expect("fewer attempts").unwrap());
    }
    stop.cancel();
    timeout(MINUTE, running).await.unwrap().unwrap().unwrap();
    assert!(attempts.recv().await.is_none(), "more attempts");
    list
}

#[tokio::test(start_paused = true)]
async fn a_result_is_the_verdict() {
    let script = Script::default();
    script.push(&["a1", "b1"]);
    let seen = run(
        &script,
        3,
        |worker| worker,
        async |delivery, context| match (text(delivery.message()).as_str(), context.attempt()) {
            ("a1", 1) => Err(std::io::Error::other("down"))?,
            _ => Ok(()),
        },
    );
    assert_eq!(seen.await, ["a1 1", "b1 1", "a1 2"]);
    assert_eq!(script.settled(), [1, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_panic_is_a_retry() {
    let script = Script::default();
    script.push(&["a1"]);
    let seen = run(
        &script,
        3,
        |worker| worker,
        async |_, context| {
            assert!(context.attempt() > 2, "on purpose");
            Ok(())
        },
    );
    assert_eq!(seen.await, ["a1 1", "a1 2", "a1 3"]);
    assert_eq!(script.settled(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_drops_the_handler_before_the_next_attempt() {
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    struct Count;
    impl Drop for Count {
        fn drop(&mut self) {
            RUNNING.fetch_sub(1, Relaxed);
        }
    }
    let script = Script::default();
    script.push(&["a1"]);
    let seen = run(
        &script,
        3,
        |worker| worker.timeout(Duration::from_secs(2)),
        async |_, context| {
            assert_eq!(RUNNING.fetch_add(1, Relaxed), 0, "two attempts at once");
            let _count = Count;
            if context.attempt() < 3 {
                assert!(context.deadline().is_some());
                sleep(MINUTE).await;
            }
            Ok(())
        },
    );
    assert_eq!(seen.await.len(), 3);
    assert_eq!(script.settled(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_verdict_of_its_own_wins_and_a_delivery_that_is_kept_is_not_settled() {
    let script = Script::default();
    script.push(&["a1"]);
    let seen = run(
        &script,
        2,
        |worker| worker,
        async |delivery, context| {
            if context.attempt() == 1 {
                delivery.retry("again");
            }
            Ok(())
        },
    );
    assert_eq!(seen.await, ["a1 1", "a1 2"]);

    let script = Script::default();
    script.push(&["a1"]);
    let seen = run(
        &script,
        1,
        |worker| worker,
        async |delivery, _| {
            tokio::spawn(async move {
                sleep(Duration::from_secs(3)).await;
                delivery.ack();
            });
            Ok(())
        },
    );
    assert_eq!(seen.await.len(), 1);
    assert_eq!(script.settled(), [0], "the drain waited for it");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_while_it_is_cancelled_costs_no_loop() {
    struct Spiteful;
    impl Drop for Spiteful {
        fn drop(&mut self) {
            assert!(std::thread::panicking(), "on purpose, while the handler is cancelled");
        }
    }
    let script = Script::default();
    script.push(&["a1", "b1", "c1", "d1"]);
    let seen = run(
        &script,
        12,
        |worker| worker.timeout(Duration::from_secs(2)),
        async |_, context| {
            if context.attempt() < 3 {
                let _spiteful = Spiteful;
                sleep(MINUTE).await;
            }
            Ok(())
        },
    );
    assert_eq!(seen.await.len(), 12, "three attempts each, by four loops");
    assert_eq!(script.settled().len(), 4);
}

/// However far it came: it has returned at once or later, or has panicked itself.
#[tokio::test(start_paused = true)]
async fn a_handler_that_panics_while_it_is_dropped_costs_no_loop_and_counts_as_a_retry() {
    /// A handler that is one future, so that it is dropped after it has returned.
    struct Handler {
        pause: Option<std::pin::Pin<Box<tokio::time::Sleep>>>,
        panics: bool,
        spiteful: bool,
        lent: Option<Delivery>,
    }
    impl Future for Handler {
        type Output = Result<(), Failure>;
        fn poll(
            mut self: std::pin::Pin<&mut Self>,
            task: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Self::Output> {
            if let Some(pause) = &mut self.pause {
                std::task::ready!(pause.as_mut().poll(task));
            }
            assert!(!self.panics, "on purpose");
            std::task::Poll::Ready(Ok(()))
        }
    }
    impl Drop for Handler {
        fn drop(&mut self) {
            drop(self.lent.take());
            assert!(!self.spiteful || std::thread::panicking(), "on purpose, while it is dropped");
        }
    }
    let script = Script::default();
    script.push(&["a1", "b1", "c1", "d1"]);
    let seen = run(
        &script,
        12,
        |worker| worker,
        |delivery, context| {
            let (waits, panics) = match text(delivery.message()).as_bytes()[0] {
                b'a' => (false, false),
                b'b' => (true, false),
                b'c' => (false, true),
                _ => (true, true),
            };
            let spiteful = context.attempt() < 3;
            Handler {
                pause: waits.then(|| Box::pin(sleep(Duration::from_secs(1)))),
                panics: panics && spiteful,
                spiteful,
                lent: Some(delivery),
            }
        },
    );
    assert_eq!(seen.await.len(), 12, "three attempts each, by four loops");
    assert_eq!(script.settled().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_outlives_its_handler_is_settled_by_its_own_verdict_only() {
    let script = Script::default();
    script.push(&["a1"]);
    let stop = CancellationToken::new();
    let receiver = receiver(&script, 4);
    let weak = receiver.downgrade();
    let worker = Worker::new(receiver).stop_on(stop.clone().cancelled_owned()).run(
        async |delivery: Delivery, context: Context| {
            tokio::spawn(async move {
                sleep(Duration::from_secs(3)).await;
                if context.attempt() == 3 {
                    delivery.ack();
                } // else it is dropped, as by a task that failed
            });
            Ok(())
        },
    );
    let running = tokio::spawn(worker);
    sleep(Duration::from_secs(2)).await;
    assert!(script.settled().is_empty(), "the handler said Ok, and the work goes on");
    assert_eq!(weak.upgrade().unwrap().health().counts.buffered_messages, 1);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(weak.upgrade().unwrap().health().counts.retried, 2, "dropped without a verdict, twice");
    assert!(script.settled().is_empty());
    sleep(Duration::from_secs(3)).await;
    assert_eq!(script.settled(), [0]);
    stop.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn handlers_of_values_share_state_and_reject_what_does_not_decode() {
    async fn add(number: u64, sum: Arc<AtomicUsize>) -> Result<(), Failure> {
        sleep(Duration::from_secs(1)).await; // its delivery is gone by now, and the message is still held
        sum.fetch_add(usize::try_from(number)?, Relaxed);
        Ok(())
    }
    let (script, sum) = (Script::default(), Arc::new(AtomicUsize::new(0)));
    for payload in ["1", "x", "20"] {
        script.push_message(Message::new(payload));
    }
    let mut settings = ReceiverSettings::new(DeadLetter::Discard);
    settings.retry = Retry::new(1, Backoff::default());
    let receiver = Receiver::new(Arc::new(script.clone()), settings).unwrap();
    let worker = Worker::new(receiver).stop_on(sleep(MINUTE));
    worker.run(json_with(Arc::clone(&sum), add)).await.unwrap();
    let mut settled = script.settled();
    settled.sort_unstable();
    assert_eq!((sum.load(Relaxed), settled), (21, vec![0, 1, 2]));
}

#[tokio::test(start_paused = true)]
async fn the_first_reason_to_stop_counts() {
    let script = Script::default();
    script.push(&["a1"]);
    let (stop, begun) = (Arc::new(Notify::new()), Instant::now());
    let stopped = Arc::clone(&stop);
    Worker::new(receiver(&script, 4))
        .stop_on(sleep(MINUTE))
        .stop_on(async move { stopped.notified().await })
        .run_local(async |_, _| {
            stop.notify_one();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!((script.settled(), begun.elapsed().as_secs()), (vec![0], 0));
}

#[tokio::test(start_paused = true)]
async fn limits_longer_than_clocks_can_count_harm_nobody() {
    let script = Script::default();
    script.push(&["a1"]);
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.drain = Duration::MAX;
    let worker = Worker::new(Receiver::new(Arc::new(script.clone()), settings).unwrap()).timeout(Duration::MAX);
    assert_eq!(worker.health().state, State::Up);
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    worker
        .stop_on(stop.cancelled_owned())
        .run_local(async |_, context| {
            assert!(context.deadline().is_some());
            sleep(MINUTE).await;
            cancel.cancel();
            Ok(())
        })
        .await
        .unwrap();
    assert_eq!(script.settled(), [0]);

    let script = Script::default();
    script.push(&["a1"]);
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.drain = Duration::MAX;
    let worker = Worker::new(Receiver::new(Arc::new(script.clone()), settings).unwrap()).timeout(Duration::MAX);
    let receiver = worker.receiver().clone();
    let running = tokio::spawn(worker.run(async |_, _| Ok(())));
    sleep(MINUTE).await;
    receiver.stop();
    running.await.unwrap().unwrap();
    assert_eq!(script.settled(), [0]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_hears_that_its_message_is_lost() {
    let script = Script::default();
    script.push(&["a1"]);
    let (started, mut start) = mpsc::unbounded_channel();
    let (heard, mut hear) = mpsc::unbounded_channel();
    let running = tokio::spawn(Worker::new(receiver(&script, 4)).run(move |delivery, context| {
        let (started, heard) = (started.clone(), heard.clone());
        async move {
            started.send(()).unwrap();
            context.lost().await;
            heard.send((context.is_lost(), delivery.is_lost())).unwrap();
            Ok(())
        }
    }));
    start.recv().await.unwrap();
    script.lose(0);
    assert_eq!(timeout(MINUTE, hear.recv()).await.unwrap(), Some((true, true)));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn stopping_drains_and_an_aborted_worker_gives_back() {
    let script = Script::default();
    script.push(&["a1", "a2", "b1"]);
    let stop = CancellationToken::new();
    let (started, mut start) = mpsc::unbounded_channel();
    let handler = move |_: Delivery, _: Context| {
        started.send(()).unwrap();
        async {
            sleep(Duration::from_secs(5)).await;
            Ok(())
        }
    };
    let running =
        tokio::spawn(Worker::new(receiver(&script, 4)).stop_on(stop.clone().cancelled_owned()).run(handler.clone()));
    start.recv().await.unwrap();
    start.recv().await.unwrap();
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!((script.settled(), script.given_back(), script.is_closed()), (vec![0, 2], 1, true));

    let script = Script::default();
    script.push(&["a1", "b1"]);
    let running = tokio::spawn(Worker::new(receiver(&script, 4)).run(handler));
    start.recv().await.unwrap();
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    sleep(Duration::from_secs(1)).await;
    assert_eq!((script.settled().len(), script.given_back(), script.is_closed()), (0, 2, true));
}

#[tokio::test(start_paused = true)]
async fn handlers_that_outlive_the_drain_are_cancelled() {
    let script = Script::default();
    script.push(&["a1"]);
    let stop = CancellationToken::new();
    let (started, mut start) = mpsc::unbounded_channel();
    let running =
        tokio::spawn(Worker::new(receiver(&script, 4)).stop_on(stop.clone().cancelled_owned()).run(move |_, _| {
            started.send(()).unwrap();
            std::future::pending()
        }));
    start.recv().await.unwrap();
    stop.cancel();
    timeout(MINUTE, running).await.expect("waits for ever").unwrap().unwrap();
    assert!(script.settled().is_empty());
    assert!(start.recv().await.is_none(), "the handler is still alive");
}

#[tokio::test(start_paused = true)]
async fn batches_keep_keys_in_order_and_end_as_the_handler_says() {
    let script = Script::default();
    script.push(&["a1", "a2", "b1", "a3"]);
    let (seen, mut batches) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let running = tokio::spawn(Worker::new(receiver(&script, 8)).stop_on(stop.clone().cancelled_owned()).run_batch(
        3,
        move |mut batch: Batch, context| {
            seen.send(batch.messages().map(text).collect::<Vec<_>>()).unwrap();
            if context.attempt() == 1 && batch.len() == 3 {
                batch.fail(1, Failure::retry("a2 failed"));
            }
            async move {
                drop(batch);
                Ok(())
            }
        },
    ));
    assert_eq!(batches.recv().await.unwrap(), ["a1", "a2", "a3"]);
    assert_eq!(batches.recv().await.unwrap(), ["b1"]);
    assert_eq!(batches.recv().await.unwrap(), ["a2", "a3"]);
    stop.cancel();
    running.await.unwrap().unwrap();
    assert_eq!(script.settled(), [0, 2, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_local_handler_need_not_be_send_and_may_borrow() {
    let script = Script::default();
    script.push(&["a1", "b1", "c1"]);
    let count = Cell::new(0);
    let stop = CancellationToken::new();
    let worker = Worker::new(receiver(&script, 2)).stop_on(stop.clone().cancelled_owned());
    timeout(
        MINUTE,
        worker.run_local(async |delivery, context| {
            sleep(Duration::from_secs(1)).await;
            count.set(count.get() + 1);
            if context.attempt() == 1 && text(delivery.message()) == "b1" {
                return Err(Failure::retry("again"));
            }
            if count.get() == 4 {
                stop.cancel();
            }
            Ok(())
        }),
    )
    .await
    .unwrap()
    .unwrap();
    assert_eq!((count.get(), script.settled().len()), (4, 3));
}
