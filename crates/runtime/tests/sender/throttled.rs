//! What the provider throttles leaves room for the rest.

use std::{
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use strait_core::{ErrorKind, Limits};
use strait_runtime::{Sender, SenderSettings, TryEnqueueError};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use crate::provider::{Answer, Fate, MS, Provider, SECOND, accept, keyed, letters, open_with, outcomes, poll, text};

/// A message counts 131: a letter and a digit, its key, and 128 more.
const COST: usize = 131;
const BUFFER: usize = 20 * COST;

/// A provider that throttles keys of small letters while `open` is not set.
fn throttling(change: impl FnOnce(&mut SenderSettings)) -> (Provider, Sender, Arc<AtomicBool>) {
    let (provider, sender) = open_with(Limits::new(10, 10_000), |settings| {
        settings.buffer_bytes = BUFFER;
        settings.deadline = 60 * SECOND;
        change(settings);
    });
    let open = Arc::new(AtomicBool::new(false));
    let is_open = Arc::clone(&open);
    provider.rule(move |batch| {
        let throttles = |text: String| text.starts_with(char::is_lowercase) && !is_open.load(Relaxed);
        let fate = |throttles| if throttles { Fate::Fail(ErrorKind::Throttled) } else { Fate::Store };
        Answer::Each(batch.iter().map(|message| fate(throttles(text(message)))).collect())
    });
    (provider, sender, open)
}

/// Goes on sending one of these after the other, without waiting for outcomes, and counts.
fn flood(sender: &Sender, texts: &'static [&'static str]) -> JoinHandle<usize> {
    let sender = sender.clone();
    tokio::spawn(async move {
        let mut accepted = 0;
        for text in texts.iter().cycle() {
            if sender.enqueue(keyed(text)).await.is_err() {
                break;
            }
            accepted += 1;
            sleep(MS).await;
        }
        accepted
    })
}

#[tokio::test(start_paused = true)]
async fn throttled_keys_hold_at_most_half_of_the_buffer() {
    let (provider, sender, _) = throttling(|_| {});
    let flood = flood(&sender, &["a1", "b1", "c1"]);
    sleep(10 * SECOND).await;
    let health = sender.health();
    assert_eq!((health.bytes, health.throttled_bytes), (BUFFER / 2, BUFFER / 2));
    let start = Instant::now();
    for _ in 0..200 {
        sender.send(keyed("X1")).await.unwrap();
    }
    let many = accept(&sender, (0..10).map(|_| keyed("Y1"))).await;
    assert_eq!(letters(&outcomes(many).await), "SSSSSSSSSS");
    assert!(start.elapsed() < SECOND, "others wait for it: {:?}", start.elapsed());
    assert!(matches!(sender.try_enqueue(keyed("a2")), Err(TryEnqueueError::Full(message)) if text(&message) == "a2"));
    flood.abort();
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn what_waits_goes_on_when_the_provider_does_and_all_of_the_buffer_is_there_again() {
    let (provider, sender, open) = throttling(|_| {});
    let flood = flood(&sender, &["a1", "b1", "c1"]);
    sleep(10 * SECOND).await;
    let mut waiting = pin!(sender.enqueue(keyed("a9")));
    assert!(poll(&mut waiting).await.is_pending());
    open.store(true, Relaxed);
    let pending = timeout(2 * SECOND, waiting).await.expect("it finds room").unwrap();
    assert!(pending.await.is_sent());
    flood.abort();
    sender.flush().await.unwrap();
    assert_eq!((sender.health().bytes, sender.health().throttled_bytes), (0, 0));
    let stored = provider.stored().len();
    // As if nothing had been.
    open.store(false, Relaxed);
    let burst: Vec<_> = std::iter::from_fn(|| sender.try_enqueue(keyed("a1")).ok()).collect();
    assert_eq!(burst.len(), 20, "it is not known yet that it is throttled");
    open.store(true, Relaxed);
    sender.flush().await.unwrap();
    assert_eq!(provider.stored().len(), stored + 20);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_is_ended_by_a_close() {
    let (_, sender, _) = throttling(|settings| settings.deadline = 5 * SECOND);
    let flood = flood(&sender, &["a1"]);
    sleep(SECOND).await;
    let mut waiting = pin!(sender.enqueue(keyed("a9")));
    assert!(poll(&mut waiting).await.is_pending());
    let closing = tokio::spawn({
        let sender = sender.clone();
        async move { sender.close().await }
    });
    let refused = timeout(SECOND, waiting).await.expect("the sender closes").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Closed);
    assert_eq!(flood.await.unwrap(), 10);
    closing.await.unwrap().unwrap();
    assert_eq!(sender.health().throttled_bytes, 0, "what was out of time holds nothing");
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_half_of_the_buffer_waits_for_what_is_throttled() {
    let (provider, sender, open) = throttling(|_| {});
    let first = sender.enqueue(keyed("a1")).await.unwrap();
    sleep(SECOND).await;
    let large = format!("a{}", "x".repeat(BUFFER / 2));
    let mut large = pin!(sender.enqueue(keyed(&large)));
    assert!(poll(&mut large).await.is_pending());
    open.store(true, Relaxed);
    let pending = timeout(5 * SECOND, large).await.expect("the first is sent").unwrap();
    assert!(first.await.is_sent() && pending.await.is_sent());
    provider.check();
}
