//! Opening and closing, with services that do not answer, and health.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use strait_config::{Bus, Connection, Fields, Needs, Provider, Registry};
use strait_core::{
    Budget, Consumer, Error, ErrorKind, Guarantees, Limits, Message, Plan, Producer, Receipt, Received, Result, Token,
};
use strait_runtime::State;
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

const SECOND: Duration = Duration::from_secs(1);

const CONFIG: &str = r#"
    provider = "test"
    [senders.good.on.test]
    topic = "good"
    [senders.silent.on.test]
    topic = "silent"
    [senders.away.on.test]
    topic = "away"
    [senders.missing.on.test]
    topic = "missing"
    [senders.lost.on.test]
    topic = "lost"
    [senders.far.on.far]
    topic = "good"
    [senders.far]
    provider = "far"
    [connections.far]
    type = "test"
    answers = false
    [receivers.app]
    dead_letter = "good"
    drain = "10s"
    [receivers.app.on.test]
    [receivers.dead]
    dead_letter = "silent"
    [receivers.dead.on.test]
    [receivers.late]
    dead_letter = "away"
    [receivers.late.on.test]
"#;

/// How often the topic `away` cannot be opened.
const AWAY: u32 = 3;

/// A service whose topic `silent` never opens, whose topic `away` does not at first, whose topic `missing` does not exist,
/// whose topic `lost` never answers a send, and that may not be reached at all.
#[derive(Debug)]
struct Service;

#[derive(Debug, Default)]
struct Link {
    tries: AtomicU32,
}

#[derive(Debug)]
struct Topic {
    answers: bool,
}

#[derive(Debug, Default)]
struct Source(Notify);

#[async_trait]
impl Provider for Service {
    fn name(&self) -> &'static str {
        "test"
    }
    fn check_connection(&self, fields: &mut Fields) {
        fields.flag("answers");
    }
    fn check_sender(&self, fields: &mut Fields) {
        fields.required("topic");
    }
    fn check_receiver(&self, _: &mut Fields) {}
    async fn connect(&self, mut connection: Fields, _: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        if connection.flag("answers") == Some(false) {
            pending::<()>().await;
        }
        Ok(Arc::new(Link::default()))
    }
}

#[async_trait]
impl Connection for Link {
    async fn producer(&self, mut fields: Fields) -> Result<Arc<dyn Producer>> {
        let topic = fields.required("topic");
        if topic == "silent" {
            pending::<()>().await;
        }
        let failed = |kind| Err(Error::new(kind, format!("test: {topic}: cannot be opened")));
        if topic == "missing" {
            return failed(ErrorKind::NotFound);
        }
        if topic == "away" && self.tries.fetch_add(1, Relaxed) < AWAY {
            return failed(ErrorKind::Unavailable);
        }
        Ok(Arc::new(Topic { answers: topic != "lost" }))
    }
    async fn consumer(&self, _: Fields, _: Needs) -> Result<Arc<dyn Consumer>> {
        Ok(Arc::new(Source::default()))
    }
}

#[async_trait]
impl Producer for Topic {
    fn limits(&self) -> Limits {
        Limits::new(10, 1 << 20)
    }
    fn destinations(&self) -> Vec<String> {
        Vec::new()
    }
    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(message.size()))
    }
    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if !self.answers {
            pending::<()>().await;
        }
        batch.iter().map(|_| Ok(Receipt::new(0))).collect()
    }
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[async_trait]
impl Consumer for Source {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("test", "source").with_message_bytes(1 << 20)
    }
    async fn receive(&self, _: Budget) -> Result<Vec<Received>> {
        self.0.notified().await;
        Err(Error::new(ErrorKind::Closed, "test: is closed"))
    }
    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        tokens.iter().map(|_| Ok(())).collect()
    }
    async fn postpone(&self, pauses: &[(Token, std::time::Duration)]) -> Vec<Result<()>> {
        vec![Err(Error::new(ErrorKind::Unsupported, "it keeps no message back")); pauses.len()]
    }
    async fn close(&self) -> Result<()> {
        self.0.notify_one();
        Ok(())
    }
}

fn bus() -> Bus {
    bus_set("")
}

fn bus_set(setting: &'static str) -> Bus {
    let environment = move |name: &str| (name == "STRAIT_SET").then(|| setting.to_owned());
    Bus::builder(Registry::new().with(Service)).environment(environment).text("strait.toml", CONFIG).build().unwrap()
}

/// Opens something that never opens, in a task of its own.
async fn hang(bus: &Bus, name: &'static str) -> tokio::task::JoinHandle<Result<()>> {
    let bus = bus.clone();
    let task = tokio::spawn(async move {
        match name.strip_prefix("receiver ") {
            Some(name) => bus.receiver(name).await.map(drop),
            None => bus.sender(name).await.map(drop),
        }
    });
    tokio::task::yield_now().await;
    task
}

#[tokio::test(start_paused = true)]
async fn what_does_not_open_holds_up_nobody_else() {
    let bus = bus();
    let silent = [hang(&bus, "silent").await, hang(&bus, "far").await, hang(&bus, "receiver dead").await];
    let opened = timeout(SECOND, async {
        bus.sender("good").await.unwrap().send(Message::new("1")).await.unwrap();
        bus.receiver("app").await.unwrap()
    });
    let receiver = opened.await.expect("held up by what does not open");
    timeout(SECOND, bus.close()).await.expect("a close is held up").unwrap();
    assert!(receiver.recv().await.unwrap().is_none());
    assert!(silent.iter().all(|task| !task.is_finished()));
    for refused in [bus.sender("good").await.map(drop), bus.receiver("app").await.map(drop)] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_has_one_bound_whatever_does_not_answer() {
    let bus = bus();
    let lost = bus.sender("lost").await.unwrap();
    let pending = lost.enqueue(Message::new("1")).await.unwrap();
    let start = Instant::now();
    let error = bus.close().await.unwrap_err();
    assert!(start.elapsed() <= 31 * SECOND, "without a receiver: {:?}", start.elapsed());
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("lost: 1 messages had no outcome"), "{error}");
    assert!(!pending.await.is_sent());

    let bus = self::bus();
    let (_receiver, lost) = (bus.receiver("app").await.unwrap(), bus.sender("lost").await.unwrap());
    let pending = lost.enqueue(Message::new("1")).await.unwrap();
    let start = Instant::now();
    let (one, two) = tokio::join!(bus.close(), bus.close());
    assert!(one.is_err() && two.is_err(), "each waits for all of it");
    assert!(start.elapsed() <= 16 * SECOND, "with a drain of 10 s: {:?}", start.elapsed());
    assert!(!pending.await.is_sent());
}

#[tokio::test(start_paused = true)]
async fn later_calls_bring_the_same_sender() {
    let bus = bus();
    let (one, other) = tokio::join!(bus.sender("good"), bus.sender("good"));
    one.unwrap().close().await.unwrap();
    assert_eq!(other.unwrap().send(Message::new("1")).await.unwrap_err().kind(), ErrorKind::Closed);
    bus.close().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_away_for_a_moment_is_tried_again_within_open_within() {
    let error = bus().sender("away").await.unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (ErrorKind::Unavailable, "test: away: cannot be opened"));

    let patient = bus_set("open_within = 10s");
    let start = Instant::now();
    let (one, other) = tokio::join!(patient.sender("away"), patient.sender("away"));
    one.unwrap().send(Message::new("1")).await.unwrap();
    other.unwrap();
    assert!(start.elapsed() < 3 * SECOND, "after three failures: {:?}", start.elapsed());
    bus_set("open_within = 10s").receiver("late").await.unwrap();

    let impatient = bus_set("open_within = 300ms");
    let start = Instant::now();
    assert_eq!(impatient.receiver("late").await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(start.elapsed() <= Duration::from_millis(300), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn what_no_patience_mends_fails_at_once_and_a_close_ends_it() {
    let bus = bus_set("open_within = 1h");
    let start = Instant::now();
    assert_eq!(bus.sender("missing").await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(start.elapsed(), Duration::ZERO);

    let opening = hang(&bus, "away").await;
    bus.close().await.unwrap();
    let error = timeout(SECOND, opening).await.expect("a closed bus opens on").unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test(start_paused = true)]
async fn health_is_that_of_each_open_channel() {
    let bus = bus();
    assert_eq!((bus.health().state(), bus.health().senders.len()), (State::Up, 0), "nothing is open");
    let (good, lost) = (bus.sender("good").await.unwrap(), bus.sender("lost").await.unwrap());
    let (one, other) = (bus.receiver("app").await.unwrap(), bus.receiver("app").await.unwrap());
    let pending = lost.enqueue(Message::new("1")).await.unwrap();
    let health = bus.health();
    assert_eq!(
        health.senders.iter().map(|(name, of)| (name.as_str(), of.messages)).collect::<Vec<_>>(),
        [("good", 0), ("lost", 1)]
    );
    assert_eq!((health.receivers["app"].len(), health.state()), (2, State::Up));

    drop(other);
    good.close().await.unwrap();
    let health = bus.health();
    assert_eq!((health.receivers["app"].len(), health.senders["good"].state), (1, State::Closed));
    assert_eq!(health.state(), State::Up, "what was closed on purpose is not ill");
    drop(pending);
    assert!(bus.close().await.is_err());
    assert_eq!(bus.health().state(), State::Closed);
    drop(one);
}
