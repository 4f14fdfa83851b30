//! The order of a key, under everything that can go wrong.

use std::collections::{HashMap, HashSet};

use strait_core::{ErrorKind, Limits, Message, Position};
use strait_runtime::{Backoff, Outcome, Sender};

use crate::provider::{Answer, Fate, MS, Provider, keyed, open_with, plain, text};

/// A provider that fails as a seed says, and never a message for good.
fn unsteady(provider: &Provider, seed: u64, terminal: bool) {
    let mut random = fastrand::Rng::with_seed(seed);
    provider.rule(move |batch| {
        let mut fate = || match random.u32(..20) {
            0..3 => Fate::Fail(ErrorKind::Throttled),
            3 => Fate::Lose(ErrorKind::Unavailable, false),
            4 => Fate::Lose(ErrorKind::Unavailable, true),
            5 if terminal => Fate::Fail(ErrorKind::Denied),
            6 if terminal => Fate::Lose(ErrorKind::Other, true),
            _ => Fate::Store,
        };
        let answer = Answer::Each(batch.iter().map(|_| fate()).collect());
        match random.u32(..30) {
            0 if terminal => Answer::Panic,
            1 if terminal => Answer::Count(random.usize(..4)),
            0..15 => Answer::After(MS * random.u32(..5), Box::new(answer)),
            _ => answer,
        }
    });
}

/// Sends `count` messages of the key `letter`, a few at a time. Returns their texts with their outcomes, in order.
async fn produce(sender: Sender, letter: char, count: usize) -> Vec<(String, Outcome)> {
    let mut produced = Vec::new();
    let mut waiting = Vec::new();
    for n in 0..count {
        let text = format!("{letter}{n}");
        let message = if letter == '-' { plain(&text) } else { keyed(&text) };
        waiting.push((text, sender.enqueue(message).await.unwrap()));
        if waiting.len() == 8 {
            for (text, pending) in waiting.drain(..4) {
                produced.push((text, pending.await));
            }
        }
    }
    for (text, pending) in waiting {
        produced.push((text, pending.await));
    }
    produced
}

/// Whether the outcomes are true, and what is sent of a key is stored in the order in which it was accepted.
fn verify(provider: &Provider, produced: &[Vec<(String, Outcome)>]) {
    let stored: Vec<Message> = provider.stored();
    let mut ids = HashMap::new();
    for message in &stored {
        let id = ids.entry(text(message)).or_insert(message.id);
        assert_eq!(*id, message.id, "a new id on a retry");
    }
    let texts: HashSet<_> = stored.iter().map(text).collect();
    for list in produced {
        let mut last = 0;
        for (name, outcome) in list {
            match outcome {
                Outcome::Sent(receipt) => {
                    let Position::Number(position) = receipt.position else { panic!("not the provider's") };
                    let index = usize::try_from(position - 1).unwrap();
                    assert_eq!(text(&stored[index]), *name);
                    assert!(position > last || name.starts_with('-'), "{name} was overtaken");
                    last = position;
                }
                Outcome::NotSent(_) => assert!(!texts.contains(name), "{name} was not sent, and is stored"),
                Outcome::Unknown(_) => {}
            }
        }
    }
    provider.check();
}

/// Two or three messages of a key share a request.
const KEY_BYTES: usize = 8;

async fn run(seed: u64, limits: Limits, terminal: bool) {
    let (provider, sender) = open_with(limits, |settings| {
        settings.buffer_bytes = 2000;
        settings.requests = 3;
        settings.linger = MS * u32::try_from(seed % 3).unwrap();
        settings.backoff = Backoff::new(MS, 20 * MS);
    });
    unsteady(&provider, seed, terminal);
    let tasks: Vec<_> = "abcde-".chars().map(|letter| tokio::spawn(produce(sender.clone(), letter, 60))).collect();
    let mut produced = Vec::new();
    for task in tasks {
        produced.push(task.await.unwrap());
    }
    sender.close().await.unwrap();
    assert_eq!(produced.iter().map(Vec::len).sum::<usize>(), 360);
    if !terminal {
        assert!(produced.iter().flatten().all(|(_, outcome)| outcome.is_sent()));
    }
    let failed = produced.iter().flatten().filter(|(_, outcome)| !outcome.is_sent()).count();
    assert!(provider.requests().len() > 30 && (failed > 0) == terminal, "nothing went wrong: {failed}");
    assert_eq!((sender.health().messages, sender.health().bytes), (0, 0));
    verify(&provider, &produced);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_in_order_under_throttling_and_partial_failure() {
    for seed in 0..30 {
        run(seed, Limits::new(5, 100), false).await;
        run(seed, Limits::new(5, 100).with_key_bytes(0), false).await;
        run(seed, Limits::new(5, 100).with_key_bytes(KEY_BYTES), false).await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_outcome_is_true_and_in_order_when_some_fail_for_good() {
    for seed in 0..30 {
        run(seed, Limits::new(5, 100), true).await;
        run(seed, Limits::new(5, 100).with_key_bytes(0), true).await;
        run(seed, Limits::new(5, 100).with_key_bytes(KEY_BYTES), true).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_key_is_in_order_when_threads_compete() {
    for seed in 0..5 {
        run(seed, Limits::new(5, 100), false).await;
        run(seed, Limits::new(5, 100), true).await;
    }
}
