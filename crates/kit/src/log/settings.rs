use std::{sync::Arc, time::Duration};

use strait_core::{Observer, Unobserved};

/// How a [`LogConsumer`](super::LogConsumer) works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LogSettings {
    /// Most messages delivered or read ahead and not settled up to, over all partitions; each partition has an equal
    /// share, at least 1. To be at least what the receiver holds. Default: 1,024.
    pub buffer: usize,
    /// Most bytes delivered and not settled, or read ahead, over all partitions; each partition has an equal share, which it
    /// exceeds by at most a message. What a receiver holds is among them: it needs no buffer beside this. Default: 64 MiB.
    pub buffer_bytes: usize,
    /// Most records asked for at once. Default: 256.
    pub page: usize,
    /// How often progress is committed. What was settled since comes again after a crash. Default: 1 s.
    pub commit_interval: Duration,
    /// How often [`resume`](super::Page::Records::resume) is stored of a partition of which nothing else is; also when it is
    /// handed over. To be well below how long the provider keeps a record. Default: 1 h.
    pub resume_interval: Duration,
    /// How long a partition may drain before it is handed over regardless, and how long it then waits for a commit that
    /// fails. Default: 30 s.
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
    /// Receiving reports it, and the partition shows as failing. It is tried again, at least every 30 s.
    #[default]
    Fail,
    /// It goes on at the oldest record there is, with a warning: what lies between is lost.
    Skip,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            buffer: 1024,
            buffer_bytes: 64 << 20,
            page: 256,
            commit_interval: Duration::from_secs(1),
            resume_interval: Duration::from_secs(3600),
            grace: Duration::from_secs(30),
            sweep: Duration::from_millis(500),
            trimmed: Trimmed::default(),
            observer: Arc::new(Unobserved),
        }
    }
}
