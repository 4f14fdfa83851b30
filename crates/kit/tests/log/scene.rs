//! A log of partitions whose records are numbered from 1, and who owns them: both as a test says.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, UNIX_EPOCH},
};

use async_trait::async_trait;
use strait_core::{
    Budget, Consumer as _, Error, ErrorKind, Guarantees, Lag, Measure, Message, Observer, Position, Received, Result,
};
use strait_kit::{
    Became, Change, Identity, Log, LogConsumer, LogSettings, Ownership, Page, Partition, Progress, Quarantine, Reader,
    Record, Renew, Start, Suspect,
};
use tokio::{
    sync::Notify,
    time::{sleep, timeout},
};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Clones are the same scene.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scene(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that a test says")]
struct State {
    partitions: BTreeMap<String, Stored>,
    owned: BTreeMap<String, u64>,
    changes: VecDeque<Result<Change>>,
    closing: bool,
    /// What was called, in order: the call, its partition, and what it said.
    journal: Vec<String>,
    /// How calls fail next, by call and partition.
    failures: BTreeMap<String, VecDeque<ErrorKind>>,
    /// How often calls panic next, by call and partition.
    panics: BTreeMap<String, usize>,
    /// Calls that hang, by call and partition.
    hanging: BTreeSet<String>,
    /// How long calls take, by call and partition.
    slow: BTreeMap<String, Duration>,
    /// What was named, and what was settled before.
    named: Vec<(String, Option<Position>, Suspect)>,
    measured: Vec<(String, Option<ErrorKind>)>,
    /// How many bytes are held, as was measured last.
    held: usize,
    /// Whether readers cannot tell that nothing is stored behind what they brought.
    unsure: bool,
    /// Whether readers tell where they may be resumed, and how often they were called.
    resumes: bool,
    reads: u64,
    /// Whether readers hold as much by themselves as they may.
    pushes: bool,
}

#[derive(Debug, Default)]
struct Stored {
    /// The number of the oldest record that is stored, less one.
    trimmed: u64,
    /// The number of the newest.
    last: u64,
    /// How many bytes each has.
    bytes: usize,
    /// Whether it was split, whether a reader tells into what, and whether it was removed instead.
    ended: bool,
    nameless: bool,
    removed: bool,
}

fn number(position: &Position) -> u64 {
    match position {
        Position::Number(number) => *number,
        Position::Text(_) => unreachable!("they are numbers here"),
    }
}

impl Scene {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap()
    }

    /// Stores so many records in a partition that is new.
    pub(crate) fn store(&self, partition: &str, records: u64) {
        self.store_sized(partition, records, 2);
    }

    /// The same, of so many bytes each.
    pub(crate) fn store_sized(&self, partition: &str, records: u64, bytes: usize) {
        self.state().partitions.insert(partition.to_owned(), Stored { last: records, bytes, ..Stored::default() });
    }

    /// Splits a partition: nothing is stored in it any more.
    pub(crate) fn split(&self, partition: &str) {
        self.state().partitions.get_mut(partition).unwrap().ended = true;
    }

    /// The same, and readers tell or do not tell what it became.
    pub(crate) fn split_into(&self, partition: &str, known: bool) {
        let mut state = self.state();
        let stored = state.partitions.get_mut(partition).unwrap();
        (stored.ended, stored.nameless) = (true, !known);
    }

    /// Removes a partition once it is read to its end.
    pub(crate) fn remove(&self, partition: &str) {
        self.state().partitions.get_mut(partition).unwrap().removed = true;
    }

    pub(crate) fn append(&self, partition: &str) {
        self.state().partitions.get_mut(partition).unwrap().last += 1;
    }

    /// Forgets, or finds again, what is stored up to a record.
    pub(crate) fn trim(&self, partition: &str, up_to: u64) {
        self.state().partitions.get_mut(partition).unwrap().trimmed = up_to;
    }

    /// Stores so many records in a partition that is new, and has it gained.
    pub(crate) fn gain(&self, partition: &str, records: u64, quarantine: Option<Quarantine>) {
        self.store(partition, records);
        self.gain_in(partition, 1, quarantine);
    }

    pub(crate) fn gain_in(&self, partition: &str, epoch: u64, quarantine: Option<Quarantine>) {
        self.state().owned.insert(partition.to_owned(), epoch);
        self.say(Ok(Change::Gained {
            partition: partition.into(),
            epoch,
            start: Start::Earliest,
            settled: None,
            until: None,
            quarantine,
        }));
    }

    /// Has a partition gained that is read from its beginning, and is settled up to a record.
    pub(crate) fn gain_settled(&self, partition: &str, settled: u64) {
        self.state().owned.insert(partition.to_owned(), 1);
        let (partition, epoch, start, settled) = (partition.into(), 1, Start::Earliest, Some(settled.into()));
        self.say(Ok(Change::Gained { partition, epoch, start, settled, until: None, quarantine: None }));
    }

    /// Its readers cannot tell whether they have caught up.
    pub(crate) fn unsure(&self) {
        self.state().unsure = true;
    }

    /// Its readers tell where they may be resumed: at the second that is the number of the call.
    pub(crate) fn resume(&self) {
        self.state().resumes = true;
    }

    pub(crate) fn revoke(&self, partition: &str) {
        self.say(Ok(Change::Revoked { partition: partition.into(), epoch: 1 }));
    }

    /// What is heard next of what is owned.
    pub(crate) fn say(&self, change: Result<Change>) {
        self.state().changes.push_back(change);
        self.0.changed.notify_one();
    }

    /// Something is wrong that has nothing to do with what is owned.
    pub(crate) fn report(&self, kind: ErrorKind) {
        self.say(Err(Error::new(kind, "a row is of a newer schema")));
    }

    /// A call, such as `commit a`, fails so often.
    pub(crate) fn fail(&self, call: &str, kind: ErrorKind, times: usize) {
        self.state().failures.entry(call.to_owned()).or_default().extend(vec![kind; times]);
    }

    /// A call, such as `commit a`, panics so often.
    pub(crate) fn panic(&self, call: &str, times: usize) {
        self.state().panics.insert(call.to_owned(), times);
    }

    /// A call, such as `commit a`, hangs for ever.
    pub(crate) fn hang(&self, call: &str) {
        self.state().hanging.insert(call.to_owned());
    }

    /// A call, such as `commit a`, takes so long.
    pub(crate) fn slow(&self, call: &str, pause: Duration) {
        self.state().slow.insert(call.to_owned(), pause);
    }

    async fn called(&self, call: &str, partition: &str, said: &str) -> Result<()> {
        let name = format!("{call} {partition}").trim_end().to_owned();
        self.panic_if_told(&name);
        let failure = {
            let mut state = self.state();
            let entry = format!("{name} {said}").trim_end().to_owned();
            let failure = state.failures.get_mut(&name).and_then(VecDeque::pop_front);
            state.journal.push(if failure.is_some() { format!("{entry} fails") } else { entry });
            failure
        };
        if self.state().hanging.contains(&name) {
            std::future::pending::<()>().await;
        }
        let pause = self.state().slow.get(&name).copied();
        if let Some(pause) = pause {
            sleep(pause).await;
        }
        failure.map_or(Ok(()), |kind| Err(Error::new(kind, "as the test says")))
    }

    fn panic_if_told(&self, name: &str) {
        let mut state = self.state();
        let Some(left) = state.panics.get_mut(name).filter(|left| **left > 0) else { return };
        *left -= 1;
        state.journal.push(format!("{name} panics"));
        drop(state);
        panic!("as the test says");
    }

    /// What was called so far, without what is called in between all the time.
    pub(crate) fn journal(&self) -> Vec<String> {
        self.state()
            .journal
            .iter()
            .filter(|entry| !entry.starts_with("read ") || entry.ends_with(" panics"))
            .cloned()
            .collect()
    }

    /// Where in the journal an entry stands for the first time.
    pub(crate) fn when(&self, entry: &str) -> usize {
        let journal = self.journal();
        journal.iter().position(|other| other == entry).unwrap_or_else(|| panic!("no {entry:?} in {journal:?}"))
    }

    pub(crate) fn has(&self, entry: &str) -> bool {
        self.journal().iter().any(|other| other == entry)
    }

    /// What was measured of whether partitions can be read.
    pub(crate) fn measured(&self) -> Vec<(String, Option<ErrorKind>)> {
        self.state().measured.clone()
    }

    /// What was named so far: partition, position, attempts, and what was settled before it.
    pub(crate) fn named(&self) -> Vec<(String, u64, u32, Option<u64>)> {
        let state = self.state();
        let plain = |(partition, settled, suspect): &(String, Option<Position>, Suspect)| {
            (partition.clone(), number(&suspect.position), suspect.attempts, settled.as_ref().map(number))
        };
        state.named.iter().map(plain).collect()
    }

    /// How many bytes are held, as was measured last.
    pub(crate) fn held(&self) -> usize {
        self.state().held
    }

    /// Its readers are pushed to.
    pub(crate) fn push(&self) {
        self.state().pushes = true;
    }

    /// How many hold on to it.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Consumes it. What is settled is committed only where a test asks for it.
    pub(crate) fn open(&self, change: impl FnOnce(&mut LogSettings)) -> LogConsumer {
        let mut settings = LogSettings::default();
        settings.commit_interval = 3600 * SECOND;
        settings.observer = Arc::new(self.clone());
        change(&mut settings);
        LogConsumer::new(Arc::new(self.clone()), Arc::new(self.clone()), settings)
    }
}

#[async_trait]
impl Log for Scene {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("scene", "orders")
    }

    fn identity(&self) -> Option<Identity> {
        None
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        Ok(Vec::new())
    }

    async fn open(&self, partition: &str, start: &Start, epoch: u64, ahead: usize) -> Result<Box<dyn Reader>> {
        self.called("open", partition, &epoch.to_string()).await?;
        let next = match start {
            Start::After(position) => number(position) + 1,
            _ => 1,
        };
        let ahead = if self.state().pushes { ahead } else { 0 };
        Ok(Box::new(Read { scene: self.clone(), partition: partition.to_owned(), next, ahead }))
    }

    async fn close(&self) -> Result<()> {
        self.called("close", "", "").await
    }
}

struct Read {
    scene: Scene,
    partition: String,
    next: u64,
    ahead: usize,
}

#[async_trait]
impl Reader for Read {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        self.scene.called("read", &self.partition, "").await?;
        let resume = {
            let mut state = self.scene.state();
            state.reads += 1;
            state.resumes.then(|| Start::At(UNIX_EPOCH + SECOND * u32::try_from(state.reads).unwrap()))
        };
        let (trimmed, last, bytes, ended, nameless, removed) = {
            let state = self.scene.state();
            let stored = &state.partitions[&self.partition];
            (stored.trimmed, stored.last, stored.bytes, stored.ended, stored.nameless, stored.removed)
        };
        if self.next <= trimmed {
            return Ok(Page::Trimmed { oldest: Some(Position::Number(trimmed + 1)) });
        }
        if self.next > last && removed {
            return Ok(Page::Removed);
        }
        if self.next > last && ended && nameless {
            return Ok(Page::End { children: Vec::new() });
        }
        if self.next > last && ended {
            return Ok(Page::End { children: vec![Partition::new("child").with_parents([self.partition.clone()])] });
        }
        if self.next > last {
            sleep(SECOND / 10).await;
            return Ok(Page::Records { records: Vec::new(), lag: None, caught_up: !self.scene.state().unsure, resume });
        }
        let record = |number: u64| {
            let text = format!("{}{number}", self.partition);
            let message = Message::new(format!("{text:-<bytes$}"));
            Record { message, position: number.into(), stored_at: None }
        };
        let fit = budget.bytes.div_ceil(bytes).min(budget.messages) as u64;
        let end = last.min(self.next + fit - 1);
        let records = (self.next..=end).map(record).collect();
        self.next = end + 1;
        Ok(Page::Records { records, lag: Some(Lag::Messages(last - end)), caught_up: last == end, resume })
    }

    fn ahead(&self) -> usize {
        self.ahead
    }

    async fn close(self: Box<Self>) -> Result<()> {
        self.scene.called("shut", &self.partition, "").await
    }
}

#[async_trait]
impl Ownership for Scene {
    async fn next(&self) -> Result<Option<Change>> {
        loop {
            {
                let mut state = self.state();
                if let Some(change) = state.changes.pop_front() {
                    return change.map(Some);
                }
                if state.closing && state.owned.is_empty() {
                    return Ok(None);
                }
            }
            self.0.changed.notified().await;
        }
    }

    async fn commit(&self, progress: &Progress) -> Result<()> {
        self.called("commit", &progress.partition, &progress.position.to_string()).await
    }

    async fn resume_at(&self, partition: &str, _: u64, start: &Start) -> Result<()> {
        let said = if matches!(start, Start::At(_)) { "" } else { "at no time" };
        self.called("resume", partition, said).await
    }

    async fn suspect(&self, partition: &str, _: u64, settled: Option<&Position>, suspect: &Suspect) -> Result<()> {
        self.called("suspect", partition, &suspect.position.to_string()).await?;
        self.state().named.push((partition.to_owned(), settled.cloned(), suspect.clone()));
        Ok(())
    }

    async fn release(&self, partition: &str, epoch: u64) -> Result<()> {
        self.called("release", partition, &epoch.to_string()).await?;
        self.state().owned.remove(partition);
        self.0.changed.notify_one();
        Ok(())
    }

    async fn finish(&self, partition: &str, epoch: u64, became: Became) -> Result<()> {
        let said = match became {
            Became::Children(children) if children.is_empty() => " unknown",
            Became::Children(_) => "",
            Became::Nothing => " removed",
        };
        self.called("finish", partition, &format!("{epoch}{said}")).await?;
        self.state().owned.remove(partition);
        Ok(())
    }

    async fn returned(&self, partition: &str, epoch: u64) {
        let _ = self.called("returned", partition, &epoch.to_string()).await;
    }

    fn on_renewal(&self, _: Renew) {}

    async fn close(&self) -> Result<()> {
        self.called("leave", "", "").await?;
        let mut state = self.state();
        state.closing = true;
        let revoked = |(partition, epoch): (&String, &u64)| {
            Ok(Change::Revoked { partition: partition.as_str().into(), epoch: *epoch })
        };
        let revoked: Vec<_> = state.owned.iter().map(revoked).collect();
        state.changes.extend(revoked);
        self.0.changed.notify_one();
        Ok(())
    }
}

impl Observer for Scene {
    fn observe(&self, measure: Measure<'_>) {
        if let Measure::Reading { partition, failed } = measure {
            self.state().measured.push((partition.to_owned(), failed));
        } else if let Measure::Held { bytes, .. } = measure {
            self.state().held = bytes;
        }
    }
}

/// The next reply that is not empty.
pub(crate) async fn next(consumer: &LogConsumer) -> Result<Vec<Received>> {
    loop {
        let reply = consumer.receive(Budget::new(10, 1 << 20)).await;
        if reply.as_ref().is_err() || reply.as_ref().is_ok_and(|batch| !batch.is_empty()) {
            return reply;
        }
    }
}

/// What comes within ten seconds.
pub(crate) async fn receive(consumer: &LogConsumer) -> Vec<Received> {
    timeout(10 * SECOND, next(consumer)).await.map_or_else(|_| Vec::new(), Result::unwrap)
}

pub(crate) fn texts(batch: &[Received]) -> Vec<String> {
    let text = |received: &Received| String::from_utf8_lossy(&received.message.payload).into_owned();
    batch.iter().map(|received| text(received).trim_end_matches('-').to_owned()).collect()
}

pub(crate) async fn settle(consumer: &LogConsumer, batch: Vec<Received>) {
    let tokens: Vec<_> = batch.iter().map(|received| received.claim.token()).collect();
    for outcome in consumer.settle(&tokens).await {
        outcome.unwrap();
    }
}
