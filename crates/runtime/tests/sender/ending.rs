//! Flush, close, drop, and the end of the runtime.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{FutureExt as _, future::join_all};
use strait_core::{ErrorKind, Limits, Message};
use strait_runtime::{Outcome, Pending, Sender};
use tokio::{
    runtime::{Builder, Runtime},
    time::{Instant, sleep, timeout},
};

use crate::provider::{
    Answer, Fate, MS, Provider, SECOND, accept, error, keyed, letters, of_bytes, open, outcomes, plain, poll, settings,
    settle,
};

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_what_was_accepted_before_and_not_for_what_came_later() {
    let (provider, sender) = open(|settings| settings.requests = 1);
    provider.rule(|_| Answer::Held);
    let before = accept(&sender, [plain("a"), plain("b")]).await;
    settle().await;
    let mut first = pin!(sender.flush());
    assert!(poll(&mut first).await.is_pending());
    let after = accept(&sender, [plain("c")]).await;
    let mut second = pin!(sender.flush());
    assert!(poll(&mut second).await.is_pending());
    provider.release(1);
    first.await.unwrap();
    assert!(before.into_iter().all(|pending| pending.now_or_never().is_some()), "all have their outcomes");
    assert!(poll(&mut second).await.is_pending());
    provider.release(1);
    second.await.unwrap();
    assert_eq!(letters(&outcomes(after).await), "S");
}

#[tokio::test(start_paused = true)]
async fn flushes_may_be_many_at_once_dropped_and_of_nothing() {
    let (provider, sender) = open(|settings| settings.linger = SECOND);
    for _ in 0..1000 {
        sender.flush().await.unwrap();
    }
    provider.answer([Answer::Held]);
    let _pending = accept(&sender, [plain("a")]).await;
    let mut flushes: Vec<_> = (0..10).map(|_| Box::pin(sender.flush())).collect();
    for flush in &mut flushes {
        assert!(poll(flush).await.is_pending());
    }
    flushes.truncate(5);
    settle().await;
    provider.release(1);
    for outcome in join_all(flushes).await {
        outcome.unwrap();
    }
    let start = Instant::now();
    sender.send(plain("b")).await.unwrap();
    assert!(start.elapsed() >= SECOND - MS, "the hurry is over");
}

#[tokio::test(start_paused = true)]
async fn a_flush_waits_for_retries_too() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::All(Fate::Fail(ErrorKind::Throttled))]);
    let pending = sender.enqueue(plain("a")).await.unwrap();
    sender.flush().await.unwrap();
    assert!(pending.now_or_never().unwrap().is_sent());
}

#[tokio::test(start_paused = true)]
async fn closing_sends_what_was_accepted_and_is_idempotent_from_every_handle() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::All(Fate::Fail(ErrorKind::Throttled))]);
    let accepted = accept(&sender, (0..25).map(|_| plain("x"))).await;
    let clone = sender.clone();
    let (first, second) = tokio::join!(sender.close(), clone.close());
    first.unwrap();
    second.unwrap();
    assert_eq!(provider.closed(), 1);
    let ended: Vec<_> = accepted.into_iter().map(|pending| pending.now_or_never().unwrap()).collect();
    assert_eq!(letters(&ended), "S".repeat(25));
    clone.close().await.unwrap();
    sender.flush().await.unwrap();
    for handle in [&sender, &clone] {
        assert_eq!(handle.send(plain("b")).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(provider.closed(), 1);
}

#[tokio::test(start_paused = true)]
async fn closing_gives_up_what_is_out_of_time() {
    let (provider, sender) = open(|_| {});
    provider.rule(|_| Answer::All(Fate::Fail(ErrorKind::Unavailable)));
    let accepted = accept(&sender, [plain("a")]).await;
    timeout(11 * SECOND, sender.close()).await.expect("too late").unwrap();
    assert_eq!(letters(&outcomes(accepted).await), "N");
}

#[tokio::test(start_paused = true)]
async fn a_provider_that_does_not_close_is_left_behind_in_bounded_time() {
    for (answer, kind) in [(Answer::Hang, ErrorKind::Unavailable), (Answer::Panic, ErrorKind::Other)] {
        let (provider, sender) = open(|_| {});
        provider.close_with(answer);
        let accepted = accept(&sender, [plain("a")]).await;
        let error = timeout(31 * SECOND, sender.close()).await.expect("hangs").unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(letters(&outcomes(accepted).await), "S");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_that_is_not_waited_for_goes_on() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Held]);
    let pending = sender.enqueue(plain("a")).await.unwrap();
    assert!(poll(pin!(sender.close())).await.is_pending());
    provider.release(1);
    assert!(pending.await.is_sent());
    settle().await;
    assert_eq!(provider.closed(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_the_last_handle_is_dropped_the_rest_is_sent_in_the_background() {
    let (provider, sender) = open(|settings| settings.linger = SECOND);
    let mut accepted = accept(&sender, [plain("a"), plain("b")]).await;
    let clone = sender.clone();
    drop(sender);
    settle().await;
    assert!(provider.requests().is_empty(), "a handle is left");
    accepted.extend(accept(&clone, [plain("c")]).await);
    drop(clone);
    assert_eq!(letters(&outcomes(accepted).await), "SSS");
    settle().await;
    assert_eq!((provider.closed(), provider.times()[0]), (1, Duration::ZERO));
    assert_eq!(provider.handles(), 1, "nothing is left behind");
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

/// Outcomes that are asked for after the runtime is gone.
fn ended(accepted: Vec<Pending>) -> String {
    letters(&accepted.into_iter().map(|pending| pending.now_or_never().expect("hangs")).collect::<Vec<_>>())
}

#[test]
fn when_the_runtime_ends_what_is_under_way_is_unknown_and_what_waits_is_not_sent() {
    let runtime = runtime();
    let (sender, accepted) = runtime.block_on(async {
        let (provider, sender) = open(|settings| settings.requests = 2);
        provider.answer([Answer::Hang, Answer::All(Fate::Fail(ErrorKind::Throttled)), Answer::Hang]);
        let mut accepted = accept(&sender, [keyed("a1")]).await;
        settle().await;
        accepted.extend(accept(&sender, [keyed("b1")]).await); // is throttled, and waits
        settle().await;
        accepted.extend(accept(&sender, [plain("c")]).await); // hangs too
        settle().await;
        accepted.extend(accept(&sender, [keyed("a2"), plain("d")]).await);
        (sender, accepted)
    });
    drop(runtime);
    assert_eq!(ended(accepted), "UNUNN");
    assert_eq!(sender.enqueue(plain("e")).now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sender.close().now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    let health = sender.health();
    assert_eq!((health.messages, health.bytes, health.requests), (0, 0, 0));
}

#[test]
fn when_the_runtime_ends_before_the_first_turn_of_its_task_nobody_hangs() {
    let runtime = runtime();
    let (sender, accepted) = runtime.block_on(async {
        let (_, sender) = open(|_| {});
        let accepted = accept(&sender, [plain("a"), keyed("b")]).await;
        (sender, accepted)
    });
    drop(runtime);
    assert_eq!(ended(accepted), "NN");
    assert_eq!(sender.close().now_or_never().expect("hangs").unwrap_err().kind(), ErrorKind::Closed);
    assert!(sender.flush().now_or_never().expect("hangs").is_ok(), "everything has its outcome");
}

#[test]
fn a_runtime_that_is_gone_ends_a_sender_at_once() {
    let runtime = runtime();
    let handle = runtime.handle().clone();
    drop(runtime);
    let _guard = handle.enter();
    let (_, sender) = open(|_| {});
    assert_eq!(sender.enqueue(plain("a")).now_or_never().unwrap().unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sender.close().now_or_never().expect("hangs").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn when_the_runtime_ends_those_who_wait_for_room_or_a_flush_hear_of_it() {
    let runtime = runtime();
    let provider = Provider::new(Limits::new(10, 1000));
    provider.rule(|_| Answer::Hang);
    let guard = runtime.enter();
    let sender = Sender::new(Arc::new(provider), settings(|settings| settings.buffer_bytes = 300)).unwrap();
    drop(guard);
    let (pending, mut waiting, mut flush) = runtime.block_on(async {
        let pending = sender.enqueue(of_bytes(172)).await.unwrap();
        let (mut waiting, mut flush) = (Box::pin(sender.enqueue(plain("b"))), Box::pin(sender.flush()));
        assert!(poll(&mut waiting).await.is_pending() && poll(&mut flush).await.is_pending());
        settle().await;
        (pending, waiting, flush)
    });
    drop(runtime);
    assert_eq!((&mut waiting).now_or_never().expect("hangs").unwrap_err().kind(), ErrorKind::Closed);
    (&mut flush).now_or_never().expect("hangs").unwrap();
    assert_eq!(error(pending.now_or_never().unwrap()).kind(), ErrorKind::Closed);
}

/// What happens to a sender in the middle of its work.
#[derive(Clone, Copy, Debug)]
enum End {
    Close,
    Drop,
    Runtime,
    Panic,
}

/// Sends up to 40 messages of all sorts; at the request `step`, or before the message `step`, `end` happens. Returns how
/// many were accepted, and their outcomes.
fn interrupt(end: End, step: usize, seed: u64) -> (usize, Vec<Outcome>) {
    let runtime = runtime();
    let (accepted, mut ended) = runtime.block_on(async {
        let (provider, sender) = open(|settings| {
            settings.requests = 2;
            settings.buffer_bytes = 3000;
        });
        provider.rule(troubled(seed, matches!(end, End::Panic).then_some(step)));
        let accepted = produce(sender, end, step).await;
        if matches!(end, End::Runtime) {
            return (accepted, Vec::new());
        }
        let ended = timeout(15 * SECOND, outcomes(accepted)).await.expect("a message has no outcome");
        provider.check();
        (Vec::new(), ended)
    });
    drop(runtime);
    let count = accepted.len() + ended.len();
    ended.extend(accepted.into_iter().map(|pending| pending.now_or_never().expect("hangs")));
    (count, ended)
}

/// Answers that go wrong as a seed says, and a panic.
fn troubled(seed: u64, panic_at: Option<usize>) -> impl FnMut(&[Message]) -> Answer {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut count = 0;
    move |batch| {
        count += 1;
        if panic_at == Some(count) {
            return Answer::Panic;
        }
        let mut fate = || match random.u32(..8) {
            0 => Fate::Fail(ErrorKind::Throttled),
            1 => Fate::Lose(ErrorKind::Unavailable, true),
            2 => Fate::Fail(ErrorKind::Denied),
            _ => Fate::Store,
        };
        let answer = Answer::Each(batch.iter().map(|_| fate()).collect());
        Answer::After(MS * random.u32(..20), Box::new(answer))
    }
}

async fn produce(sender: Sender, end: End, step: usize) -> Vec<Pending> {
    let mut accepted = Vec::new();
    for n in 0..40 {
        if n == step {
            match end {
                End::Close => drop(sender.close().now_or_never()),
                End::Drop | End::Runtime => break,
                End::Panic => {}
            }
        }
        let text = format!("{}{n}", ["a", "b", "c", "-"][n % 4]);
        let message = if n % 4 == 3 { plain(&text) } else { keyed(&text) };
        match sender.enqueue(message).await {
            Ok(pending) => accepted.push(pending),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
        }
        if n % 3 == 0 {
            sleep(MS).await;
        }
    }
    accepted
}

#[test]
fn every_accepted_message_has_one_outcome_whatever_happens_at_whatever_step() {
    let mut letters_seen = String::new();
    for end in [End::Close, End::Drop, End::Runtime, End::Panic] {
        for step in 0..=40 {
            for seed in 0..3 {
                let (accepted, ended) = interrupt(end, step, seed);
                assert_eq!(accepted, ended.len());
                let least = if matches!(end, End::Panic) { 40 } else { step };
                assert!(accepted >= least, "{end:?} at {step}: only {accepted} were accepted");
                letters_seen += &letters(&ended);
            }
        }
    }
    for letter in ['S', 'N', 'U'] {
        assert!(letters_seen.matches(letter).count() > 200, "too few of {letter}");
    }
}
