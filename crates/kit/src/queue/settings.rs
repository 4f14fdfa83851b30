use std::{sync::Arc, time::Duration};

use strait_core::{Observer, Unobserved};

/// How a [`QueueConsumer`](super::QueueConsumer) works.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueSettings {
    /// Most polls under way at once. There are as few as keep the budget full. Default: 1.
    pub pollers: usize,
    /// The most messages that one poll may bring. Default: as many as are asked for.
    pub per_poll: usize,
    /// How long closing waits for the polls under way, to release what they bring, and a third of it once more if a poll
    /// that is still under way may take what was released. Default: not at all, for providers that take nothing along with
    /// a poll that is broken off.
    pub last_polls: Duration,
    /// Whether what was lost is released too, in its turn: for providers that would else deliver what is behind it of its
    /// key first, and whose handles name one delivery only. Default: no.
    pub release_lost: bool,
    /// How often claims that were dropped, or ended, are looked for. Default: 500 ms.
    pub sweep: Duration,
    /// What hears of what is measured.
    pub observer: Arc<dyn Observer>,
}

impl Default for QueueSettings {
    fn default() -> Self {
        Self {
            pollers: 1,
            per_poll: usize::MAX,
            last_polls: Duration::ZERO,
            release_lost: false,
            sweep: Duration::from_millis(500),
            observer: Arc::new(Unobserved),
        }
    }
}
