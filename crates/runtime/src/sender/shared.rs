use std::{
    fmt,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use strait_core::{Error, ErrorKind, Guarded, Limits, Measure, Observer as _, Result};
use tokio::{
    sync::{Notify, Semaphore, watch},
    time::Instant,
};

use super::{
    SenderSettings,
    state::{News, State},
};

/// What handles, outcomes and the driver share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: Arc<str>,
    pub(super) buffer_bytes: usize,
    observer: Guarded,
    state: Mutex<State>,
    /// Bytes of the buffer that are free. Whoever waits for room is served in turn.
    pub(super) room: Semaphore,
    /// Something is for the driver to do.
    pub(super) work: Notify,
    /// A flush may be over.
    pub(super) flushed: Notify,
    /// A message of a throttled key may find room.
    pub(super) eased: Notify,
    pub(super) ended: watch::Sender<Option<Result<()>>>,
    /// Whether it was said that headers are left out.
    has_left_out: AtomicBool,
}

impl Shared {
    pub(super) fn new(settings: SenderSettings, limits: Limits) -> Self {
        Self {
            name: Arc::clone(&settings.name),
            buffer_bytes: settings.buffer_bytes,
            observer: Guarded::new(Arc::clone(&settings.observer)),
            room: Semaphore::new(settings.buffer_bytes),
            state: Mutex::new(State::new(settings, limits)),
            work: Notify::new(),
            flushed: Notify::new(),
            eased: Notify::new(),
            ended: watch::Sender::new(None),
            has_left_out: AtomicBool::new(false),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding this")
    }

    /// Changes the state, and then tells those whom it concerns.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State, &mut News) -> T) -> T {
        let mut news = News::default();
        let mut state = self.state();
        let result = change(&mut state, &mut news);
        let held = Measure::Buffered { messages: state.messages(), bytes: state.bytes() };
        drop(state);
        if let Some(kind) = news.failed {
            self.observer.observe(Measure::Failed { call: "send", kind });
        }
        if news.freed > 0 {
            self.observer.observe(held);
            self.room.add_permits(news.freed);
        }
        if news.flushed {
            self.flushed.notify_waiters();
        }
        if news.eased {
            self.eased.notify_waiters();
        }
        for waker in news.wakers {
            waker.wake();
        }
        result // and what was let go of is dropped
    }

    /// Headers of a message were left out. Said aloud once: where one message has them, many do.
    #[cold]
    pub(super) fn left_out(&self, reason: &Error) {
        if self.has_left_out.swap(true, Relaxed) {
            tracing::debug!(sender = %self.name, %reason, "headers that the provider cannot carry were left out");
        } else {
            tracing::warn!(
                sender = %self.name, %reason,
                "headers that the provider cannot carry were left out; later ones are told at debug level"
            );
        }
    }

    /// Closes, and ends everything by then.
    pub(super) fn close_by(&self, end: Instant) {
        let mut state = self.state();
        state.ends_by = Some(state.ends_by.map_or(end, |other| other.min(end)));
        drop(state);
        self.close();
    }

    pub(super) fn close(&self) {
        self.state().closed = true;
        self.room.close();
        self.eased.notify_waiters();
        self.work.notify_one();
    }

    /// It is over. Only the first call counts.
    pub(super) fn end(&self, outcome: Result<()>) {
        self.close();
        self.flushed.notify_waiters();
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(outcome);
            first
        });
    }

    #[cold]
    pub(super) fn error(&self, kind: ErrorKind, text: impl fmt::Display) -> Error {
        Error::new(kind, format!("{}: {text}", self.name))
    }

    pub(super) fn is_closed(&self) -> Error {
        self.error(ErrorKind::Closed, "is closed")
    }
}
