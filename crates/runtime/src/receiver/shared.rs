use std::sync::{
    Arc, Mutex, MutexGuard,
    atomic::{AtomicU32, Ordering::Relaxed},
};

use strait_core::{Error, Guarantees, Result};
use tokio::sync::{Notify, watch};

use super::desk::Desk;

/// What receivers, deliveries and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(super) guarantees: Guarantees,
    desk: Mutex<Desk>,
    /// Something is ready.
    pub(super) ready: Notify,
    /// Something is for the driver to do.
    pub(super) work: Notify,
    /// How it ended, once it has.
    pub(super) ended: watch::Sender<Option<Result<()>>>,
    receive_failures: AtomicU32,
}

impl Shared {
    pub(super) fn new(name: Arc<str>, guarantees: Guarantees, desk: Desk) -> Self {
        Self {
            name,
            guarantees,
            desk: Mutex::new(desk),
            ready: Notify::new(),
            work: Notify::new(),
            ended: watch::Sender::new(None),
            receive_failures: AtomicU32::new(0),
        }
    }

    #[inline]
    pub(super) fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("nothing panics while holding this")
    }

    /// Wakes one task that waits and was not told yet, if there is something for it. It passes the word on.
    #[inline]
    pub(super) fn tell(&self, desk: &mut Desk) {
        if desk.told < desk.waiting && desk.has_news() {
            desk.told += 1;
            self.ready.notify_one();
        }
    }

    /// Passes the word on, and wakes the driver if there is room for what comes next.
    #[inline]
    pub(super) fn handed_out(&self, desk: &mut Desk) {
        self.tell(desk);
        if desk.is_hungry() {
            self.work.notify_one();
        }
    }

    /// Takes nothing more in.
    pub(super) fn close(&self) {
        self.change(Desk::close);
    }

    /// Nobody is left to receive.
    pub(super) fn abandon(&self) {
        self.change(Desk::abandon);
    }

    pub(super) fn break_off(&self, error: Error) {
        self.change(|desk| desk.break_off(error));
    }

    fn change(&self, change: impl FnOnce(&mut Desk)) {
        self.take_back(|desk| {
            change(desk);
            true
        });
    }

    /// Takes back what was lent out. `end` returns whether the driver should know.
    #[inline]
    pub(super) fn take_back(&self, end: impl FnOnce(&mut Desk) -> bool) {
        let mut desk = self.desk();
        let work = end(&mut desk);
        self.tell(&mut desk);
        drop(desk);
        if work {
            self.work.notify_one();
        }
    }

    /// It is over. Only the first call counts.
    pub(super) fn end(&self, outcome: Result<()>) {
        self.change(Desk::end);
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            ended.get_or_insert(outcome);
            first
        });
    }

    pub(super) fn receive_failures(&self, count: u32) {
        self.receive_failures.store(count, Relaxed);
    }

    pub(super) fn failures(&self) -> u32 {
        self.receive_failures.load(Relaxed)
    }
}
