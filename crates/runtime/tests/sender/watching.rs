//! What can be seen of a sender from outside.

use std::{
    fmt::Debug,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use strait_core::{ErrorKind, Measure, Observer};
use strait_runtime::{Meter, State};
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};

use crate::provider::{Answer, Fate, SECOND, accept, keyed, letters, of_bytes, open, outcomes, plain, settle};

#[tokio::test(start_paused = true)]
async fn health_tells_what_is_held_and_how_it_goes() {
    let (provider, sender) = open(|settings| settings.requests = 1);
    assert_eq!(sender.health().state, State::Up);
    provider.answer([Answer::Held]);
    let accepted = accept(&sender, [of_bytes(10), of_bytes(20)]).await;
    settle().await;
    let health = sender.health();
    assert_eq!((health.messages, health.bytes, health.requests), (2, 30 + 2 * 128, 1));
    provider.release(1);
    outcomes(accepted).await;

    provider.rule(|_| Answer::All(Fate::Fail(ErrorKind::Unavailable)));
    let failing = accept(&sender, [plain("a")]).await;
    settle().await;
    let health = sender.health();
    assert_eq!(
        (health.state, health.failures, health.last_failure),
        (State::Degraded, 1, Some(ErrorKind::Unavailable))
    );
    tokio::time::sleep(SECOND).await;
    assert_eq!(sender.health().state, State::Down);
    provider.rule(|_| Answer::Store);
    outcomes(failing).await;
    assert_eq!((sender.health().state, sender.health().failures), (State::Up, 0));
    sender.close().await.unwrap();
    assert_eq!(sender.health().state, State::Closed);
}

#[tokio::test(start_paused = true)]
async fn the_observer_hears_of_the_buffer_and_of_failures() {
    let meter = Meter::default();
    let (provider, sender) = open(|settings| settings.observer = Arc::new(meter.clone()));
    provider.answer([Answer::Each(vec![Fate::Store, Fate::Fail(ErrorKind::Throttled)])]);
    let accepted = accept(&sender, [plain("a"), plain("b")]).await;
    settle().await;
    assert_eq!(meter.counts().buffered_messages, 1);
    assert_eq!(meter.counts().failures.get("send"), Some(&(1, ErrorKind::Throttled)));
    outcomes(accepted).await;
    assert_eq!((meter.counts().buffered_messages, meter.counts().buffered_bytes), (0, 0));

    provider.rule(|_| Answer::Hang);
    let _stuck = accept(&sender, [keyed("a1")]).await;
    settle().await;
    let _skipped = accept(&sender, [keyed("a2")]).await;
    tokio::time::sleep(12 * SECOND).await;
    assert_eq!((meter.counts().buffered_messages, meter.counts().buffered_bytes), (0, 0), "also of what is given up");
}

/// Panics once.
#[derive(Debug, Default)]
struct Faulty(AtomicBool, Mutex<usize>);

impl Observer for Faulty {
    fn observe(&self, _: Measure<'_>) {
        *self.1.lock().unwrap() += 1;
        let first = !self.0.swap(true, Relaxed);
        if first {
            panic_now();
        }
    }
}

fn panic_now() {
    panic!("as the test says");
}

#[tokio::test(start_paused = true)]
async fn a_faulty_observer_takes_no_outcome_along() {
    let (_, sender) = open(|settings| settings.observer = Arc::new(Faulty::default()));
    assert_eq!(letters(&outcomes(accept(&sender, [plain("a"), keyed("b")]).await).await), "SS");
    tokio::time::sleep(SECOND).await;
    let later = accept_any(&sender).await;
    assert!(later.is_ok() || later.is_err_and(|error| error.kind() == ErrorKind::Closed), "and nobody hangs");
}

async fn accept_any(sender: &strait_runtime::Sender) -> strait_core::Result<strait_core::Receipt> {
    sender.send(plain("c")).await
}

/// Remembers how many messages each warning said were abandoned.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u64>>>);

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN
    }

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

impl Visit for Log {
    fn record_debug(&mut self, _: &Field, _: &dyn Debug) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "abandoned" {
            self.0.lock().unwrap().push(value);
        }
    }
}

#[test]
fn what_is_abandoned_is_counted_in_the_log_and_nothing_else_is() {
    for (texts, expected) in [(vec!["a", "b", "c"], vec![3]), (vec![], vec![])] {
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
            let sender = runtime.block_on(async {
                let (_, sender) = open(|_| {});
                drop(accept(&sender, texts.into_iter().map(plain)).await);
                sender
            });
            drop(runtime);
            drop(sender);
        });
        assert_eq!(*log.0.lock().unwrap(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn debug_shows_no_content() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Held]);
    let pendings = accept(&sender, [keyed("hunter2").with_header("token", "s3cret"), keyed("hunter3")]).await;
    settle().await;
    let text = format!("{sender:?} {pendings:?}");
    assert!(!text.contains("hunter") && !text.contains("s3cret"), "{text}");
}
