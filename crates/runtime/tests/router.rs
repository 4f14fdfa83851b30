//! Which handler a message goes to, and deliveries as a stream.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod support;

use std::{sync::Arc, time::Duration};

use futures_util::TryStreamExt as _;
use strait_core::Message;
use strait_runtime::{Context, DeadLetter, Delivery, Failure, Receiver, ReceiverSettings, Router, Worker};
use support::{Script, message, text};
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};

const MINUTE: Duration = Duration::from_secs(60);

fn receiver(script: &Script) -> Receiver {
    Receiver::new(Arc::new(script.clone()), ReceiverSettings::new(DeadLetter::Discard)).unwrap()
}

type Seen = mpsc::UnboundedSender<String>;

/// A handler that says its name and what it got.
fn says(
    name: &'static str,
    seen: &Seen,
) -> impl Fn(Delivery, Context) -> std::future::Ready<Result<(), Failure>> + use<> {
    let seen = seen.clone();
    move |delivery, _| {
        seen.send(format!("{name} {}", text(delivery.message()))).unwrap();
        std::future::ready(Ok(()))
    }
}

/// Works on all of `messages`, and returns what handlers said and how many were discarded.
async fn routed<H, F>(messages: Vec<Message>, handler: impl FnOnce(&Seen) -> H) -> (Vec<String>, u64)
where
    H: Fn(Delivery, Context) -> F + Send + Sync + 'static,
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let (script, count) = (Script::default(), messages.len());
    for message in messages {
        script.push_message(message);
    }
    let (seen, mut said) = mpsc::unbounded_channel();
    let receiver = receiver(&script);
    let worker = tokio::spawn(Worker::new(receiver.clone()).run(handler(&seen)));
    timeout(MINUTE, async {
        while script.settled().len() < count {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await
    .expect("a message is never settled");
    receiver.close().await.unwrap();
    worker.await.unwrap().unwrap();
    drop(seen);
    let mut list = Vec::new();
    said.recv_many(&mut list, count + 1).await;
    list.sort();
    (list, receiver.health().counts.dead_lettered)
}

#[tokio::test(start_paused = true)]
async fn a_header_chooses_the_handler() {
    let of = |payload: &str, kind: &'static str| message(payload).with_header("type", kind);
    let messages = || vec![of("a1", "placed"), of("b1", "cancelled"), of("c1", "lost"), message("d1")];
    let router =
        |seen: &Seen| Router::by_header("type").on("placed", says("place", seen)).on("cancelled", says("cancel", seen));
    let (said, discarded) = routed(messages(), |seen| router(seen).otherwise(says("other", seen))).await;
    assert_eq!((said.join(", ").as_str(), discarded), ("cancel b1, other c1, other d1, place a1", 0));
    let (said, discarded) = routed(messages(), |seen| router(seen).otherwise_reject()).await;
    assert_eq!((said.join(", ").as_str(), discarded), ("cancel b1, place a1", 2));
    let (said, discarded) = routed(messages(), |seen| router(seen).otherwise_ignore()).await;
    assert_eq!((said.join(", ").as_str(), discarded), ("cancel b1, place a1", 0));
}

#[tokio::test(start_paused = true)]
async fn conditions_come_first_in_their_order_and_a_later_route_replaces_an_earlier() {
    let messages = vec![message("a1").with_header("tier", "gold"), message("a2"), message("b1")];
    let (said, _) = routed(messages, |seen| {
        Router::by(|message| message.key.as_ref().map(ToString::to_string))
            .on("a", says("early", seen))
            .on("a", says("late", seen))
            .when(|message| message.headers.get_str("tier") == Some("gold"), says("vip", seen))
            .when(|message| text(message) == "b1" || message.headers.get("tier").is_some(), says("second", seen))
            .otherwise_reject()
    })
    .await;
    assert_eq!(said.join(", "), "late a2, second b1, vip a1");
}

#[tokio::test(start_paused = true)]
async fn a_place_in_json_chooses_the_handler_and_what_has_none_goes_otherwise() {
    let placed = r#"{"event":{"type":"placed"}}"#;
    let messages = [placed, r#"{"event":{"type":7}}"#, r#"{"event":"placed"}"#, "[]", "no json"];
    let messages = messages.map(Message::new).to_vec();
    let (said, _) = routed(messages, |seen| {
        Router::by_json("/event/type").on("placed", says("place", seen)).otherwise(says("other", seen))
    })
    .await;
    assert_eq!(said.iter().filter(|said| said.starts_with("other")).count(), 4, "{said:?}");
    assert!(said.contains(&format!("place {placed}")), "{said:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_brings_what_is_received_and_ends_when_it_is_closed() {
    let script = Script::default();
    script.push(&["a1", "b1", "c1"]);
    let receiver = receiver(&script);
    let closer = receiver.clone();
    let mut count = 0;
    let all = receiver.into_stream().try_for_each(|delivery| {
        delivery.ack();
        count += 1;
        if count == 3 {
            closer.stop();
        }
        async { Ok(()) }
    });
    timeout(MINUTE, all).await.expect("a closed receiver's stream goes on").unwrap();
    assert_eq!(count, 3);
}
