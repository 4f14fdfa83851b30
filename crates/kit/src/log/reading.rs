//! The task that reads a partition, as seen from its two ends.

use tokio::sync::watch;

/// The engine's end of a task that reads. Dropped, it tells the task to stop.
#[derive(Debug)]
pub(super) struct Reading {
    _stop: watch::Sender<()>,
    ended: Ended,
}

/// Tells when a task has closed its reader, and ended.
#[derive(Clone, Debug)]
pub(super) struct Ended(watch::Receiver<()>);

/// The task's own end. It ends with the task.
#[derive(Debug)]
pub(super) struct Stop {
    stop: watch::Receiver<()>,
    _ended: watch::Sender<()>,
}

impl Reading {
    /// The two ends of a task that is not started yet.
    pub(super) fn new() -> (Self, Stop) {
        let ((stop, stopped), (ended, over)) = (watch::channel(()), watch::channel(()));
        (Self { _stop: stop, ended: Ended(over) }, Stop { stop: stopped, _ended: ended })
    }

    /// Tells the task to close its reader and to end.
    pub(super) fn stop(self) -> Ended {
        self.ended
    }
}

impl Ended {
    pub(super) fn has(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits for it. Cancel-safe.
    pub(super) async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

impl Stop {
    /// Waits until the task is told to stop. Cancel-safe.
    pub(super) async fn told(&mut self) {
        while self.stop.changed().await.is_ok() {}
    }
}
