//! Groups, from the table of a receiver to members that share a log.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant, UNIX_EPOCH},
};

use async_trait::async_trait;
use strait_config::{Bus, Connection, Fields, Provider, Registry};
use strait_core::{Budget, Consumer, Error, ErrorKind, Message, Result};
use strait_kit::{LogConsumer, LogSettings, Start};
use strait_leases::Group;
use strait_memory::{Life, LogOptions, MemoryLog};
use tokio::time::timeout;

/// Remembers the group of its last receiver.
#[derive(Clone, Debug, Default)]
struct Reads(Arc<Mutex<Option<Group>>>);

#[async_trait]
impl Provider for Reads {
    fn name(&self) -> &'static str {
        "log"
    }

    fn check_connection(&self, _: &mut Fields) {}

    fn check_sender(&self, _: &mut Fields) {}

    fn check_receiver(&self, fields: &mut Fields) {
        *self.0.lock().unwrap() = Some(Group::read(fields));
    }

    async fn connect(&self, _: Fields, _: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        Err(Error::new(ErrorKind::Unsupported, "it only reads"))
    }
}

fn read(table: &str) -> Result<Group> {
    let reads = Reads::default();
    let text =
        format!("provider = \"log\"\n[receivers.app]\ndead_letter = \"discard\"\n[receivers.app.on.log]\n{table}");
    let registry = Registry::new().with(reads.clone());
    Bus::builder(registry).environment(|_| None).text("strait.toml", &text).build()?;
    Ok(reads.0.lock().unwrap().take().unwrap())
}

const TABLE: &str = "group = \"billing\"\nleases = \"memory:leases\"\n";

#[test]
fn a_table_says_who_shares_and_where_its_rows_are() {
    let group = read(TABLE).unwrap();
    assert_eq!((&*group.name, &*group.leases), ("billing", "memory:leases"));
    assert_eq!((group.expiry, group.start), (Duration::from_secs(10), Start::Earliest));
    let group = read(&format!("{TABLE}expiry = \"60s\"\nstart = \"latest\"")).unwrap();
    assert_eq!((group.expiry, group.start), (Duration::from_secs(60), Start::Latest));
    let group = read(&format!("{TABLE}start = \"1970-01-01T00:01:00Z\"")).unwrap();
    assert_eq!(group.start, Start::At(UNIX_EPOCH + Duration::from_secs(60)));
    assert_eq!(read("group = \"$Default\"\nleases = \"file:/leases\"").unwrap().name, "$Default");
}

#[test]
fn what_is_wrong_is_told_by_its_path_and_once() {
    let problems = |table: &str| read(table).map(drop).unwrap_err().to_string();
    let path = "strait.toml: receivers.app.on.log";
    assert_eq!(problems(""), format!("{path}.group: is missing\n{path}.leases: is missing"));
    let table = |more: &str| problems(&format!("{TABLE}{more}"));
    for expiry in ["1s", "25h"] {
        assert_eq!(table(&format!("expiry = \"{expiry}\"")), format!("{path}.expiry: must be 2s to a day"));
    }
    let start = "expected \"earliest\", \"latest\", or a time such as 2026-01-31T12:00:00Z, found \"newest\"";
    assert_eq!(table("start = \"newest\""), format!("{path}.start: {start}"));
    for name in ["a/b", "a b", "ж", &*"x".repeat(101)] {
        let named = problems(&TABLE.replace("billing", name));
        assert_eq!(named, format!("{path}.group: must be 1 to 100 of letters, digits and -_.$"));
    }
    let url = problems(&TABLE.replace("memory:leases", "s3://a:hunter2@bucket/x"));
    assert_eq!(url, format!("{path}.leases: has an @: credentials come from the environment, never from a URL"));
}

/// A member of `group`, whose progress the log is not told: it keeps all that is stored.
async fn member(log: &MemoryLog, group: &Group) -> LogConsumer {
    let seen = log.seen_by(&group.name, &Life::default());
    let member = group.join("orders", Arc::clone(&seen)).await.unwrap();
    LogConsumer::new(seen, Arc::new(member), LogSettings::default())
}

async fn take(consumer: &LogConsumer, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let received = timeout(Duration::from_secs(60), consumer.receive(Budget::new(100, 1 << 20)));
        for received in received.await.expect("it comes").unwrap() {
            texts.push(String::from_utf8_lossy(&received.message.payload).into_owned());
            received.claim.start(Instant::now);
            for settled in consumer.settle(&[received.claim.token()]).await {
                settled.unwrap();
            }
        }
    }
    texts.sort();
    texts
}

/// Two groups whose rows are in one store get all, each once; one that left goes on where it was.
#[tokio::test]
async fn groups_that_share_a_store_are_kept_apart_and_go_on_where_they_were() {
    let log = MemoryLog::new(LogOptions::named("orders"));
    let producer = log.producer();
    let send = async |texts: &[&'static str]| {
        let batch: Vec<_> = texts.iter().map(|text| Message::new(*text)).collect();
        assert!(producer.send(&batch).await.iter().all(Result::is_ok));
    };
    let named = |name: &str| {
        let mut group = Group::new(name, "memory:kept-apart");
        group.expiry = Duration::from_secs(2);
        log.create_group(name, &Start::Earliest).unwrap();
        group
    };
    let (billing, shipping) = (named("billing"), named("shipping"));
    send(&["1", "2", "3"]).await;
    for group in [&billing, &shipping] {
        let consumer = member(&log, group).await;
        assert_eq!(take(&consumer, 3).await, ["1", "2", "3"]);
        consumer.close().await.unwrap();
    }
    send(&["4"]).await;
    let again = member(&log, &billing).await;
    assert_eq!(take(&again, 1).await, ["4"]);
    again.close().await.unwrap();
}

#[tokio::test]
async fn a_log_that_was_made_again_is_refused_by_the_group_of_the_one_before() {
    let group = Group::new("billing", "memory:made-again");
    let named = || MemoryLog::new(LogOptions::named("orders"));
    let (log, again) = (named(), named());
    log.create_group("billing", &Start::Earliest).unwrap();
    assert!(log.producer().send(&[Message::new("1")]).await.iter().all(Result::is_ok));
    let consumer = member(&log, &group).await;
    assert_eq!(take(&consumer, 1).await, ["1"]);
    consumer.close().await.unwrap();
    let joined = group.join("orders", again.seen_by("billing", &Life::default())).await;
    let error = joined.map(drop).unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.to_string().contains("`group`"), "{error}");
    member(&log, &group).await.close().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_used_is_refused_by_its_field_when_it_is_joined() {
    let log = MemoryLog::new(LogOptions::named("orders"));
    let refused = async |change: &dyn Fn(&mut Group)| {
        let mut group = Group::new("billing", "memory:leases");
        change(&mut group);
        group.join("orders", log.seen_by("billing", &Life::default())).await.map(drop).unwrap_err()
    };
    for (name, change) in [
        ("group", &(|group: &mut Group| group.name = String::new()) as &dyn Fn(&mut Group)),
        ("url", &|group| group.leases = "redis://x".to_owned()),
        ("expiry", &|group| group.expiry = Duration::ZERO),
        ("timeout", &|group| group.options.timeout = Duration::ZERO),
    ] {
        let error = refused(change).await;
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{error}");
    }
    let position = refused(&|group| group.start = Start::After(1.into())).await;
    assert_eq!(position.kind(), ErrorKind::Unsupported);
}
