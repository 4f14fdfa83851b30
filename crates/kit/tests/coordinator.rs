//! The coordinator over a store, with the engine above it, on a clock that is paused.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::{Budget, Consumer, Guarantees, Message, Ordering, Position, Received, Result};
use strait_kit::{
    Became, Change, Expect, Identity, Log, LogConsumer, LogSettings, Ownership, Page, Partition, Put, Reader, Record,
    Row, RowStore, Start, Version,
    coordination::{Coordinator, CoordinatorSettings},
};
use tokio::time;

type Stored = BTreeMap<String, (u64, Bytes)>;

#[derive(Debug, Default)]
struct Rows {
    rows: Mutex<(u64, Stored)>,
    /// Hears of every heartbeat.
    beats: Option<mpsc::Sender<String>>,
}

#[async_trait]
impl RowStore for Rows {
    fn value_bytes(&self) -> usize {
        1 << 20
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        let row = |(version, value): &(u64, Bytes)| Row { version: name(*version), value: value.clone() };
        Ok(self.rows.lock().expect("no test panics while holding this").1.get(key).map(row))
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        let rows = self.rows.lock().expect("no test panics while holding this");
        let rows = rows.1.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(rows.map(|(key, (version, _))| (key.clone(), name(*version))).collect())
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        let mut rows = self.rows.lock().expect("no test panics while holding this");
        let is = rows.1.get(key).map_or(Expect::Absent, |(version, _)| Expect::Is(name(*version)));
        if is != expect {
            return Ok(Put::Refused);
        }
        rows.0 += 1;
        let version = rows.0;
        rows.1.insert(key.to_owned(), (version, value));
        if let Some(beats) = self.beats.as_ref().filter(|_| key.starts_with("member/")) {
            let _ = beats.send(key.to_owned());
        }
        Ok(Put::Done(name(version)))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.rows.lock().expect("no test panics while holding this").1.remove(key);
        Ok(())
    }
}

fn name(version: u64) -> Version {
    Version::new(version.to_string())
}

/// Four partitions of twenty records each. The first two end, and become a fifth.
#[derive(Debug, Default)]
struct Records {
    identity: Option<Identity>,
}

const RECORDS: u64 = 20;

struct Read {
    partition: Arc<str>,
    next: u64,
}

#[async_trait]
impl Log for Records {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("test", "records").with_ordering(Ordering::Key)
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        Ok((0..4).map(|index| Partition::new(format!("p{index}"))).chain([child()]).collect())
    }

    async fn open(&self, partition: &str, start: &Start, _: u64, _: usize) -> Result<Box<dyn Reader>> {
        let next = match start {
            Start::After(Position::Number(last)) => last + 1,
            _ => 0,
        };
        Ok(Box::new(Read { partition: partition.into(), next }))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn child() -> Partition {
    Partition::new("p4").with_parents(["p0", "p1"])
}

#[async_trait]
impl Reader for Read {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        let ends = matches!(&*self.partition, "p0" | "p1");
        if self.next == RECORDS && ends {
            return Ok(Page::End { children: vec![child()] });
        }
        let end = RECORDS.min(self.next + budget.messages as u64);
        if self.next == end {
            time::sleep(Duration::from_millis(100)).await;
        }
        let record = |position| {
            let message = Message::new(format!("{}/{position}", self.partition));
            Record { message, position: Position::Number(position), stored_at: None }
        };
        let records = (self.next..end).map(record).collect();
        self.next = end;
        Ok(Page::Records { records, lag: None, caught_up: false, resume: None })
    }

    fn ahead(&self) -> usize {
        0
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

fn consumer(rows: &Arc<Rows>) -> LogConsumer {
    let rows: Arc<dyn RowStore> = Arc::<Rows>::clone(rows);
    let log: Arc<dyn Log> = Arc::new(Records::default());
    let ownership = Coordinator::start_here(rows, Arc::clone(&log), CoordinatorSettings::default()).expect("sound");
    LogConsumer::new(log, Arc::new(ownership), LogSettings::default())
}

/// The next reply that brings a message.
async fn receive(consumer: &LogConsumer, messages: usize) -> Vec<Received> {
    loop {
        let batch = consumer.receive(Budget::new(messages, usize::MAX)).await.expect("no call fails");
        if !batch.is_empty() {
            return batch;
        }
    }
}

/// Settles what comes until nothing has come for a while. Returns what came.
async fn drain(consumer: &LogConsumer, while_quiet: Duration) -> Vec<String> {
    let mut seen = Vec::new();
    while let Ok(batch) = time::timeout(while_quiet, receive(consumer, 8)).await {
        for received in batch {
            if received.claim.start(|| time::Instant::now().into_std()) {
                seen.push(String::from_utf8(received.message.payload.to_vec()).expect("it is text"));
                consumer.settle(&[received.claim.token()]).await;
            }
        }
    }
    seen
}

#[tokio::test(start_paused = true)]
async fn members_share_partitions_hand_them_over_and_read_children_last() {
    let rows = Arc::new(Rows::default());
    let (one, two) = (consumer(&rows), consumer(&rows));
    let quiet = Duration::from_secs(30);
    let (first, second) = tokio::join!(drain(&one, quiet), drain(&two, quiet));
    let all: Vec<&String> = first.iter().chain(&second).collect();
    assert_eq!(all.len(), 100, "each once, since nobody failed");
    assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 100);
    assert!(!first.is_empty() && !second.is_empty(), "both own partitions");
    one.close().await.unwrap();
    two.close().await.unwrap();
    let left = rows.versions("member/").await.unwrap();
    assert!(left.is_empty(), "who leaves in good order leaves no row: {left:?}");
}

/// A member of a rolling upgrade: others write rows that it does not understand while it leaves. Or spoil them.
#[tokio::test(start_paused = true)]
async fn rows_that_cannot_be_read_keep_nobody_from_leaving() {
    for (row, value) in [("plan", r#"{"v":9}"#), ("plan", "spoilt"), ("part/p0", r#"{"v":9}"#)] {
        let rows = Arc::new(Rows::default());
        let consumer = consumer(&rows);
        let batch = time::timeout(Duration::from_secs(9), receive(&consumer, 8)).await.unwrap();
        let (_, version) = rows.versions(row).await.unwrap().remove(0);
        let put = rows.put(row, Expect::Is(version), Bytes::from_static(value.as_bytes())).await.unwrap();
        assert!(matches!(put, Put::Done(_)));
        drop(batch);
        // A plan that it does not write costs three polls.
        let closed = time::timeout(Duration::from_secs(15), consumer.close()).await;
        closed.unwrap_or_else(|_| panic!("it does not close: {row:?} is {value:?}")).unwrap();
        let left = rows.versions("member/").await.unwrap();
        assert!(left.is_empty(), "it is waited for, where {row:?} is {value:?}: {left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_dead_member_owned_goes_to_the_living_after_its_expiry() {
    let rows = Arc::new(Rows::default());
    let one = consumer(&rows);
    let batch = time::timeout(Duration::from_secs(9), receive(&one, 8)).await.unwrap();
    let two = consumer(&rows);
    drop((batch, one)); // as if it were killed: nothing is settled
    let begin = time::Instant::now();
    let seen = drain(&two, Duration::from_secs(12)).await;
    assert_eq!(seen.len(), 100);
    let parents = seen.iter().rposition(|seen| seen.starts_with("p0/") || seen.starts_with("p1/")).unwrap();
    let child = seen.iter().position(|seen| seen.starts_with("p4/")).unwrap();
    assert!(parents < child, "a child after all of its parents");
    assert!(begin.elapsed() > Duration::from_secs(9));
}

async fn soon(consumer: &LogConsumer, partition: &str, within: Duration) -> bool {
    let mut seen = false;
    let look = async {
        while !seen {
            let received = receive(consumer, 1).await;
            seen = received.iter().any(|received| received.claim.partition() == Some(partition));
        }
    };
    time::timeout(within, look).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn what_lapsed_is_taken_back_as_soon_as_its_handlers_have_returned() {
    let rows = Arc::new(Rows::default());
    let consumer = consumer(&rows);
    let mut held = Vec::new();
    while held.len() < 80 {
        held.extend(receive(&consumer, 80).await);
    }
    // An operator deletes its row: it lapses at its next heartbeat, and goes on as its heir.
    let (member, _) = rows.versions("member/").await.unwrap().remove(0);
    rows.delete(&member).await.unwrap();
    let lapsed = time::Instant::now();
    for received in &held {
        received.claim.revoked().await;
    }
    assert!(lapsed.elapsed() <= Duration::from_secs(4));
    let of = |partition: &'static str| {
        move |received: &mut strait_core::Received| received.claim.partition() == Some(partition)
    };
    held.extract_if(.., of("p3")).for_each(drop);
    assert!(soon(&consumer, "p3", Duration::from_secs(1)).await, "no handler of it runs, and nobody else wants it");
    let last = held.extract_if(.., of("p2")).last();
    assert!(!soon(&consumer, "p2", Duration::from_secs(5)).await, "a handler of it runs still");
    drop(last);
    assert!(soon(&consumer, "p2", Duration::from_secs(1)).await);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn what_ended_by_its_own_clock_is_gained_anew() {
    let rows: Arc<dyn RowStore> = Arc::new(Rows::default());
    let coordinator =
        Coordinator::start_here(rows, Arc::new(Records::default()), CoordinatorSettings::default()).unwrap();
    let gained = async || loop {
        if let Some(Change::Gained { partition, epoch, .. }) = coordinator.next().await.unwrap()
            && &*partition == "p2"
        {
            return epoch;
        }
    };
    let first = gained().await;
    coordinator.returned("p2", first).await;
    let again =
        time::timeout(Duration::from_secs(1), gained()).await.expect("at once: its row still named this member");
    assert!(again > first);
    coordinator.returned("p2", first).await; // said twice: it is not about the tenure that there is now
    assert!(time::timeout(Duration::from_secs(30), gained()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn where_nothing_comes_the_next_owner_goes_on_at_the_place_that_was_stored() {
    let rows: Arc<dyn RowStore> = Arc::new(Rows::default());
    let coordinator =
        Coordinator::start_here(rows, Arc::new(Records::default()), CoordinatorSettings::default()).unwrap();
    let gained = async || loop {
        if let Some(Change::Gained { partition, epoch, start, settled, .. }) = coordinator.next().await.unwrap()
            && &*partition == "p2"
        {
            return (epoch, start, settled);
        }
    };
    let at = |seconds| Start::At(std::time::UNIX_EPOCH + Duration::from_secs(seconds));
    let commit = async |epoch, position: u64| {
        let progress = strait_kit::Progress { partition: "p2".into(), epoch, position: position.into() };
        coordinator.commit(&progress).await.unwrap();
    };
    let (epoch, ..) = gained().await;
    commit(epoch, 5).await;
    coordinator.resume_at("p2", epoch, &at(9)).await.unwrap();
    coordinator.resume_at("p2", epoch, &at(8)).await.unwrap();
    assert!(coordinator.resume_at("p2", epoch, &Start::Latest).await.is_err(), "that is no place");
    coordinator.release("p2", epoch).await.unwrap();
    let (epoch, start, settled) = gained().await;
    assert_eq!((start, settled), (at(9), Some(5.into())), "it never moves back");
    commit(epoch, 6).await;
    let behind = coordinator.resume_at("p2", epoch, &Start::After(5.into())).await;
    assert!(behind.is_err(), "that is behind the checkpoint");
    coordinator.release("p2", epoch).await.unwrap();
    let (epoch, start, settled) = gained().await;
    assert_eq!((start, settled), (Start::After(6.into()), None), "progress takes its place");
    assert!(coordinator.resume_at("p2", epoch - 1, &at(10)).await.is_err(), "of a tenure that is over");
}

#[tokio::test(start_paused = true)]
async fn an_end_of_which_nothing_is_known_is_looked_up_in_the_list() {
    let rows = Arc::new(Rows::default());
    let coordinator = Coordinator::start_here(
        Arc::<Rows>::clone(&rows) as _,
        Arc::new(Records::default()),
        CoordinatorSettings::default(),
    )
    .unwrap();
    let mut epochs = BTreeMap::new();
    while epochs.len() < 4 {
        if let Some(Change::Gained { partition, epoch, .. }) = coordinator.next().await.unwrap() {
            epochs.insert(partition, epoch);
        }
    }
    let finish = async |partition: &str, became| coordinator.finish(partition, epochs[partition], became).await;
    let unknown = || Became::Children(Vec::new());
    let row = |partition: &str| {
        let rows = rows.rows.lock().unwrap();
        rows.1.get(&format!("part/{partition}")).map(|(_, row)| String::from_utf8_lossy(row).into_owned())
    };
    let error = finish("p2", unknown()).await.unwrap_err();
    assert!(error.is_transient() && error.to_string().contains("\"p2\""), "{error}");
    assert!(!row("p2").unwrap().contains("finished"), "nothing is listed that it became");
    finish("p0", unknown()).await.unwrap();
    assert!(row("p0").unwrap().contains("finished") && row("p4").unwrap().contains("p0"), "its child is listed");
    finish("p2", Became::Nothing).await.unwrap();
    assert!(row("p2").unwrap().contains("finished"), "it was removed");
}

fn made(made: &str) -> Arc<Records> {
    Arc::new(Records { identity: Some(Identity::new("orders").with_made(made)) })
}

/// Joins for a while, and leaves.
async fn visit(rows: &Arc<Rows>, log: Arc<Records>) -> Result<()> {
    let coordinator = Coordinator::start_here(Arc::<Rows>::clone(rows), log, CoordinatorSettings::default())?;
    let outcome = coordinator.opened().await;
    time::sleep(Duration::from_secs(2)).await;
    coordinator.close().await?;
    while let Some(change) = coordinator.next().await? {
        if let Change::Revoked { partition, epoch } = change {
            coordinator.release(&partition, epoch).await?;
        }
    }
    outcome
}

#[tokio::test(start_paused = true)]
async fn rows_of_another_log_are_refused_and_left_as_they_are() {
    let rows = Arc::new(Rows::default());
    let stored = || rows.rows.lock().unwrap().clone();
    visit(&rows, Arc::default()).await.unwrap();
    assert!(!String::from_utf8_lossy(&stored().1["plan"].1).contains("orders"), "a log that cannot tell");
    visit(&rows, made("2026-11-01")).await.unwrap();
    assert!(String::from_utf8_lossy(&stored().1["plan"].1).contains("2026-11-01"), "the group takes it on");
    let before = stored();
    for other in [made("2026-11-02"), Arc::new(Records { identity: Some(Identity::new("bills")) })] {
        let error = visit(&rows, other).await.unwrap_err();
        assert_eq!(error.kind(), strait_core::ErrorKind::Config, "{error}");
        assert!(error.to_string().contains("2026-11-01"), "{error}");
        assert_eq!(stored(), before, "nothing is written");
    }
    visit(&rows, Arc::default()).await.unwrap();
    visit(&rows, made("2026-11-01")).await.unwrap();
    assert!(String::from_utf8_lossy(&stored().1["plan"].1).contains("2026-11-01"));
}

#[tokio::test(start_paused = true)]
async fn progress_never_moves_back_whatever_its_form() {
    let rows: Arc<dyn RowStore> = Arc::new(Rows::default());
    let coordinator =
        Coordinator::start_here(rows, Arc::new(Records::default()), CoordinatorSettings::default()).unwrap();
    let mut epochs = BTreeMap::new();
    while epochs.len() < 4 {
        if let Some(Change::Gained { partition, epoch, .. }) = coordinator.next().await.unwrap() {
            epochs.insert(partition, epoch);
        }
    }
    let commit = async |partition: &str, position: Position| {
        let progress = strait_kit::Progress { partition: partition.into(), epoch: epochs[partition], position };
        coordinator.commit(&progress).await
    };
    for (position, back) in
        [("9.3", false), ("9.20", false), ("9.3", true), ("9", false), ("9.20", true), ("10.0", false), ("9", true)]
    {
        let outcome = commit("p2", position.into()).await;
        assert_eq!(outcome.is_err(), back, "{position}: {outcome:?}");
        assert!(outcome.err().is_none_or(|error| error.kind() == strait_core::ErrorKind::Invalid));
    }
    for position in [Position::from("oldest"), Position::Number(11)] {
        let error = commit("p2", position.clone()).await.unwrap_err();
        assert!(error.to_string().contains("\"p2\"") && error.to_string().contains(&position.to_string()), "{error}");
    }
    assert!(commit("p3", "LATEST".into()).await.is_err(), "also where nothing is stored yet");
    assert!(commit("p3", 7.into()).await.is_ok());
    assert!(commit("p3", 6.into()).await.is_err());
}

#[tokio::test]
async fn handlers_that_block_their_threads_cost_no_heartbeat() {
    let (beats, heard) = mpsc::channel();
    let rows: Arc<dyn RowStore> = Arc::new(Rows { beats: Some(beats), ..Rows::default() });
    let settings = CoordinatorSettings::with_expiry(Duration::from_secs(2)).unwrap();
    let coordinator = Coordinator::start(rows, Arc::new(Records::default()), settings).unwrap();
    let gained = async {
        loop {
            if let Some(Change::Gained { partition, epoch, .. }) = coordinator.next().await.unwrap()
                && &*partition == "p0"
            {
                return epoch;
            }
        }
    };
    let epoch = gained.await;
    // The only thread of this runtime is blocked until there were heartbeats for more than three times the belief of 1 s.
    let members: BTreeSet<String> =
        (0..10).map(|_| heard.recv_timeout(Duration::from_secs(60)).expect("heartbeats go on")).collect();
    assert_eq!(members.len(), 1, "it is the same member still");
    let progress = strait_kit::Progress { partition: "p0".into(), epoch, position: Position::Number(1) };
    assert!(coordinator.commit(&progress).await.is_ok());
    coordinator.close().await.unwrap();
    while coordinator.next().await.unwrap().is_some_and(|change| !matches!(change, Change::Revoked { .. })) {}
}

#[tokio::test]
async fn settings_that_contradict_each_other_are_refused() {
    let mut settings = CoordinatorSettings::default();
    settings.heartbeat = Duration::from_secs(5);
    let error = Coordinator::start(Arc::new(Rows::default()), Arc::new(Records::default()), settings).unwrap_err();
    assert!(error.to_string().contains("`heartbeat`"), "{error}");
}
