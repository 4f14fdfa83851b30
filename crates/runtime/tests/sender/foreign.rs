//! Code that is not the sender's: wakers and payloads whose drop asks the sender something.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Wake, Waker},
    time::Duration,
};

use bytes::Bytes;
use strait_core::{ErrorKind, Message};
use strait_runtime::Sender;

use crate::provider::{Answer, Fate, open, plain, settle};

/// Asks for the health of a sender when it is dropped, which would never end under the sender's lock.
struct Asks {
    sender: Sender,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Asks {
    fn drop(&mut self) {
        self.sender.health();
        self.dropped.fetch_add(1, Relaxed);
    }
}

impl Wake for Asks {
    fn wake(self: Arc<Self>) {}
}

impl AsRef<[u8]> for Asks {
    fn as_ref(&self) -> &[u8] {
        b"payload"
    }
}

#[tokio::test(start_paused = true)]
async fn wakers_and_payloads_are_dropped_without_the_senders_lock() {
    let (provider, sender) = open(|_| {});
    let dropped = Arc::new(AtomicUsize::new(0));
    let asks = || Asks { sender: sender.clone(), dropped: Arc::clone(&dropped) };
    let poll = |pending: &mut strait_runtime::Pending| {
        let waker = Waker::from(Arc::new(asks()));
        assert!(Pin::new(pending).poll(&mut Context::from_waker(&waker)).is_pending());
    };
    // Replaced by another, dropped with its future, and woken.
    provider.answer([Answer::Held]);
    let mut pending = sender.enqueue(plain("a")).await.unwrap();
    poll(&mut pending);
    poll(&mut pending);
    assert_eq!(dropped.load(Relaxed), 1);
    drop(pending);
    assert_eq!(dropped.load(Relaxed), 2);
    let mut pending = sender.enqueue(plain("b")).await.unwrap();
    poll(&mut pending);
    provider.release(1);
    settle().await;
    assert_eq!(dropped.load(Relaxed), 3);
    drop(pending);
    // A payload that was sent, and one that failed.
    let message = || Message::new(Bytes::from_owner(asks()));
    sender.send(message()).await.unwrap();
    provider.rule(|_| Answer::All(Fate::Fail(ErrorKind::Denied)));
    sender.send(message()).await.unwrap_err();
    settle().await;
    assert_eq!(dropped.load(Relaxed), 4, "the one that was stored is the provider's");
    // Two that wait in a request that has not left: one is out of time, and one is left when the sender is closed.
    provider.rule(|_| Answer::Hang);
    for _ in 0..8 {
        drop(sender.enqueue(plain("busy")).await.unwrap());
        settle().await;
    }
    assert!(!sender.enqueue(message()).await.unwrap().await.is_sent());
    settle().await;
    assert_eq!(dropped.load(Relaxed), 5);
    for _ in 0..8 {
        drop(sender.enqueue(plain("busy")).await.unwrap());
        settle().await;
    }
    let left = sender.enqueue(message()).await.unwrap();
    sender.close_within(Duration::ZERO).await.unwrap_err();
    assert!(!left.await.is_sent());
    assert_eq!(dropped.load(Relaxed), 6);
}
