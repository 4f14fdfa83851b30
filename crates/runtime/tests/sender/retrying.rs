//! What is sent again, when, and for how long.

use std::time::Duration;

use strait_core::{ErrorKind, Limits};
use strait_runtime::Backoff;
use tokio::time::Instant;

use crate::provider::{
    Answer, Fate, MS, SECOND, accept, error, keyed, letters, of_bytes, open, open_with, outcomes, plain,
};

const THROTTLED: Fate = Fate::Fail(ErrorKind::Throttled);

#[tokio::test(start_paused = true)]
async fn only_what_failed_is_sent_again_under_the_same_id_and_together() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Each(vec![Fate::Store, THROTTLED, Fate::Store, THROTTLED, THROTTLED])]);
    let accepted = accept(&sender, ["a", "b", "c", "d", "e"].map(plain)).await;
    assert_eq!(letters(&outcomes(accepted).await), "SSSSS");
    assert_eq!(provider.texts(), [vec!["a", "b", "c", "d", "e"], vec!["b", "d", "e"]]);
    let requests = provider.requests();
    let again = [requests[0].ids[1], requests[0].ids[3], requests[0].ids[4]];
    assert_eq!(requests[1].ids, again);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn pauses_double_up_to_the_longest_and_a_provider_that_names_one_is_obeyed() {
    let (provider, sender) = open(|settings| settings.deadline = 60 * SECOND);
    provider.answer(std::iter::repeat_n(Answer::All(THROTTLED), 6));
    provider.answer([Answer::All(Fate::Wait(7 * SECOND))]);
    sender.send(plain("a")).await.unwrap();
    let times = provider.times();
    let pauses: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (pause, longest) in pauses.iter().zip([100, 200, 400, 800, 1000, 1000]) {
        assert!((longest / 2 * MS..=(longest + 2) * MS).contains(pause), "{pauses:?}");
    }
    assert!((7 * SECOND..=7 * SECOND + 2 * MS).contains(&pauses[6]), "{pauses:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_beyond_the_deadline_ends_it_and_an_absurd_one_harms_nobody() {
    let (provider, sender) = open(|settings| settings.backoff = Backoff::new(SECOND, Duration::MAX));
    for pause in [10 * SECOND, Duration::MAX] {
        provider.answer([Answer::All(Fate::Wait(pause))]);
        let start = Instant::now();
        let outcome = outcomes(accept(&sender, [plain("a")]).await).await.remove(0);
        assert_eq!(error(outcome).kind(), ErrorKind::Throttled);
        assert!(start.elapsed() < SECOND, "there is no time for another attempt, so nothing is to wait for");
    }
    assert!(sender.send(plain("b")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_given_up_a_second_after_its_deadline_at_the_latest() {
    for (fates, expected) in [
        (vec![THROTTLED], "N"),
        (vec![Fate::Lose(ErrorKind::Unavailable, false), THROTTLED], "U"),
        (vec![THROTTLED, Fate::Lose(ErrorKind::Unavailable, true), THROTTLED], "U"),
    ] {
        let (provider, sender) = open(|_| {});
        let last = fates[fates.len() - 1];
        provider.answer(fates.into_iter().map(Answer::All));
        provider.rule(move |_| Answer::All(last));
        let start = Instant::now();
        let ended = outcomes(accept(&sender, [plain("a")]).await).await;
        assert_eq!(letters(&ended), expected, "unknown if any attempt was");
        assert!((8 * SECOND..=11 * SECOND).contains(&start.elapsed()), "{:?}", start.elapsed());
        assert!(provider.requests().len() > 8);
    }
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_failure_is_sent_again_and_may_be_stored_twice_under_one_id() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::All(Fate::Lose(ErrorKind::Unavailable, true))]);
    sender.send(plain("a")).await.unwrap();
    let stored = provider.stored();
    assert_eq!((stored.len(), stored[0].id), (2, stored[1].id));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_returns_is_dropped_and_what_waited_for_it_ends_in_time() {
    let (provider, sender) = open(|settings| settings.requests = 2);
    provider.rule(|_| Answer::Hang);
    let start = Instant::now();
    let stuck = accept(&sender, [keyed("a1"), plain("b")]).await;
    crate::provider::settle().await;
    let behind = accept(&sender, [keyed("a2"), plain("c"), plain("d")]).await;
    crate::provider::settle().await;
    let queued = accept(&sender, [plain("e")]).await;
    assert_eq!(letters(&outcomes(stuck).await), "UU");
    assert_eq!(letters(&outcomes(behind).await), "NUU", "a2 was skipped, c and d were under way");
    assert_eq!(letters(&outcomes(queued).await), "N");
    assert!(start.elapsed() <= 11 * SECOND, "{:?}", start.elapsed());
    assert_eq!((provider.dropped(), sender.health().bytes), (2, 0));
    provider.rule(|_| Answer::Store);
    assert!(sender.send(plain("f")).await.is_ok(), "and the sender lives on");
}

#[tokio::test(start_paused = true)]
async fn what_is_out_of_time_is_not_sent_any_more() {
    let (provider, sender) = open_with(Limits::new(10, 100).with_key_bytes(0), |_| {});
    provider.answer([Answer::After(10 * SECOND + 300 * MS, Box::new(Answer::Store))]);
    let start = Instant::now();
    let accepted = accept(&sender, ["a1", "a2", "a3"].map(keyed)).await;
    let ended = outcomes(accepted).await;
    assert_eq!(letters(&ended), "SNN", "a1 was late, and stored");
    assert!(start.elapsed() <= 11 * SECOND);
    let error = error(ended.into_iter().nth(1).unwrap());
    assert!(error.kind() == ErrorKind::Unavailable && error.to_string().contains("deadline"), "{error}");
    assert_eq!(provider.texts(), [["a1"]]);
}

#[tokio::test(start_paused = true)]
async fn deadlines_count_from_acceptance_also_while_all_requests_hang() {
    let (provider, sender) = open(|settings| settings.requests = 1);
    provider.answer([Answer::Hang]);
    let stuck = accept(&sender, [plain("a")]).await;
    tokio::time::sleep(9 * SECOND).await;
    let late = accept(&sender, [plain("b")]).await;
    assert_eq!(letters(&outcomes(stuck).await) + &letters(&outcomes(late).await), "US");
}

#[tokio::test(start_paused = true)]
async fn very_many_messages_can_be_out_of_time_at_once() {
    let (provider, sender) = open_with(Limits::new(500, 1 << 20), |settings| {
        settings.requests = 1;
        settings.deadline = 3 * SECOND;
    });
    provider.rule(|_| Answer::Hang);
    let start = Instant::now();
    let accepted = accept(&sender, (0..60_000).map(|_| plain(""))).await;
    let ended = letters(&outcomes(accepted).await);
    assert_eq!((ended.len(), ended.matches('S').count()), (60_000, 0));
    assert!(start.elapsed() <= 4 * SECOND);
    assert_eq!(sender.health().bytes, 0);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_sent_again_from_its_first_failure_in_order_and_others_are_not_held_up() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Each(vec![Fate::Store, THROTTLED, Fate::Store, Fate::Store, Fate::Store])]);
    let accepted = accept(&sender, ["a1", "a2", "a3", "b1", "b2"].map(keyed)).await;
    crate::provider::settle().await;
    let later = accept(&sender, [keyed("a4"), keyed("b3")]).await;
    assert_eq!(letters(&outcomes(accepted).await), "SSSSS");
    assert_eq!(letters(&outcomes(later).await), "SS");
    let texts = provider.texts();
    assert_eq!(texts, [vec!["a1", "a2", "a3", "b1", "b2"], vec!["b3"], vec!["a2", "a3", "a4"]]);
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn what_fails_because_an_earlier_one_of_its_key_did_is_sent_again_however_that_is_called() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Each(vec![THROTTLED, Fate::Fail(ErrorKind::Other), Fate::Fail(ErrorKind::Other)])]);
    let accepted = accept(&sender, ["a1", "a2", "a3"].map(keyed)).await;
    assert_eq!(letters(&outcomes(accepted).await), "SSS");
    assert_eq!(provider.texts(), [["a1", "a2", "a3"]; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_provider_is_not_asked_more_often_than_needed() {
    // Half of the messages are refused each time: 2 attempts a message on the whole.
    let (provider, sender) = open_with(Limits::new(50, 5000), |settings| settings.deadline = 60 * SECOND);
    let mut random = fastrand::Rng::with_seed(7);
    provider.rule(move |batch| {
        Answer::Each(batch.iter().map(|_| if random.bool() { THROTTLED } else { Fate::Store }).collect())
    });
    let accepted = accept(&sender, (0..500).map(|_| of_bytes(3))).await;
    assert_eq!(letters(&outcomes(accepted).await), "S".repeat(500));
    let attempts: usize = provider.sizes().iter().sum();
    assert!((800..1500).contains(&attempts), "{attempts} attempts");
    assert!(provider.requests().len() < 120, "{} requests", provider.requests().len());
    provider.check();
}
