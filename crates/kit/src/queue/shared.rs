use std::{
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_core::{Error, ErrorKind, Guarded, Measure, Ordering, Result};
use tokio::{
    sync::{Mutex as AsyncMutex, watch},
    time::{self, MissedTickBehavior},
};

use super::{LeaseTerms, Queue, QueueSettings, held::Held};

/// What a consumer shares with the tasks that renew and release its leases.
pub(super) struct Shared<Q: Queue> {
    pub(super) queue: Q,
    pub(super) settings: QueueSettings,
    pub(super) terms: LeaseTerms,
    held: Mutex<Held<Q::Handle>>,
    /// Held by whoever releases: the order of releases is that of their calls.
    pub(super) releasing: AsyncMutex<()>,
    /// Whether the provider refuses a call for want of a permission.
    denied: [AtomicBool; 3],
}

/// A call that keeps, ends or postpones leases.
#[derive(Clone, Copy, Debug)]
pub(super) enum Call {
    Extend,
    Release,
    Postpone,
}

impl Call {
    fn name(self) -> &'static str {
        match self {
            Self::Extend => "extend",
            Self::Release => "release",
            Self::Postpone => "postpone",
        }
    }
}

impl<Q: Queue> Shared<Q> {
    pub(super) fn new(queue: Q, mut settings: QueueSettings) -> Self {
        settings.observer = Arc::new(Guarded::new(settings.observer));
        let ordered = queue.guarantees().ordering == Ordering::Key;
        let held = Mutex::new(Held::new(ordered, settings.release_lost));
        Self {
            terms: queue.lease_terms(),
            queue,
            settings,
            held,
            releasing: AsyncMutex::default(),
            denied: Default::default(),
        }
    }

    pub(super) fn held(&self) -> MutexGuard<'_, Held<Q::Handle>> {
        self.held.lock().expect("nothing panics while holding this")
    }

    /// Says how a call went. Not under a lock: whoever hears of it may be slow.
    pub(super) fn heard(&self, call: Call, worked: bool, errors: &[Error]) {
        let name = call.name();
        for error in errors {
            self.settings.observer.observe(Measure::Failed { call: name, kind: error.kind() });
            tracing::debug!(call = name, %error, "a call for a lease failed; it is tried again for as long as that lasts");
        }
        let denied = &self.denied[call as usize];
        if let Some(error) = errors.iter().find(|error| error.kind() == ErrorKind::Denied) {
            if !denied.swap(true, Relaxed) {
                tracing::warn!(call = name, %error, "a permission is missing: messages come again when their leases end");
                self.settings.observer.observe(Measure::Denied { call: name, now: true });
            }
        } else if worked && denied.load(Relaxed) {
            denied.store(false, Relaxed);
            tracing::info!(call = name, "a call that was denied is allowed");
            self.settings.observer.observe(Measure::Denied { call: name, now: false });
        }
    }

    /// The shortest and the longest pause before a call for a lease is tried again.
    pub(super) fn pauses(&self) -> (Duration, Duration) {
        let lease = self.terms.lease;
        ((lease / 30).max(Duration::from_millis(1)), lease / 6)
    }
}

/// Whether a lease is no longer ours, and will not be again.
pub(super) fn is_gone(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Lost)
}

/// The outcomes of a call for so many handles: if there are fewer, those that are missing failed.
pub(super) fn complete(outcomes: Vec<Result<()>>) -> impl Iterator<Item = Result<()>> {
    let missing = || Err(Error::new(ErrorKind::Other, "the provider gave fewer outcomes than it was asked for"));
    outcomes.into_iter().chain(std::iter::repeat_with(missing))
}

/// Resolves once the flag is raised, or nobody is left to raise it.
pub(super) async fn raised(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|raised| *raised).await.map(drop);
}

/// Ticks that come late are not made up for.
pub(super) fn ticks(period: Duration) -> time::Interval {
    let mut ticks = time::interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
