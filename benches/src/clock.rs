use std::{
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Instant,
};

use tokio::sync::{Notify, Semaphore};

/// How many messages go between two words to whoever sends.
pub(crate) const CHUNK: usize = 256;

/// How many messages may be unread.
pub(crate) const UNREAD: usize = 1024;

/// Counts what handlers see, and tells how long it took. The first tenth is to warm up, and not timed.
///
/// It looks at what it counted once in 256 messages only, so that next to nothing of what is measured is its own.
#[derive(Debug)]
pub struct Clock {
    /// How many messages there are to count.
    pub messages: usize,
    seen: AtomicUsize,
    began: OnceLock<Instant>,
    ended: OnceLock<Instant>,
    done: Notify,
    room: Semaphore,
    last: fn(),
}

impl Clock {
    /// A clock for `messages` messages, rounded up to a multiple of 256. The handler of the last one calls `last`.
    pub fn new(messages: usize, last: fn()) -> Self {
        Self {
            messages: messages.next_multiple_of(CHUNK),
            seen: AtomicUsize::new(0),
            began: OnceLock::new(),
            ended: OnceLock::new(),
            done: Notify::new(),
            room: Semaphore::new(UNREAD),
            last,
        }
    }

    fn warm(&self) -> usize {
        (self.messages / 10).next_multiple_of(CHUNK)
    }

    /// `count` more were seen, at most 256.
    #[inline]
    pub fn hit(&self, count: usize) {
        let before = self.seen.fetch_add(count, Relaxed);
        if (before ^ (before + count)) >= CHUNK {
            self.chunk((before + count) & !(CHUNK - 1));
        }
    }

    /// A multiple of a chunk was seen.
    #[cold]
    fn chunk(&self, seen: usize) {
        self.room.add_permits(CHUNK);
        if seen == self.warm() {
            let _ = self.began.set(Instant::now());
        }
        if seen == self.messages {
            let _ = self.ended.set(Instant::now());
            (self.last)();
            self.done.notify_one();
        }
    }

    /// Whether all were seen.
    pub fn is_done(&self) -> bool {
        self.seen.load(Relaxed) >= self.messages
    }

    /// Waits until all were seen.
    pub async fn done(&self) {
        self.done.notified().await;
    }

    /// Waits until a chunk more may be sent.
    pub(crate) async fn room(&self) {
        self.room.acquire_many(256).await.expect("is never closed").forget();
    }

    /// How many nanoseconds a message took, once all were seen.
    pub fn each(&self) -> Option<f64> {
        let taken = self.ended.get()?.duration_since(*self.began.get()?);
        Some(taken.as_secs_f64() * 1e9 / f64::from(u32::try_from(self.messages - self.warm()).ok()?))
    }
}
