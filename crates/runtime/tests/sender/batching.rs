//! What shares a request, and when it leaves.

use std::time::Duration;

use strait_core::{ErrorKind, Limits};
use tokio::time::{Instant, sleep};

use crate::provider::{
    Answer, Fate, MS, SECOND, accept, keyed, letters, of_bytes, open, open_with, outcomes, plain, settle,
};

const LINGER: Duration = Duration::from_millis(200);

#[tokio::test(start_paused = true)]
async fn batches_split_at_both_limits_to_the_byte() {
    for (sizes, expected) in [
        (vec![1; 21], vec![10, 10, 1]),
        (vec![50, 50, 1], vec![2, 1]),
        (vec![50, 51, 49], vec![1, 2]),
        (vec![50, 49, 1, 1], vec![3, 1]),
        (vec![100, 100], vec![1, 1]),
        (vec![99, 1, 0, 1], vec![3, 1]),
    ] {
        let (provider, sender) = open(|settings| settings.requests = 1);
        let accepted = accept(&sender, sizes.iter().copied().map(of_bytes)).await;
        assert!(outcomes(accepted).await.iter().all(strait_runtime::Outcome::is_sent));
        assert_eq!(provider.sizes(), expected, "{sizes:?}");
        provider.check();
    }
}

#[tokio::test(start_paused = true)]
async fn routes_never_share_a_request_and_take_turns() {
    let (provider, sender) = open(|settings| settings.requests = 1);
    let message = |n: usize| plain(&n.to_string()).with_header("route", (n % 3).to_string());
    outcomes(accept(&sender, (0..45).map(message)).await).await;
    let routes: Vec<_> = provider.requests().iter().map(|request| (request.route, request.texts.len())).collect();
    assert_eq!(routes, [(0, 10), (1, 10), (2, 10), (0, 5), (1, 5), (2, 5)]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn a_key_may_change_its_route_and_keeps_its_order() {
    let (provider, sender) = open(|_| {});
    let message = |n: u32| keyed(&format!("k{n}")).with_header("route", (n / 2 % 2).to_string());
    outcomes(accept(&sender, (0..8).map(message)).await).await;
    assert_eq!(provider.texts(), [["k0", "k1"], ["k2", "k3"], ["k4", "k5"], ["k6", "k7"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_key_share_a_request_unless_the_provider_forbids_it() {
    let texts = ["a1", "a2", "b1", "a3", "b2"];
    for (limits, expected) in [
        (Limits::new(10, 100), vec![vec!["a1", "a2", "b1", "a3", "b2"]]),
        (Limits::new(10, 100).with_key_bytes(0), vec![vec!["a1", "b1"], vec!["a2", "b2"], vec!["a3"]]),
        (Limits::new(10, 100).with_key_bytes(1), vec![vec!["a1", "b1"], vec!["a2", "b2"], vec!["a3"]]),
        (Limits::new(10, 100).with_key_bytes(5), vec![vec!["a1", "a2", "b1", "b2"], vec!["a3"]]),
    ] {
        let (provider, sender) = open_with(limits, |_| {});
        outcomes(accept(&sender, texts.map(keyed)).await).await;
        assert_eq!(provider.texts(), expected);
        provider.check();
    }
}

/// A request that could hold three of a key, of which two may share it, is not full before there is one of another key.
#[tokio::test(start_paused = true)]
async fn what_may_not_share_a_request_with_its_key_does_not_fill_it() {
    let (provider, sender) = open_with(Limits::new(3, 100).with_key_bytes(4), |settings| settings.linger = SECOND);
    let _key = accept(&sender, ["a1", "a2", "a3", "a4"].map(keyed)).await;
    settle().await;
    assert!(provider.requests().is_empty(), "a3 waits for a1 and a2");
    let _other = accept(&sender, [keyed("b1")]).await;
    settle().await;
    assert_eq!(provider.texts(), [["a1", "a2", "b1"]]);
    sleep(SECOND + 2 * MS).await;
    assert_eq!(provider.texts()[1], ["a3", "a4"]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn a_lone_message_leaves_at_once_or_when_it_has_lingered() {
    for linger in [Duration::ZERO, LINGER] {
        let (provider, sender) = open(|settings| settings.linger = linger);
        sender.send(plain("a")).await.unwrap();
        let left = provider.times()[0];
        assert!((linger..=linger + 2 * MS).contains(&left), "{left:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_linger() {
    let (provider, sender) = open(|settings| settings.linger = SECOND);
    let _one = accept(&sender, (0..9).map(|_| plain(""))).await;
    settle().await;
    assert!(provider.requests().is_empty());
    let _ten = accept(&sender, [plain("")]).await;
    settle().await;
    assert_eq!((provider.sizes(), provider.times()[0]), (vec![10], Duration::ZERO), "full by count");
    let _bytes = accept(&sender, [of_bytes(60), of_bytes(39)]).await;
    settle().await;
    assert_eq!(provider.requests().len(), 1, "one byte less than full");
    let _full = accept(&sender, [of_bytes(1)]).await;
    settle().await;
    assert_eq!((provider.requests()[1].bytes, provider.times()[1]), (100, Duration::ZERO), "full by bytes");
}

#[tokio::test(start_paused = true)]
async fn what_a_full_batch_leaves_behind_has_lingered_already() {
    let (provider, sender) = open(|settings| settings.linger = LINGER);
    let _left = accept(&sender, [of_bytes(60)]).await;
    sleep(LINGER - 20 * MS).await;
    // 60 + 30 + 20: the last does not fit, and has only just come.
    let _full = accept(&sender, [of_bytes(30), of_bytes(20)]).await;
    settle().await;
    assert_eq!(provider.sizes(), [2]);
    sleep(SECOND).await;
    let late = provider.times()[1];
    assert!((2 * LINGER - 20 * MS..=2 * LINGER - 15 * MS).contains(&late), "{late:?}");

    let (provider, sender) = open(|settings| settings.linger = LINGER);
    let _first = accept(&sender, [of_bytes(90), of_bytes(5)]).await;
    sleep(LINGER - 20 * MS).await;
    // The one of 50 is left behind together with a later one; it leaves 200 ms after it came.
    let _next = accept(&sender, [of_bytes(50)]).await;
    settle().await;
    assert_eq!(provider.sizes(), [2]);
    sleep(100 * MS).await;
    let _later = accept(&sender, [of_bytes(10)]).await;
    sleep(SECOND).await;
    let second = provider.requests()[1].clone();
    assert!(second.texts.len() == 2 && second.at <= 2 * LINGER - 15 * MS, "{:?}", second.at);
}

#[tokio::test(start_paused = true)]
async fn what_waited_behind_its_key_or_for_a_retry_does_not_linger_again() {
    let (provider, sender) = open(|settings| settings.linger = LINGER);
    provider.answer([Answer::After(SECOND, Box::new(Answer::Store))]);
    let first = accept(&sender, [keyed("a1")]).await;
    sleep(LINGER + 10 * MS).await;
    let second = accept(&sender, [keyed("a2")]).await;
    outcomes(first).await;
    let start = Instant::now();
    outcomes(second).await;
    assert!(start.elapsed() < 5 * MS, "lingered again behind its key: {:?}", start.elapsed());

    let (provider, sender) = open(|settings| settings.linger = LINGER);
    provider.answer([Answer::All(Fate::Fail(ErrorKind::Throttled))]);
    sender.send(plain("a")).await.unwrap();
    let pause = provider.times()[1] - provider.times()[0];
    assert!(pause <= 102 * MS, "lingered again after a retry: {pause:?}");
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_its_key_fills_no_batch() {
    for key_bytes in [usize::MAX, 20, 0] {
        let limits = Limits::new(10, 100).with_key_bytes(key_bytes);
        let (provider, sender) = open_with(limits, |settings| settings.linger = LINGER);
        provider.answer([Answer::After(5 * SECOND, Box::new(Answer::Store))]);
        let _hot = accept(&sender, [keyed("a1")]).await;
        sleep(SECOND).await;
        let _behind = accept(&sender, (0..30).map(|n| keyed(&format!("a{n}")))).await;
        let lone = accept(&sender, [plain("x")]).await;
        let start = Instant::now();
        outcomes(lone).await;
        assert!(start.elapsed() >= LINGER - MS, "left after {:?}", start.elapsed());
        assert_eq!(provider.texts()[1], ["x"]);
        sleep(10 * SECOND).await;
        assert_eq!(provider.stored().len(), 32);
        provider.check();
    }
}

#[tokio::test(start_paused = true)]
async fn flushing_and_closing_do_not_linger() {
    let (provider, sender) = open(|settings| settings.linger = SECOND);
    let accepted = accept(&sender, [plain("a")]).await;
    sender.flush().await.unwrap();
    assert_eq!(provider.times(), [Duration::ZERO]);
    let more = accept(&sender, [plain("b")]).await;
    sender.close().await.unwrap();
    assert_eq!(provider.times(), [Duration::ZERO; 2]);
    assert_eq!(letters(&outcomes(accepted).await) + &letters(&outcomes(more).await), "SS");
}

#[tokio::test(start_paused = true)]
async fn others_go_on_at_once_while_a_request_is_under_way_and_its_key_waits() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Held]);
    let a1 = accept(&sender, [keyed("a1")]).await;
    settle().await;
    let a2 = accept(&sender, [keyed("a2")]).await;
    let others = accept(&sender, [keyed("b1"), plain("c")]).await;
    assert_eq!(letters(&outcomes(others).await), "SS");
    assert_eq!((provider.times()[1], provider.most_under_way()), (Duration::ZERO, 2), "without the clock");
    settle().await;
    assert_eq!(provider.texts().len(), 2, "a2 waits for a1");
    provider.release(1);
    assert_eq!(letters(&outcomes(a1).await) + &letters(&outcomes(a2).await), "SS");
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn at_most_so_many_requests_are_under_way_and_meanwhile_batches_form() {
    let (provider, sender) = open(|settings| settings.requests = 3);
    provider.rule(|_| Answer::Held);
    let mut accepted = Vec::new();
    for n in 0..20 {
        accepted.extend(accept(&sender, [plain(&n.to_string())]).await);
        settle().await;
    }
    assert_eq!((provider.sizes(), sender.health().requests), (vec![1, 1, 1], 3));
    provider.release(100);
    outcomes(accepted).await;
    assert_eq!((provider.sizes(), provider.most_under_way()), (vec![1, 1, 1, 10, 7], 3));
    assert_eq!(sender.health().requests, 0);
}
