use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use strait_core::{Budget, Error, ErrorKind, Guarantees, Key, Message, Ordering, Origin, Result};
use strait_kit::{LeaseTerms, Leased, Pause, Queue};
use tokio::time::{Instant, sleep};

pub(crate) const LEASE: Duration = Duration::from_secs(30);

/// A queue that holds numbered messages, each delivered once, and does as it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stub(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<u64>,
    /// How long a poll that brings nothing takes; for ever unless it is told.
    empty_after: Option<Duration>,
    polls: Vec<Instant>,
    /// How long a call that releases takes, what the next ones fail with, and how many each was for.
    release_takes: Duration,
    release_fails: VecDeque<ErrorKind>,
    released: Vec<u64>,
    calls: Vec<usize>,
    extend_fails: Option<ErrorKind>,
    /// How many leases were extended, and how long a call for that takes.
    extended: usize,
    extend_takes: Duration,
    postponed: Vec<(u64, Duration)>,
    /// The calls that panic next, by name.
    panics: Vec<&'static str>,
    /// How long a call that postpones takes, and what the next ones fail with.
    postpone_takes: Duration,
    postpone_fails: VecDeque<ErrorKind>,
}

impl Stub {
    /// Holds so many.
    pub(crate) fn of(count: u64) -> Self {
        let stub = Self::default();
        stub.change(|state| state.messages.extend(0..count));
        stub
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap())
    }

    /// Holds one more.
    pub(crate) fn put(&self, number: u64) {
        self.change(|state| state.messages.push_back(number));
    }

    /// A poll that brings nothing takes so long.
    pub(crate) fn empty_after(&self, time: Duration) {
        self.change(|state| state.empty_after = Some(time));
    }

    /// The next call of this name panics.
    pub(crate) fn panic(&self, call: &'static str) {
        self.change(|state| state.panics.push(call));
    }

    fn called(&self, call: &str) {
        let told =
            self.change(|state| state.panics.iter().position(|told| *told == call).map(|at| state.panics.remove(at)));
        assert!(told.is_none(), "{call} panics, as told");
    }

    /// Calls that are still to panic.
    pub(crate) fn to_panic(&self) -> Vec<&'static str> {
        self.change(|state| state.panics.clone())
    }

    /// When each poll began.
    pub(crate) fn polls(&self) -> Vec<Instant> {
        self.change(|state| state.polls.clone())
    }

    /// A call that releases takes so long.
    pub(crate) fn release_takes(&self, time: Duration) {
        self.change(|state| state.release_takes = time);
    }

    /// The next calls that release fail so.
    pub(crate) fn release_fails(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.change(|state| state.release_fails.extend(kinds));
    }

    /// Calls that extend fail so from now on, or work.
    pub(crate) fn extend_fails(&self, kind: Option<ErrorKind>) {
        self.change(|state| state.extend_fails = kind);
    }

    /// How many leases were extended.
    pub(crate) fn extended(&self) -> usize {
        self.change(|state| state.extended)
    }

    /// A call that extends takes so long.
    pub(crate) fn extend_takes(&self, time: Duration) {
        self.change(|state| state.extend_takes = time);
    }

    /// What was postponed, and for how long.
    pub(crate) fn postponed(&self) -> Vec<(u64, Duration)> {
        self.change(|state| state.postponed.clone())
    }

    /// A call that postpones takes so long.
    pub(crate) fn postpone_takes(&self, time: Duration) {
        self.change(|state| state.postpone_takes = time);
    }

    /// The next calls that postpone fail so.
    pub(crate) fn postpone_fails(&self, kinds: impl IntoIterator<Item = ErrorKind>) {
        self.change(|state| state.postpone_fails.extend(kinds));
    }

    /// What was released, in this order.
    pub(crate) fn released(&self) -> Vec<u64> {
        self.change(|state| state.released.clone())
    }

    /// How many each call was to release.
    pub(crate) fn calls(&self) -> Vec<usize> {
        self.change(|state| state.calls.clone())
    }
}

impl Queue for Stub {
    type Handle = u64;

    fn guarantees(&self) -> Guarantees {
        Guarantees::new("stub", "orders").with_ordering(Ordering::Key).with_postpones(100 * LEASE)
    }

    fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms { lease: LEASE, longest: 100 * LEASE }
    }

    fn counts_deliveries(&self) -> bool {
        true
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Leased<u64>>> {
        self.called("receive");
        let (some, empty_after) = self.change(|state| {
            state.polls.push(Instant::now());
            let most = budget.messages.min(state.messages.len());
            (state.messages.drain(..most).collect::<Vec<_>>(), state.empty_after)
        });
        if some.is_empty() {
            match empty_after {
                Some(time) => sleep(time).await,
                None => std::future::pending().await,
            }
        }
        // The first ten are of one key, the next ten of another, and so on.
        let key = |number: u64| Key::new(&(number / 10).to_string()).unwrap();
        let message = |number| Message::new("x").with_key(key(number));
        let leased = |number: u64| Leased { message: message(number), handle: number, origin: Origin::new(number) };
        Ok(some.into_iter().map(leased).collect())
    }

    async fn delete(&self, handles: &[u64]) -> Vec<Result<()>> {
        self.called("delete");
        vec![Ok(()); handles.len()]
    }

    async fn extend(&self, handles: &[u64]) -> Vec<Result<()>> {
        self.called("extend");
        sleep(self.change(|state| state.extend_takes)).await;
        self.change(|state| state.extended += handles.len());
        match self.change(|state| state.extend_fails) {
            Some(kind) => vec![Err(Error::new(kind, "as told")); handles.len()],
            None => vec![Ok(()); handles.len()],
        }
    }

    async fn release(&self, handles: &[u64]) -> Vec<Result<()>> {
        self.called("release");
        let time = self.change(|state| {
            state.calls.push(handles.len());
            state.release_takes
        });
        sleep(time).await;
        self.change(|state| {
            let fails = state.release_fails.pop_front();
            if fails.is_none() {
                state.released.extend(handles);
            }
            let outcome = fails.map_or(Ok(()), |kind| Err(Error::new(kind, "as told")));
            vec![outcome; handles.len()]
        })
    }

    async fn postpone(&self, pauses: &[Pause<u64>]) -> Vec<Result<()>> {
        self.called("postpone");
        sleep(self.change(|state| state.postpone_takes)).await;
        self.change(|state| {
            let fails = state.postpone_fails.pop_front();
            if fails.is_none() {
                state.postponed.extend(pauses.iter().map(|pause| (pause.handle, pause.time)));
            }
            let outcome = fails.map_or(Ok(()), |kind| Err(Error::new(kind, "as told")));
            vec![outcome; pauses.len()]
        })
    }

    async fn close(&self) -> Result<()> {
        self.called("close");
        Ok(())
    }
}
