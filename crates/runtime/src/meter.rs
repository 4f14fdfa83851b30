use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_core::{ErrorKind, Guarded, Lag, Measure, Observer, Unobserved};

/// Counts what an engine and a receiver measure, for [`Receiver::health`](crate::Receiver::health), and passes it on.
///
/// Whoever opens a channel makes one, gives a clone to the engine as its observer and another to the receiver.
#[derive(Clone, Debug)]
pub struct Meter(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    below: Guarded,
    received: AtomicU64,
    settled: AtomicU64,
    retried: AtomicU64,
    dead_lettered: AtomicU64,
    claims_lost: AtomicU64,
    stalled: AtomicU64,
    messages: AtomicU64,
    bytes: AtomicU64,
    held_bytes: AtomicU64,
    oldest_unsettled: AtomicU64,
    /// What changes rarely, or with a name.
    rare: Mutex<Rare>,
}

#[derive(Debug, Default)]
struct Rare {
    lag: BTreeMap<String, Lag>,
    failing: BTreeMap<String, ErrorKind>,
    failures: BTreeMap<&'static str, (u64, ErrorKind)>,
    denied: BTreeSet<&'static str>,
}

impl Default for Meter {
    fn default() -> Self {
        Self::over(Arc::new(Unobserved))
    }
}

impl Meter {
    /// A meter that passes everything on to `observer`.
    pub fn over(observer: Arc<dyn Observer>) -> Self {
        Self(Arc::new(Inner {
            below: Guarded::new(observer),
            received: AtomicU64::default(),
            settled: AtomicU64::default(),
            retried: AtomicU64::default(),
            dead_lettered: AtomicU64::default(),
            claims_lost: AtomicU64::default(),
            stalled: AtomicU64::default(),
            messages: AtomicU64::default(),
            bytes: AtomicU64::default(),
            held_bytes: AtomicU64::default(),
            oldest_unsettled: AtomicU64::default(),
            rare: Mutex::default(),
        }))
    }

    /// What was counted so far.
    pub fn counts(&self) -> Counts {
        let inner = &self.0;
        let rare = inner.rare.lock().unwrap_or_else(PoisonError::into_inner);
        Counts {
            received: inner.received.load(Relaxed),
            settled: inner.settled.load(Relaxed),
            retried: inner.retried.load(Relaxed),
            dead_lettered: inner.dead_lettered.load(Relaxed),
            claims_lost: inner.claims_lost.load(Relaxed),
            stalled: inner.stalled.load(Relaxed),
            buffered_messages: inner.messages.load(Relaxed),
            buffered_bytes: inner.bytes.load(Relaxed),
            held_bytes: inner.held_bytes.load(Relaxed),
            oldest_unsettled: Duration::from_micros(inner.oldest_unsettled.load(Relaxed)),
            lag: rare.lag.clone(),
            failing: rare.failing.clone(),
            failures: rare.failures.clone(),
            denied: rare.denied.clone(),
        }
    }
}

/// What a [`Meter`] counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Messages received.
    pub received: u64,
    /// Messages settled.
    pub settled: u64,
    /// Attempts that failed and were followed by another.
    pub retried: u64,
    /// Messages stored among the dead letters, or discarded by policy.
    pub dead_lettered: u64,
    /// Claims that were lost.
    pub claims_lost: u64,
    /// Messages that cannot go on by themselves now.
    pub stalled: u64,
    /// Messages held now.
    pub buffered_messages: u64,
    /// Bytes held now.
    pub buffered_bytes: u64,
    /// Bytes that the engine of a log holds, those that are buffered among them, as it last said.
    pub held_bytes: u64,
    /// How long the oldest message that is not settled has been held, as the engine last said.
    pub oldest_unsettled: Duration,
    /// How far each partition's reader is behind, where the provider tells.
    pub lag: BTreeMap<String, Lag>,
    /// Partitions that cannot be read now, and how that failed last.
    pub failing: BTreeMap<String, ErrorKind>,
    /// How often each call to the provider failed, and how the last time.
    pub failures: BTreeMap<&'static str, (u64, ErrorKind)>,
    /// Calls for a message that the provider refuses now, for want of a permission: `settle`, `extend`, `release`.
    pub denied: BTreeSet<&'static str>,
}

impl Observer for Meter {
    fn observe(&self, measure: Measure<'_>) {
        let inner = &*self.0;
        let add = |counter: &AtomicU64, count: usize| {
            counter.fetch_add(count as u64, Relaxed);
        };
        match measure {
            Measure::Received(count) => add(&inner.received, count),
            Measure::Settled(count) => add(&inner.settled, count),
            Measure::Retried => add(&inner.retried, 1),
            Measure::DeadLettered => add(&inner.dead_lettered, 1),
            Measure::ClaimsLost(count) => add(&inner.claims_lost, count),
            Measure::Stalled(count) => inner.stalled.store(count as u64, Relaxed),
            Measure::Buffered { messages, bytes } => {
                inner.messages.store(messages as u64, Relaxed);
                inner.bytes.store(bytes as u64, Relaxed);
            }
            Measure::Held { bytes, .. } => inner.held_bytes.store(bytes as u64, Relaxed),
            Measure::OldestUnsettled(age) => {
                inner.oldest_unsettled.store(u64::try_from(age.as_micros()).unwrap_or(u64::MAX), Relaxed);
            }
            Measure::Lag { partition, lag } => self.rare(|rare| {
                if let Some(known) = rare.lag.get_mut(partition) {
                    *known = lag;
                } else {
                    rare.lag.insert(partition.to_owned(), lag);
                }
            }),
            Measure::Released(partition) => self.rare(|rare| {
                rare.lag.remove(partition);
                rare.failing.remove(partition);
            }),
            Measure::Reading { partition, failed } => self.rare(|rare| {
                match failed {
                    Some(kind) => rare.failing.insert(partition.to_owned(), kind),
                    None => rare.failing.remove(partition),
                };
            }),
            Measure::Denied { call, now } => self.rare(|rare| {
                let _ = if now { rare.denied.insert(call) } else { rare.denied.remove(call) };
            }),
            Measure::Failed { call, kind } => self.rare(|rare| {
                let (count, last) = rare.failures.entry(call).or_insert((0, kind));
                (*count, *last) = (*count + 1, kind);
            }),
            _ => {}
        }
        inner.below.observe(measure);
    }
}

impl Meter {
    fn rare(&self, change: impl FnOnce(&mut Rare)) {
        change(&mut self.0.rare.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
