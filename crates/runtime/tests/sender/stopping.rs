//! What a failure for good does to its key, and to nobody else.

use std::{pin::pin, time::Duration};

use strait_core::{ErrorKind, Key};
use strait_runtime::AfterFailure;
use tokio::time::Instant;

use crate::provider::{Answer, Fate, accept, error, keyed, letters, of_bytes, open, outcomes, plain, poll, settle};

const REFUSED: Fate = Fate::Fail(ErrorKind::Denied);

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_before_a_failure_was_reported_is_skipped_and_later_sends_go_on() {
    for (fate, letter) in [(REFUSED, "N"), (Fate::Lose(ErrorKind::Other, true), "U")] {
        let (provider, sender) = open(|_| {});
        let fates = vec![Fate::Store, fate, REFUSED, Fate::Store];
        provider.answer([Answer::After(crate::provider::SECOND, Box::new(Answer::Each(fates)))]);
        let first = accept(&sender, ["a1", "a2", "a3", "b1"].map(keyed)).await;
        settle().await;
        let behind = accept(&sender, ["a4", "a5"].map(keyed)).await;
        let ended = outcomes(first).await;
        assert_eq!(letters(&ended), format!("S{letter}NS"));
        let ended = outcomes(behind).await;
        assert_eq!(letters(&ended), "NN");
        for outcome in ended {
            let error = error(outcome);
            assert!(error.kind() == ErrorKind::Other && error.to_string().contains("skipped"), "{error}");
        }
        assert!(sender.send(keyed("a6")).await.is_ok());
        assert_eq!(provider.texts(), [vec!["a1", "a2", "a3", "b1"], vec!["a6"]]);
        provider.check();
    }
}

#[tokio::test(start_paused = true)]
async fn messages_without_a_key_are_independent() {
    let (provider, sender) = open(|settings| settings.after_failure = AfterFailure::Pause);
    provider.answer([Answer::Each(vec![REFUSED, Fate::Store])]);
    assert_eq!(letters(&sender.send_all(["a", "b", "c"].map(plain)).await), "NSS");
    assert_eq!(sender.health().paused_keys, 0);
}

#[tokio::test(start_paused = true)]
async fn a_paused_key_is_refused_at_once_until_it_is_resumed_and_no_other() {
    let (provider, sender) = open(|settings| {
        settings.after_failure = AfterFailure::Pause;
        settings.buffer_bytes = 400;
    });
    provider.answer([Answer::All(REFUSED)]);
    sender.send(keyed("a1")).await.unwrap_err();
    assert_eq!(sender.health().paused_keys, 1);
    provider.answer([Answer::Held, Answer::Held]);
    let full = accept(&sender, [of_bytes(100), of_bytes(40)]).await;
    settle().await;
    let mut refused = pin!(sender.enqueue(keyed("a2")));
    let std::task::Poll::Ready(Err(error)) = poll(&mut refused).await else {
        panic!("waits for room that it will not use")
    };
    assert_eq!(error.kind(), ErrorKind::Closed);
    provider.release(2);
    outcomes(full).await;
    sender.send(keyed("b1")).await.unwrap();
    sender.resume(&key("a"));
    sender.resume(&key("a"));
    sender.resume(&key("never seen"));
    sender.send(keyed("a3")).await.unwrap();
    assert_eq!(sender.health().paused_keys, 0);
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_room_while_its_key_is_paused_is_refused() {
    let (provider, sender) = open(|settings| {
        settings.after_failure = AfterFailure::Pause;
        settings.buffer_bytes = 200;
    });
    provider.answer([Answer::After(Duration::from_secs(1), Box::new(Answer::All(REFUSED)))]);
    let first = sender.enqueue(keyed("a1")).await.unwrap();
    let second = sender.enqueue(keyed("a2"));
    let (first, second) = tokio::join!(first, second);
    assert_eq!(letters(&[first]), "N");
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sender.health().bytes, 0, "and its room is given back");
}

#[tokio::test(start_paused = true)]
async fn a_key_out_of_time_takes_what_waits_behind_it_along() {
    let (provider, sender) = open(|_| {});
    provider.rule(|batch| {
        let bad = batch.iter().any(|message| message.key.as_ref().is_some_and(|key| key.as_str() == "a"));
        if bad { Answer::All(Fate::Fail(ErrorKind::Unavailable)) } else { Answer::Store }
    });
    let start = Instant::now();
    let mut accepted = accept(&sender, ["a1", "a2"].map(keyed)).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    accepted.extend(accept(&sender, [keyed("a3")]).await);
    sender.send(keyed("b1")).await.unwrap();
    let ended = outcomes(accepted).await;
    assert_eq!(letters(&ended), "NNN");
    assert!(start.elapsed() <= Duration::from_secs(11));
    let errors: Vec<_> = ended.into_iter().map(error).collect();
    assert_eq!(errors[0].kind(), ErrorKind::Unavailable);
    assert!(errors[2].to_string().contains("skipped"), "{}", errors[2]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_later_message_does_not_take_an_earlier_one_along() {
    let (provider, sender) = open(|_| {});
    provider.rule(|batch| {
        let fates = batch.iter().map(|message| match &message.payload[..] {
            b"a2" => REFUSED,
            _ => Fate::Store,
        });
        Answer::Each(fates.collect())
    });
    provider.answer([Answer::Each(vec![Fate::Fail(ErrorKind::Throttled), REFUSED])]);
    let accepted = accept(&sender, ["a1", "a2", "a3"].map(keyed)).await;
    assert_eq!(letters(&outcomes(accepted).await), "SNN");
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn paused_keys_are_listed_and_bounded() {
    let (provider, sender) = open(|settings| settings.after_failure = AfterFailure::Pause);
    provider.rule(|_| Answer::All(REFUSED));
    let fail = async |numbers: std::ops::Range<usize>| {
        let messages = numbers.map(|number| plain("x").with_key(key(&format!("k{number}"))));
        assert!(!sender.send_all(messages).await.iter().any(strait_runtime::Outcome::is_sent));
    };
    fail(0..10_000).await;
    assert_eq!((sender.paused_keys().len(), sender.health().paused_keys), (10_000, 10_000));
    assert!(sender.paused_keys().contains(&key("k77")));
    provider.rule(|_| Answer::Store);
    sender.send(keyed("b1")).await.unwrap();
    provider.rule(|_| Answer::All(REFUSED));
    fail(10_000..10_001).await;
    provider.rule(|_| Answer::Store);
    let refused = sender.send(keyed("b2")).await.unwrap_err();
    assert!(refused.kind() == ErrorKind::Closed && refused.to_string().contains("all keys are paused"), "{refused}");
    sender.send(plain("without a key")).await.unwrap();
    sender.resume_all();
    sender.send(keyed("b3")).await.unwrap();
    assert!(sender.paused_keys().is_empty());
}
