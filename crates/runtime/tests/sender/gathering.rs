//! Messages are put into their request when they are accepted: what may join it, and what becomes of it until it leaves.

use std::time::Duration;

use strait_core::{ErrorKind, Limits};
use tokio::time::{Instant, sleep};

use crate::provider::{
    Answer, Fate, MS, Provider, SECOND, accept, keyed, letters, of_bytes, open, open_with, outcomes, plain, settle,
};

const THROTTLED: Fate = Fate::Fail(ErrorKind::Throttled);

/// Two requests are under way, of three messages at most each, and end when the provider is released.
async fn held() -> (Provider, strait_runtime::Sender) {
    let (provider, sender) = open_with(Limits::new(3, 100), |settings| settings.requests = 2);
    provider.rule(|_| Answer::Held);
    for text in ["x", "y"] {
        drop(sender.enqueue(plain(text)).await.unwrap()); // nobody waits for it
        settle().await;
    }
    assert_eq!(provider.texts(), [["x"], ["y"]]);
    (provider, sender)
}

#[tokio::test(start_paused = true)]
async fn a_message_joins_the_request_of_the_one_before_it_while_that_is_open() {
    let (provider, sender) = held().await;
    let accepted = accept(&sender, ["a1", "b1", "a2", "b2"].map(keyed)).await;
    provider.release(1);
    settle().await;
    assert_eq!(provider.texts()[2..], [["a1", "b1", "a2"]], "b2 does not fit");
    provider.release(100);
    assert_eq!(letters(&outcomes(accepted).await), "SSSS");
    assert_eq!(provider.texts()[3..], [["b2"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn a_message_joins_no_later_request_than_that_of_the_one_before_it() {
    let (provider, sender) = held().await;
    // a2 would fit beside d1, whose request may leave while that of a1 is under way.
    let accepted = accept(&sender, ["a1", "b1", "c1", "d1", "a2", "e1"].map(keyed)).await;
    provider.release(1);
    settle().await;
    provider.release(1);
    settle().await;
    assert_eq!(provider.texts()[2..], [vec!["a1", "b1", "c1"], vec!["d1", "e1"]]);
    provider.release(100);
    assert_eq!(letters(&outcomes(accepted).await), "SSSSSS");
    assert_eq!(provider.texts()[4..], [["a2"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn a_request_that_has_no_room_for_the_next_of_a_key_does_not_linger() {
    let (provider, sender) = open(|settings| settings.linger = SECOND);
    let _key = accept(&sender, [60, 60].map(|bytes| of_bytes(bytes).with_key("a"))).await;
    settle().await;
    assert_eq!((provider.sizes(), provider.times()), (vec![1], vec![Duration::ZERO]));
    sleep(2 * SECOND).await;
    assert_eq!(provider.sizes(), [1, 1]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn of_keys_that_are_mixed_in_a_request_each_goes_on_from_where_it_broke() {
    let (provider, sender) = open(|settings| settings.linger = MS);
    let fates = vec![THROTTLED, Fate::Store, Fate::Store, THROTTLED, Fate::Store, Fate::Store];
    provider.answer([Answer::Each(fates)]);
    let accepted = accept(&sender, ["a1", "b1", "c1", "b2", "a2", "b3"].map(keyed)).await;
    assert_eq!(letters(&outcomes(accepted).await), "SSSSSS");
    assert_eq!(provider.texts(), [vec!["a1", "b1", "c1", "b2", "a2", "b3"], vec!["a1", "a2", "b2", "b3"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn of_keys_that_are_mixed_in_a_request_only_the_rest_of_the_one_that_failed_is_skipped() {
    let (provider, sender) = open_with(Limits::new(10, 100), |settings| settings.requests = 1);
    let fates = vec![Fate::Fail(ErrorKind::Denied), Fate::Store, THROTTLED, Fate::Store];
    provider.answer([Answer::After(SECOND, Box::new(Answer::Each(fates)))]);
    let mixed = accept(&sender, ["a1", "b1", "a2", "b2"].map(keyed)).await;
    settle().await;
    let behind = accept(&sender, ["a3", "b3"].map(keyed)).await;
    assert_eq!(letters(&outcomes(mixed).await), "NSNS");
    assert_eq!(letters(&outcomes(behind).await), "NS");
    assert_eq!(provider.texts(), [vec!["a1", "b1", "a2", "b2"], vec!["b3"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_time_in_a_request_that_has_not_left_is_told_and_others_of_it_are_sent() {
    let (provider, sender) = open(|settings| settings.requests = 1);
    let slow = Answer::After(9 * SECOND, Box::new(Answer::Store));
    provider.answer([slow.clone(), slow]);
    drop(sender.enqueue(plain("first")).await.unwrap()); // nobody waits for it
    settle().await;
    // The turn of another route is before that of a1 and b1, and its last message has time until 19 s.
    let other_route = |text| plain(text).with_header("route", "1");
    drop(sender.enqueue(other_route("1")).await.unwrap());
    let start = Instant::now();
    let old = accept(&sender, ["a1", "b1"].map(keyed)).await;
    sleep(9 * SECOND - 100 * MS).await;
    drop(sender.enqueue(other_route("2")).await.unwrap());
    let young = accept(&sender, ["b2", "c1"].map(keyed)).await;
    assert_eq!(letters(&outcomes(old).await), "NN");
    assert!((10 * SECOND..=11 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
    let later = sender.enqueue(keyed("b3")).await.unwrap();
    assert_eq!(provider.texts(), [vec!["first"], vec!["1", "2"]], "what is before them is still under way");
    assert_eq!(letters(&outcomes(young).await), "NS", "b2 was accepted before it was told that b1 was not sent");
    assert_eq!(letters(&[later.await]), "S");
    assert_eq!(provider.texts()[2..], [["c1", "b3"]]);
    assert_eq!((sender.health().messages, sender.health().bytes), (0, 0));
    provider.check();
}

/// What waits for a retry, or behind its key, while others are found to be out of time is not forgotten afterwards.
#[tokio::test(start_paused = true)]
async fn what_becomes_ready_while_no_request_may_leave_is_told_in_time() {
    for (answer, expected) in
        [(Answer::After(6 * SECOND, Box::new(Answer::Store)), "SN"), (Answer::All(Fate::Wait(6 * SECOND)), "NN")]
    {
        let (provider, sender) = open(|settings| settings.requests = 1);
        provider.answer([answer, Answer::After(9 * SECOND, Box::new(Answer::Store))]);
        sleep(5 * SECOND).await;
        let start = Instant::now();
        let mut key = vec![sender.enqueue(keyed("a1")).await.unwrap()];
        settle().await;
        key.push(sender.enqueue(keyed("a2")).await.unwrap());
        sleep(5 * SECOND + 500 * MS).await;
        // Its turn is before that of the key, which goes on in half a second.
        drop(sender.enqueue(plain("other").with_header("route", "1")).await.unwrap());
        assert_eq!(letters(&outcomes(key).await), expected);
        assert!((9 * SECOND..=11 * SECOND).contains(&start.elapsed()), "{expected}: {:?}", start.elapsed());
        provider.check();
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_late_message_in_its_request_is_not_sent_again() {
    for (fate, expected) in [(Fate::Store, "US"), (THROTTLED, "UN")] {
        let (provider, sender) = open(|settings| settings.requests = 1);
        let fates = Answer::Each(vec![Fate::Store, fate]);
        provider
            .answer([Answer::After(9 * SECOND, Box::new(Answer::Store)), Answer::After(4 * SECOND, Box::new(fates))]);
        drop(sender.enqueue(plain("first")).await.unwrap());
        settle().await;
        let late = sender.enqueue(keyed("a1")).await.unwrap();
        sleep(8 * SECOND).await;
        let mate = sender.enqueue(keyed("a2")).await.unwrap();
        assert_eq!(letters(&outcomes(vec![late, mate]).await), expected);
        assert!(sender.send(keyed("a3")).await.is_ok());
        assert_eq!(provider.texts(), [vec!["first"], vec!["a1", "a2"], vec!["a3"]]);
        provider.check();
    }
}
