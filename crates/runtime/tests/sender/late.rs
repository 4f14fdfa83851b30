//! A message that is out of time while its request goes on, and closing in bounded time.

use std::time::Duration;

use strait_core::{ErrorKind, Key};
use strait_runtime::{AfterFailure, Sender};
use tokio::time::{Instant, sleep};

use crate::provider::{
    Answer, Fate, MS, Provider, SECOND, accept, error, keyed, letters, open, outcomes, plain, settle,
};

/// A sender whose one request is busy for nine of the ten seconds that a message has.
async fn busy(change: impl FnOnce(&mut strait_runtime::SenderSettings)) -> (Provider, Sender) {
    let (provider, sender) = open(|settings| {
        settings.requests = 1;
        change(settings);
    });
    provider.answer([Answer::After(9 * SECOND, Box::new(Answer::Store))]);
    let first = sender.enqueue(plain("first")).await.unwrap();
    drop(first); // nobody waits for it
    settle().await;
    (provider, sender)
}

#[tokio::test(start_paused = true)]
async fn a_late_message_does_not_end_the_request_of_its_batch_mates() {
    let (provider, sender) = busy(|_| {}).await;
    provider.answer([Answer::After(4 * SECOND, Box::new(Answer::Store))]);
    let start = Instant::now();
    let old = accept(&sender, ["a1", "b1"].map(keyed)).await;
    sleep(8 * SECOND).await;
    let young = accept(&sender, [keyed("b2"), keyed("c1"), plain("d")]).await;
    assert_eq!(letters(&outcomes(old).await), "UU");
    assert!(start.elapsed() <= 11 * SECOND, "told in time: {:?}", start.elapsed());
    assert_eq!(letters(&outcomes(young).await), "SSS", "and theirs is known too");
    assert_eq!(
        (provider.dropped(), provider.requests().len()),
        (0, 2),
        "no call is dropped, and nothing is sent twice"
    );
    assert_eq!((sender.health().messages, sender.health().bytes), (0, 0));
    assert!(sender.send(keyed("a2")).await.is_ok());
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn a_late_key_does_not_skip_the_next_key_of_its_request() {
    let (provider, sender) = busy(|_| {}).await;
    let fates = vec![Fate::Store, Fate::Fail(ErrorKind::Throttled)];
    provider.answer([Answer::After(4 * SECOND, Box::new(Answer::Each(fates)))]);
    let late = sender.enqueue(keyed("a1")).await.unwrap();
    sleep(8 * SECOND).await;
    let mate = sender.enqueue(keyed("b1")).await.unwrap();
    assert_eq!(letters(&outcomes(vec![late, mate]).await), "US");
    assert_eq!(provider.texts(), [vec!["first"], vec!["a1", "b1"], vec!["b1"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_late_message_is_skipped_and_later_ones_wait_for_its_request() {
    let (provider, sender) = busy(|_| {}).await;
    provider.answer([Answer::Hang]);
    let late = sender.enqueue(keyed("a1")).await.unwrap();
    sleep(8 * SECOND).await;
    let mate = sender.enqueue(plain("b")).await.unwrap();
    sleep(SECOND + 500 * MS).await;
    let behind = sender.enqueue(keyed("a2")).await.unwrap();
    let start = Instant::now();
    assert_eq!(letters(&outcomes(vec![late, behind]).await), "UN");
    assert!(start.elapsed() <= SECOND + 500 * MS);
    let later = sender.enqueue(keyed("a3")).await.unwrap();
    assert_eq!(sender.health().messages, 2, "b, and a3");
    assert_eq!(letters(&outcomes(vec![mate, later]).await), "US");
    assert_eq!(provider.dropped(), 1, "once its last message was late");
    assert_eq!(provider.texts(), [vec!["first"], vec!["a1", "b"], vec!["a3"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn a_late_message_pauses_its_key_as_any_other_that_was_not_sent() {
    let (provider, sender) = busy(|settings| settings.after_failure = AfterFailure::Pause).await;
    provider.answer([Answer::After(4 * SECOND, Box::new(Answer::Store))]);
    let late = sender.enqueue(keyed("a1")).await.unwrap();
    sleep(8 * SECOND).await;
    let mate = sender.enqueue(keyed("b1")).await.unwrap();
    assert_eq!(letters(&[late.await]), "U");
    assert_eq!(sender.paused_keys(), [Key::new("a").unwrap()]);
    assert_eq!(sender.enqueue(keyed("a2")).await.unwrap_err().kind(), ErrorKind::Closed);
    sender.resume_all();
    assert!(sender.paused_keys().is_empty());
    let later = sender.enqueue(keyed("a3")).await.unwrap();
    assert_eq!(letters(&outcomes(vec![mate, later]).await), "SS");
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn closing_within_a_limit_ends_what_has_no_outcome() {
    let (provider, sender) = open(|settings| {
        settings.requests = 1;
        settings.deadline = Duration::from_secs(120);
    });
    provider.answer([Answer::Store, Answer::Hang]);
    sender.send(plain("a")).await.unwrap();
    let under_way = sender.enqueue(plain("b")).await.unwrap();
    settle().await;
    let waiting = sender.enqueue(plain("c")).await.unwrap();
    provider.close_with(Answer::Hang);
    let start = Instant::now();
    let closed = sender.close_within(5 * SECOND).await.unwrap_err();
    assert!(start.elapsed() <= 6 * SECOND, "{:?}", start.elapsed());
    assert_eq!(closed.kind(), ErrorKind::Unavailable);
    assert!(closed.to_string().contains("2 messages had no outcome"), "{closed}");
    let ended = outcomes(vec![under_way, waiting]).await;
    assert_eq!(letters(&ended), "UN");
    for outcome in ended {
        assert_eq!(error(outcome).kind(), ErrorKind::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn closing_within_a_limit_takes_no_longer_than_it_must_and_the_earliest_counts() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::After(2 * SECOND, Box::new(Answer::Store))]);
    let pending = sender.enqueue(plain("a")).await.unwrap();
    let start = Instant::now();
    sender.close_within(Duration::MAX).await.unwrap();
    assert!(pending.await.is_sent() && start.elapsed() < 3 * SECOND);

    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Hang]);
    let pending = sender.enqueue(plain("a")).await.unwrap();
    let start = Instant::now();
    let closes = tokio::join!(sender.close(), sender.close_within(3 * SECOND), sender.close_within(SECOND));
    assert!(closes.0.is_err() && closes.1.is_err() && closes.2.is_err());
    assert_eq!(letters(&[pending.await]), "U");
    assert!(start.elapsed() <= 2 * SECOND, "{:?}", start.elapsed());
}
