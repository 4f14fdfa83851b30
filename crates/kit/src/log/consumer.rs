use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{Budget, Consumer, Guarantees, Observer, Received, Result, Token, Unobserved};
use tokio::{
    sync::{Mutex as AsyncMutex, Notify, watch},
    task::JoinHandle,
    time::Instant,
};

use super::{Log, Ownership, driver, tenure::Tenures};
use crate::answers;

/// How a [`LogConsumer`] works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogSettings {
    /// Most messages delivered or read ahead and not settled up to, over all partitions; each partition has an equal
    /// share, at least 1. To be at least what the receiver holds. Default: 1,024.
    pub buffer: usize,
    /// Most bytes read ahead, over all partitions, exceeded by at most a message each. Default: 16 MiB.
    pub buffer_bytes: usize,
    /// Most records asked for at once. Default: 256.
    pub page: usize,
    /// How often progress is committed. What was settled since comes again after a crash. Default: 1 s.
    pub commit_interval: Duration,
    /// How long a partition may drain before it is handed over regardless. Default: 30 s.
    pub grace: Duration,
    /// How often dropped claims are looked for. Default: 500 ms.
    pub sweep: Duration,
    /// What happens when the position to read from is no longer stored. Default: it fails.
    pub trimmed: Trimmed,
    /// What hears of what is measured.
    pub observer: Arc<dyn Observer>,
}

/// What happens when the position to read from is no longer stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trimmed {
    /// The partition is not read, and receiving reports it.
    #[default]
    Fail,
    /// It goes on at the oldest record there is, with a warning: what lies between is lost.
    Skip,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            buffer: 1024,
            buffer_bytes: 16 << 20,
            page: 256,
            commit_interval: Duration::from_secs(1),
            grace: Duration::from_secs(30),
            sweep: Duration::from_millis(500),
            trimmed: Trimmed::default(),
            observer: Arc::new(Unobserved),
        }
    }
}

/// A [`Consumer`] of a [`Log`]: reads the partitions that its [`Ownership`] gives it, and commits a contiguous watermark.
///
/// Each partition has a reader of its own and an equal share of the buffer, so that one that fails or is not settled
/// keeps no other from being read. A claim that is dropped unsettled has its partition read again from the watermark,
/// within a second. Dropped without [`close`](Consumer::close), it stops, and its partitions go to others after a crash.
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
    /// A partition was gained in quarantine.
    pub(super) quarantined: Notify,
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

impl LogConsumer {
    /// Consumes `log` as far as `ownership` gives it. Must be called inside a Tokio runtime.
    pub fn new(log: Arc<dyn Log>, ownership: Arc<dyn Ownership>, settings: LogSettings) -> Self {
        let shared = Arc::new(Shared {
            log,
            ownership,
            settings,
            tenures: Mutex::default(),
            ready: Notify::new(),
            lost: Notify::new(),
            quarantined: Notify::new(),
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
        if let Some(driver) = self.driver.get_mut().take()
            && !*self.shared.closing.borrow()
        {
            driver.abort();
            self.shared.tenures().end_all(); // its readers hold what is shared, and would keep it for ever
        }
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
                if let Some(error) = tenures.errors.pop_front() {
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

    async fn close(&self) -> Result<()> {
        self.shared.closing.send_replace(true);
        if let Some(driver) = self.driver.lock().await.take() {
            let _ = driver.await; // it does not panic, and nobody aborts it once it closes
        }
        self.shared.closed.lock().expect("nothing panics while holding this").clone()
    }
}
