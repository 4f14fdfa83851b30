use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{Budget, Consumer, Error, ErrorKind, Guarantees, Guarded, Received, Result, Token};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{Log, LogSettings, Ownership, driver, tenures::Tenures};
use crate::answers;

/// A [`Consumer`] of a [`Log`]: reads the partitions that its [`Ownership`] gives it, and commits a contiguous watermark.
///
/// Each partition has a reader of its own and an equal share of the buffer, so that one that fails or is not settled
/// keeps no other from being read. A claim that is dropped unsettled has its partition read again from the watermark,
/// within a second. A [`close`](Consumer::close) that is dropped goes on until the consumer is dropped, and may be called
/// again. Dropped before it is closed, the consumer stops, and its partitions go to others as after a crash.
#[derive(Debug)]
pub struct LogConsumer {
    shared: Arc<Shared>,
    driver: AsyncMutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) log: Arc<dyn Log>,
    pub(super) ownership: Arc<dyn Ownership>,
    pub(super) settings: LogSettings,
    tenures: Mutex<Tenures>,
    /// Something may be handed out.
    pub(super) ready: Notify,
    /// Something was lost of which claims may be left.
    pub(super) lost: Notify,
    /// Something may have to be asked of the ownership.
    pub(super) work: Arc<Notify>,
    /// Whether it is closed, and at last how that went.
    pub(super) closing: watch::Sender<bool>,
    pub(super) closed: Mutex<Result<()>>,
}

impl Shared {
    pub(super) fn tenures(&self) -> MutexGuard<'_, Tenures> {
        self.tenures.lock().expect("nothing panics while holding this")
    }
}

/// The time as claims count it.
pub(super) fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// A while later, or as late as there is.
pub(super) fn later(now: std::time::Instant, pause: Duration) -> std::time::Instant {
    const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
    now.checked_add(pause).unwrap_or_else(|| now + FAR)
}

impl LogConsumer {
    /// Consumes `log` as far as `ownership` gives it. Must be called inside a Tokio runtime.
    pub fn new(log: Arc<dyn Log>, ownership: Arc<dyn Ownership>, mut settings: LogSettings) -> Self {
        settings.observer = Arc::new(Guarded::new(settings.observer));
        let work = Arc::<Notify>::default();
        let shared = Arc::new(Shared {
            log,
            ownership,
            settings,
            tenures: Mutex::new(Tenures::new(Arc::clone(&work))),
            ready: Notify::new(),
            lost: Notify::new(),
            work,
            closing: watch::Sender::new(false),
            closed: Mutex::new(Ok(())),
        });
        let weak = Arc::downgrade(&shared);
        shared.ownership.on_renewal(Box::new(move |until| {
            if let Some(shared) = weak.upgrade() {
                shared.tenures().renew(until, now());
            }
        }));
        let driver = tokio::spawn(driver::drive(Arc::clone(&shared)));
        Self { shared, driver: AsyncMutex::new(Some(driver)) }
    }

    /// The log beneath: the way out to the provider's own client.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.shared.log
    }

    /// Who says what is owned.
    pub fn ownership(&self) -> &Arc<dyn Ownership> {
        &self.shared.ownership
    }
}

impl Drop for LogConsumer {
    fn drop(&mut self) {
        // Also if a close was given up: who drops it has no more time.
        if let Some(driver) = self.driver.get_mut().take() {
            driver.abort();
        }
        self.shared.tenures().end_all(); // its readers hold what is shared, and would keep it for ever
    }
}

#[async_trait]
impl Consumer for LogConsumer {
    fn guarantees(&self) -> Guarantees {
        self.shared.log.guarantees()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Received>> {
        let shared = &*self.shared;
        let mut closing = shared.closing.subscribe();
        loop {
            let ready = shared.ready.notified();
            {
                let mut tenures = shared.tenures();
                let batch = tenures.hand_out(budget, now);
                if !batch.is_empty() {
                    return Ok(batch);
                }
                if let Some(error) = tenures.take_error() {
                    return Err(error);
                }
                if std::mem::take(&mut tenures.answered) {
                    return Ok(Vec::new());
                }
            }
            tokio::select! {
                biased;
                _ = closing.wait_for(|closing| *closing) => return Err(answers::closed()),
                () = ready => {}
            }
        }
    }

    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        self.shared.tenures().settle(tokens, &self.shared.settings, now)
    }

    async fn postpone(&self, pauses: &[(Token, Duration)]) -> Vec<Result<()>> {
        let refused = || Err(Error::new(ErrorKind::Unsupported, "a log keeps no message back"));
        pauses.iter().map(|_| refused()).collect()
    }

    async fn close(&self) -> Result<()> {
        self.shared.closing.send_replace(true);
        let mut driver = self.driver.lock().await;
        if let Some(running) = driver.as_mut() {
            let _ = running.await; // it does not panic, and nobody aborts it before this is dropped
            *driver = None;
        }
        self.shared.closed.lock().expect("nothing panics while holding this").clone()
    }
}
