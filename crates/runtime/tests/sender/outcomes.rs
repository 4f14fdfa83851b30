//! Exactly one outcome a message, and a true one.

use std::{collections::HashSet, pin::Pin, sync::Arc};

use strait_core::{Error, ErrorKind, Limits, Message, Plan, Producer, Receipt, Result};
use strait_runtime::{Outcome, Sender};

use crate::provider::{Answer, Fate, accept, error, keyed, letters, open, outcomes, plain, settings, text};

/// Every batch of five with each of these fates.
fn masks(fates: &[Fate]) -> Vec<Vec<Fate>> {
    let count = fates.len().pow(5);
    (0..count).map(|mask| (0..5).map(|n| fates[mask / fates.len().pow(n) % fates.len()]).collect()).collect()
}

#[tokio::test(start_paused = true)]
async fn the_outcomes_of_every_mask_are_those_of_the_provider_in_order() {
    let fates = [
        Fate::Store,
        Fate::Fail(ErrorKind::Denied),
        Fate::Lose(ErrorKind::Other, true),
        Fate::Lose(ErrorKind::Other, false),
    ];
    for mask in masks(&fates) {
        let (provider, sender) = open(|_| {});
        provider.answer([Answer::Each(mask.clone())]);
        let accepted = accept(&sender, ["0", "1", "2", "3", "4"].map(plain)).await;
        let expected: String = mask
            .iter()
            .map(|fate| match fate {
                Fate::Store => 'S',
                Fate::Lose(..) => 'U',
                _ => 'N',
            })
            .collect();
        let ended = outcomes(accepted).await;
        assert_eq!(letters(&ended), expected, "{mask:?}");
        let stored = provider.stored();
        for (n, outcome) in ended.into_iter().enumerate() {
            match outcome {
                Outcome::Sent(receipt) => {
                    let position: usize = receipt.position.to_string().parse().unwrap();
                    assert_eq!(text(&stored[position - 1]), n.to_string(), "the receipt of another");
                }
                Outcome::NotSent(_) => assert!(stored.iter().all(|message| text(message) != n.to_string())),
                Outcome::Unknown(_) => {}
            }
        }
        assert_eq!(provider.requests().len(), 1, "nothing of it is to be sent again");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_key_does_not_fail_the_next_key_of_its_request() {
    let fates = [Fate::Store, Fate::Fail(ErrorKind::Throttled), Fate::Fail(ErrorKind::Denied)];
    for mask in masks(&fates) {
        let (provider, sender) = open(|_| {});
        provider.answer([Answer::Each(mask.clone())]);
        let accepted = accept(&sender, ["a", "b", "c", "d", "e"].map(keyed)).await;
        let expected: String = mask.iter().map(|fate| if *fate == fates[2] { 'N' } else { 'S' }).collect();
        let ended = outcomes(accepted).await;
        assert_eq!(letters(&ended), expected, "{mask:?}");
        for outcome in ended {
            if let Outcome::NotSent(error) = outcome {
                assert_eq!(error.kind(), ErrorKind::Denied);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_transient_is_sent_again_in_every_mask() {
    let fates = [Fate::Store, Fate::Fail(ErrorKind::Throttled), Fate::Lose(ErrorKind::Unavailable, true)];
    for mask in masks(&fates) {
        let (provider, sender) = open(|_| {});
        provider.answer([Answer::Each(mask.clone())]);
        let accepted = accept(&sender, ["0", "1", "2", "3", "4"].map(plain)).await;
        assert_eq!(letters(&outcomes(accepted).await), "SSSSS");
        let again: HashSet<_> = (0..5).filter(|n| mask[*n] != Fate::Store).map(|n| n.to_string()).collect();
        let resent: HashSet<_> = provider.texts().split_off(1).into_iter().flatten().collect();
        assert_eq!(resent, again, "{mask:?}");
        provider.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_number_of_outcomes_confirms_nothing() {
    for count in (0..8).filter(|count| *count != 5) {
        let (provider, sender) = open(|_| {});
        provider.answer([Answer::Count(count)]);
        let accepted = accept(&sender, ["a1", "a2", "b1", "b2", "c1"].map(keyed)).await;
        assert_eq!(letters(&outcomes(accepted).await), "UUUUU", "{count}");
        assert_eq!(provider.requests().len(), 1);
        assert!(sender.send(keyed("a3")).await.is_ok(), "and the sender lives on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_the_provider_is_an_unknown_outcome_of_that_request_alone() {
    let (provider, sender) = open(|settings| settings.requests = 2);
    provider.answer([Answer::Held, Answer::Panic]);
    let good = accept(&sender, [plain("a")]).await;
    crate::provider::settle().await;
    let bad = accept(&sender, [keyed("b1"), plain("c")]).await;
    crate::provider::settle().await;
    provider.release(1);
    let ended = outcomes(bad).await;
    assert_eq!(letters(&ended), "UU");
    assert!(
        !error(ended.into_iter().next().unwrap()).to_string().contains("as the test says"),
        "a panic may tell secrets"
    );
    assert_eq!(letters(&outcomes(good).await), "S");
    assert!(sender.send(keyed("b2")).await.is_ok());
}

/// Panics before there is a future.
#[derive(Debug)]
struct Hasty;

impl Producer for Hasty {
    fn limits(&self) -> Limits {
        Limits::new(10, 100)
    }

    fn destinations(&self) -> Vec<String> {
        Vec::new()
    }

    fn plan(&self, _: &Message) -> Result<Plan> {
        Ok(Plan::new(1))
    }

    fn send<'a, 'b, 'c>(
        &'a self,
        batch: &'b [Message],
    ) -> Pin<Box<dyn Future<Output = Vec<Result<Receipt>>> + Send + 'c>>
    where
        'a: 'c,
        'b: 'c,
        Self: 'c,
    {
        assert!(text(&batch[0]) != "a", "as the test says");
        let count = batch.len();
        Box::pin(async move { (0..count).map(|_| Ok(Receipt::new(1))).collect() })
    }

    fn close<'a, 'c>(&'a self) -> Pin<Box<dyn Future<Output = Result<()>> + Send + 'c>>
    where
        'a: 'c,
        Self: 'c,
    {
        Box::pin(async { Err(Error::new(ErrorKind::Other, "cannot disconnect")) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_before_the_first_await_is_no_different_and_a_failure_to_close_is_told_to_all() {
    let sender = Sender::new(Arc::new(Hasty), settings(|_| {})).unwrap();
    assert_eq!(letters(&outcomes(accept(&sender, [plain("a")]).await).await), "U");
    assert_eq!(letters(&outcomes(accept(&sender, [plain("b")]).await).await), "S");
    for _ in 0..2 {
        assert_eq!(sender.close().await.unwrap_err().to_string(), "cannot disconnect");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_is_forgotten_and_its_message_is_not() {
    let (provider, sender) = open(|settings| settings.linger = crate::provider::MS);
    for n in 0..1000 {
        let pending = sender.enqueue(plain(&n.to_string())).await.unwrap();
        if n % 2 == 0 {
            drop(pending);
        } else {
            sender.flush().await.unwrap();
            drop(pending);
        }
    }
    sender.flush().await.unwrap();
    assert_eq!((provider.stored().len(), sender.health().messages), (1000, 0));
}

#[tokio::test(start_paused = true)]
async fn a_pending_tells_whoever_polled_it_last() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Held]);
    let mut pending = sender.enqueue(plain("a")).await.unwrap();
    assert!(crate::provider::poll(&mut pending).await.is_pending());
    let task = tokio::spawn(pending);
    crate::provider::settle().await;
    provider.release(1);
    assert!(task.await.unwrap().is_sent());
}
