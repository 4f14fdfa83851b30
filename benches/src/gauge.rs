use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use tokio_util::sync::CancellationToken;

/// Counts messages, and tells what they took: time, and time of the processor, of all threads of this process. The first
/// fifth is to warm up.
#[derive(Debug)]
pub struct Gauge {
    messages: usize,
    seen: AtomicUsize,
    marks: Mutex<Vec<(Instant, Duration)>>,
    /// Cancelled once all were seen.
    pub done: CancellationToken,
}

/// What a message took, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// On the clock.
    pub time: f64,
    /// Of the processor.
    pub processor: f64,
}

impl Gauge {
    /// For so many messages.
    pub fn new(messages: usize) -> Self {
        let (seen, marks) = (AtomicUsize::new(0), Mutex::default());
        Self { messages, seen, marks, done: CancellationToken::new() }
    }

    fn warm(&self) -> usize {
        self.messages / 5
    }

    /// So many more were seen.
    pub fn hit(&self, count: usize) {
        let before = self.seen.fetch_add(count, Relaxed);
        let crossed = |mark: usize| before < mark && before + count >= mark;
        if crossed(self.warm()) || crossed(self.messages) {
            self.marks.lock().unwrap_or_else(PoisonError::into_inner).push((Instant::now(), processor()));
        }
        if crossed(self.messages) {
            self.done.cancel();
        }
    }

    /// Whether all were seen.
    pub fn is_done(&self) -> bool {
        self.done.is_cancelled()
    }

    /// What a message took, once all were seen.
    pub fn taken(&self) -> Option<Taken> {
        let marks = self.marks.lock().unwrap_or_else(PoisonError::into_inner);
        let [(began, before), (ended, after)] = marks[..] else { return None };
        let count = f64::from(u32::try_from(self.messages - self.warm()).ok()?);
        let each = |whole: Duration| whole.as_secs_f64() * 1e6 / count;
        Some(Taken { time: each(ended - began), processor: each(after.saturating_sub(before)) })
    }
}

/// The time of the processor that this process took so far, the kernel's work for it included.
pub fn processor() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ProcessCPUTime)).unwrap_or_default()
}
