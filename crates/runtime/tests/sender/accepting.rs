//! What is accepted, what is refused, and how room is waited for.

use std::{error::Error as _, future::Future as _, pin::pin, sync::Arc, task::Poll, time::Duration};

use strait_core::{Claim, Error, ErrorKind, Grant, Id, Limits, Message, Origin, Received, Token, reserved};
use strait_runtime::{AfterFailure, Sender, SenderSettings, TryEnqueueError};

use crate::provider::{
    Answer, Fate, MS, Provider, SECOND, accept, error, keyed, letters, of_bytes, open, open_with, outcomes, plain,
    poll, settings, settle,
};

fn claim() -> Claim {
    Grant::new(None, None).claim(Token::default())
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_carried_is_refused_by_name_and_touches_nothing() {
    let (provider, sender) = open(|settings| settings.after_failure = AfterFailure::Pause);
    let received = Received::new(keyed("a"), claim(), Origin::default()).message;
    for (message, kind, text) in [
        (keyed("a").with_header("refused", "1"), ErrorKind::Unsupported, "headers: \"refused\""),
        (of_bytes(101).with_key("a"), ErrorKind::Invalid, "message: has 101 bytes"),
        (plain("1").with_key(""), ErrorKind::Invalid, "key: has 0 bytes, and must have 1 to 1024"),
        (plain("1").with_key("k".repeat(1025)), ErrorKind::Invalid, "key: has 1025 bytes, and must have 1 to 1024"),
        (received.clone(), ErrorKind::Invalid, "forward()"),
        (keyed("a").with_header("strait-secret", "s3cret"), ErrorKind::Invalid, "\"strait-secret\""),
    ] {
        for error in [
            sender.enqueue(message.clone()).await.unwrap_err(),
            match sender.try_enqueue(message).unwrap_err() {
                TryEnqueueError::Refused(error) => error,
                other => panic!("{other}"),
            },
        ] {
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains(text), "{error}");
            assert!(!error.to_string().contains("s3cret"), "{error}");
        }
    }
    let health = sender.health();
    assert_eq!((health.messages, health.bytes, health.paused_keys), (0, 0, 0));
    assert!(provider.requests().is_empty());
    for message in [
        of_bytes(100).with_key("a"),
        received.forward(),
        received.redrive(),
        keyed("a").with_header(reserved::CAUSE, "c"),
    ] {
        sender.send(message).await.unwrap();
    }
    assert!(sender.enqueue(of_bytes(101)).await.unwrap_err().to_string().contains("100"), "both numbers");
}

#[tokio::test(start_paused = true)]
async fn why_a_message_was_not_accepted_reads_as_a_sentence() {
    let full = TryEnqueueError::Full(plain("s3cret"));
    assert!(full.to_string() == "the sender's buffer is full" && full.source().is_none());
    let refused = TryEnqueueError::Refused(Error::new(ErrorKind::Invalid, "message: is bad").with_source("badness"));
    assert_eq!(refused.to_string(), "message: is bad");
    assert_eq!(refused.source().unwrap().to_string(), "badness");
}

#[tokio::test(start_paused = true)]
async fn any_content_arrives_as_it_was() {
    let (provider, sender) = open_with(Limits::new(10, 4096), |_| {});
    let every_byte: Vec<u8> = (0..=255).collect();
    let message = Message::new(every_byte).with_key("ключ 1").with_header("Ünïcode", vec![0, 255]);
    let id = Id::from_bytes([7; 16]);
    sender.send(message.clone().with_id(id)).await.unwrap();
    sender.send(Message::default()).await.unwrap();
    let stored = provider.stored();
    assert_eq!(stored[0], message.with_id(id));
    assert!(stored[1].payload.is_empty() && stored[1].id.is_some());
}

#[tokio::test(start_paused = true)]
async fn ids_are_stamped_once_and_grow() {
    let (provider, sender) = open(|_| {});
    let accepted = accept(&sender, (0..300).map(|n| plain(&n.to_string()))).await;
    outcomes(accepted).await;
    let mut stored = provider.stored();
    stored.sort_by_key(|message| String::from_utf8_lossy(&message.payload).parse::<u32>().unwrap());
    let ids: Vec<_> = stored.iter().map(|message| message.id.unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
    assert!(ids.iter().all(|id| id.as_bytes()[6] >> 4 == 7));
}

#[tokio::test(start_paused = true)]
async fn the_buffer_is_bounded_at_all_times() {
    // 128 bytes a message beside its own.
    let (provider, sender) = open_with(Limits::new(2, 1000), |settings| {
        settings.buffer_bytes = 1000;
        settings.requests = 1;
    });
    provider.rule(|_| Answer::Held);
    let held: Vec<_> = std::iter::from_fn(|| sender.try_enqueue(of_bytes(72)).ok()).collect();
    assert_eq!((held.len(), sender.health().bytes), (5, 1000));
    let Err(TryEnqueueError::Full(back)) = sender.try_enqueue(plain("")) else { panic!("accepted") };
    assert_eq!(back, plain(""));
    let mut waiting = pin!(sender.enqueue(plain("")));
    assert!(poll(&mut waiting).await.is_pending());
    provider.release(1);
    settle().await;
    assert!(poll(&mut waiting).await.is_ready(), "two were sent, so there is room");
    assert!(sender.health().bytes <= 1000);
    provider.release(100);
    assert_eq!(letters(&outcomes(held).await), "SSSSS");
    sender.flush().await.unwrap();
    assert_eq!((sender.health().messages, sender.health().bytes), (0, 0));
    let empty: Vec<_> = std::iter::from_fn(|| sender.try_enqueue(plain("")).ok()).collect();
    assert_eq!(empty.len(), 7, "empty ones are bounded too");
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_buffer_waits_until_it_is_alone() {
    let (provider, sender) = open_with(Limits::new(10, 10_000), |settings| settings.buffer_bytes = 1000);
    provider.rule(|_| Answer::Held);
    let small = sender.enqueue(plain("a")).await.unwrap();
    let mut large = pin!(sender.enqueue(of_bytes(10_000)));
    assert!(poll(&mut large).await.is_pending());
    assert!(matches!(sender.try_enqueue(plain("b")), Err(TryEnqueueError::Full(_))), "it would starve the large one");
    provider.release(1);
    assert!(small.await.is_sent());
    let Poll::Ready(large) = poll(&mut large).await else { panic!("the buffer is empty") };
    assert!(matches!(sender.try_enqueue(plain("c")), Err(TryEnqueueError::Full(_))));
    provider.release(1);
    assert!(large.unwrap().await.is_sent());
}

#[tokio::test(start_paused = true)]
async fn room_is_given_in_turn_and_a_call_that_is_dropped_leaves_no_trace() {
    let (provider, sender) = open_with(Limits::new(10, 1000), |settings| settings.buffer_bytes = 400);
    provider.rule(|_| Answer::Held);
    let first = sender.enqueue(of_bytes(272)).await.unwrap();
    let mut calls: Vec<_> = ["b1", "b2", "b3", "b4"].map(|text| Box::pin(sender.enqueue(keyed(text)))).into();
    for call in &mut calls {
        assert!(poll(call).await.is_pending());
    }
    drop(calls.remove(1));
    provider.release(1);
    assert!(first.await.is_sent());
    let mut pendings = Vec::new();
    for call in calls {
        provider.release(1);
        pendings.push(call.await.unwrap());
    }
    assert_eq!(letters(&outcomes(pendings).await), "SSS");
    let stored: Vec<_> = provider.stored().iter().skip(1).map(crate::provider::text).collect();
    assert_eq!(stored, ["b1", "b3", "b4"], "the order in which calls returned, without the one that was dropped");
    assert_eq!(sender.health().bytes, 0, "no room is lost");
    provider.check();
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_at_any_point_harms_nobody_else() {
    for polls in 0..4 {
        let (provider, sender) = open_with(Limits::new(1, 1000), |settings| settings.buffer_bytes = 300);
        provider.rule(|_| Answer::After(MS, Box::new(Answer::Store)));
        let before = sender.enqueue(keyed("a1")).await.unwrap();
        let also = sender.enqueue(keyed("a2")).await.unwrap();
        {
            let mut call = pin!(sender.send(keyed("a3")));
            for _ in 0..polls {
                std::future::poll_fn(|context| {
                    let _ = call.as_mut().poll(context);
                    Poll::Ready(())
                })
                .await;
                tokio::time::sleep(MS).await;
            }
        }
        assert!(sender.send(keyed("a4")).await.is_ok());
        assert!(before.await.is_sent() && also.await.is_sent());
        sender.flush().await.unwrap();
        let stored: Vec<_> = provider.stored().iter().map(crate::provider::text).collect();
        assert!(stored.is_sorted() && stored.len() >= 3, "{stored:?}");
        assert_eq!(sender.health().bytes, 0);
        provider.check();
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_sender_refuses_also_those_who_wait() {
    let (provider, sender) = open(|settings| settings.buffer_bytes = 200);
    provider.rule(|_| Answer::Held);
    let held = sender.enqueue(plain("a")).await.unwrap();
    let mut waiting = pin!(sender.enqueue(of_bytes(90)));
    assert!(poll(&mut waiting).await.is_pending());
    let clone = sender.clone();
    let mut closing = pin!(clone.close());
    assert!(poll(&mut closing).await.is_pending());
    assert_eq!(waiting.await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sender.enqueue(plain("b")).await.unwrap_err().kind(), ErrorKind::Closed);
    provider.release(1);
    closing.await.unwrap();
    assert!(held.await.is_sent());
}

#[tokio::test(start_paused = true)]
async fn many_may_be_sent_at_once_and_each_has_its_outcome_in_order() {
    let (provider, sender) = open(|_| {});
    provider.answer([Answer::Each(vec![Fate::Store, Fate::Fail(ErrorKind::Denied)])]);
    let messages = [plain("a"), plain("b"), of_bytes(101), plain("c")];
    assert_eq!(letters(&sender.send_all(messages).await), "SNNS");
    assert_eq!(provider.texts(), [["a", "b", "c"]]);
}

#[tokio::test(start_paused = true)]
async fn a_message_may_be_smaller_than_a_request_is() {
    let (provider, sender) = open_with(Limits::new(10, 100).with_message_bytes(40), |settings| settings.requests = 1);
    let outcomes = sender.send_all([40, 41, 40, 20].map(of_bytes)).await;
    assert_eq!(letters(&outcomes), "SNSS");
    let refused = error(outcomes.into_iter().nth(1).unwrap());
    assert_eq!(refused.to_string(), "sender: message: has 41 bytes, and the provider takes at most 40");
    assert_eq!(provider.sizes(), [3], "and so many of them share a request");
}

#[test]
fn outside_a_runtime_it_is_refused_without_a_panic() {
    let error = Sender::new(Arc::new(Provider::new(Limits::new(1, 1))), SenderSettings::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
}

type Change = fn(&mut SenderSettings);

#[tokio::test(start_paused = true)]
async fn settings_that_cannot_be_used_are_refused_by_name() {
    let wrong: [(&str, Change); 7] = [
        ("buffer_bytes", |settings| settings.buffer_bytes = 0),
        ("buffer_bytes", |settings| settings.buffer_bytes = usize::MAX),
        ("requests", |settings| settings.requests = 0),
        ("deadline", |settings| settings.deadline = Duration::ZERO),
        ("deadline", |settings| settings.deadline = Duration::MAX),
        ("linger", |settings| settings.linger = 10 * SECOND),
        ("backoff.first", |settings| settings.backoff.first = 2 * SECOND),
    ];
    for (name, change) in wrong {
        let error = Sender::new(Arc::new(Provider::new(Limits::new(1, 1))), settings(change)).expect_err(name);
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains(name), "{error}");
    }
    for limits in [Limits::new(0, 1), Limits::new(1, 0), Limits::new(1, 1).with_message_bytes(2)] {
        let error = Sender::new(Arc::new(Provider::new(limits)), settings(|_| {})).unwrap_err();
        assert!(error.kind() == ErrorKind::Config && error.to_string().contains("limits"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_deadline_is_far_and_the_wait_for_it_is_short() {
    let (provider, sender) = open(|settings| settings.deadline = 20 * MS);
    provider.rule(|_| Answer::Hang);
    let start = tokio::time::Instant::now();
    assert_eq!(letters(&outcomes(accept(&sender, [plain("a")]).await).await), "U");
    assert!(start.elapsed() <= SECOND + 20 * MS);
}
