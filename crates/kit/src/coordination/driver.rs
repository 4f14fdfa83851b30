use std::{
    collections::BTreeMap,
    sync::Arc,
    thread,
    time::{Instant, SystemTime},
};

use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use strait_core::{Error, ErrorKind, Result};
use tokio::{
    runtime,
    sync::{mpsc, oneshot},
    time,
};
use uuid::Uuid;

use super::{
    calls::{Call, Event, Now, Output, Reply},
    coordinator::Shared,
    machine::Machine,
};
use crate::{Log, RowStore};

/// What the coordinator is asked to do, and who waits for it.
#[derive(Debug)]
pub(super) struct Request {
    /// The event, with a ticket that is not set yet.
    pub(super) event: Event,
    pub(super) answer: Option<oneshot::Sender<Result<()>>>,
}

/// Runs a state machine over a store: makes its calls, keeps its time, passes on what it says.
pub(super) struct Driver {
    machine: Machine,
    rows: Arc<dyn RowStore>,
    log: Arc<dyn Log>,
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    calls: FuturesUnordered<BoxFuture<'static, (u64, Reply)>>,
    waiting: BTreeMap<u64, oneshot::Sender<Result<()>>>,
    tickets: u64,
}

impl Driver {
    pub(super) fn new(
        shared: Arc<Shared>,
        rows: Arc<dyn RowStore>,
        log: Arc<dyn Log>,
        requests: mpsc::Receiver<Request>,
    ) -> Result<Self> {
        let names = Box::new(|| Uuid::new_v4().hyphenated().to_string().into());
        let machine = Machine::new(shared.settings.clone(), log.identity(), now(), names)?;
        let (calls, waiting) = (FuturesUnordered::new(), BTreeMap::new());
        Ok(Self { machine, rows, log, shared, requests, calls, waiting, tickets: 0 })
    }

    /// Runs on a thread of its own, so that handlers that block the application's threads cost it no heartbeat.
    pub(super) fn spawn_thread(self) -> Result<()> {
        let failed = |error: std::io::Error| {
            Error::new(ErrorKind::Other, "coordination: a thread could not be started").with_source(error)
        };
        let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let run = move || runtime.block_on(self.run());
        thread::Builder::new().name("strait-coordinator".into()).spawn(run).map_err(failed)?;
        Ok(())
    }

    pub(super) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        // Whatever ends it, those who wait for changes hear of it.
        let _stopped = Stopped(shared);
        self.machine.handle(now(), Event::Tick);
        loop {
            if !self.pass_on() {
                return;
            }
            let wake = self.machine.wake().map(time::Instant::from_std);
            let event = tokio::select! {
                biased;
                Some((call, reply)) = self.calls.next(), if !self.calls.is_empty() => Event::Reply { call, reply },
                () = async { time::sleep_until(wake.unwrap_or_else(time::Instant::now)).await }, if wake.is_some() => Event::Tick,
                request = self.requests.recv() => match request {
                    Some(request) => self.take(request),
                    None => return, // dropped without having been closed: to the others it is dead after the expiry
                },
            };
            self.machine.handle(now(), event);
        }
    }

    fn take(&mut self, Request { mut event, answer }: Request) -> Event {
        if let Some(answer) = answer {
            self.tickets += 1;
            let number = self.tickets;
            match &mut event {
                Event::Commit { ticket, .. }
                | Event::ResumeAt { ticket, .. }
                | Event::Suspect { ticket, .. }
                | Event::Release { ticket, .. }
                | Event::Finish { ticket, .. } => {
                    *ticket = number;
                    self.waiting.insert(number, answer);
                }
                _ => drop(answer.send(Ok(()))),
            }
        }
        event
    }

    /// Does what the machine asks for. Returns whether it goes on.
    fn pass_on(&mut self) -> bool {
        while let Some(output) = self.machine.output() {
            match output {
                Output::Call { id, call } => {
                    let (rows, log) = (Arc::clone(&self.rows), Arc::clone(&self.log));
                    self.calls.push(async move { (id, make(call, &*rows, &*log).await) }.boxed());
                }
                Output::Opened(outcome) => {
                    if let Err(error) = &outcome {
                        tracing::error!(%error, "coordination: this process leaves the group");
                    }
                    self.shared.opened(outcome);
                }
                Output::Change(change) => {
                    for (partition, epoch) in self.shared.push(change) {
                        self.machine.handle(now(), Event::Returned { partition, epoch });
                    }
                }
                Output::Done { ticket, result } => {
                    if let Some(answer) = self.waiting.remove(&ticket) {
                        let _ = answer.send(result); // nobody may wait for it any more
                    }
                }
                Output::Report(error) => {
                    tracing::warn!(%error, "coordination");
                    self.shared.report(error);
                }
                Output::Left => return false,
            }
        }
        true
    }
}

/// Tells those who wait that nothing comes any more.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.stop();
    }
}

async fn make(call: Call, rows: &dyn RowStore, log: &dyn Log) -> Reply {
    match call {
        Call::Get(key) => Reply::Row(rows.get(&key).await),
        Call::Versions(prefix) => Reply::Versions(rows.versions(prefix).await),
        Call::Put { key, expect, value } => Reply::Put(rows.put(&key, expect, value).await),
        Call::Delete(key) => Reply::Deleted(rows.delete(&key).await),
        Call::Partitions => Reply::Partitions(log.partitions().await),
    }
}

/// The wall clock is for first epochs, and for where new groups start.
fn now() -> Now {
    let instant: Instant = time::Instant::now().into_std();
    Now { instant, wall: SystemTime::now() }
}
