//! Order by key, whatever fails in part, and what is sent again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use strait_core::{ErrorKind, Message, Producer as _};
use strait_kinesis::Envelope;
use strait_runtime::{Sender, SenderSettings};
use strait_testkit::kinesis::{Fault, StreamSettings};

use super::{message, orders, payloads, stored};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// Of one request, each combination of records fails once: what is behind a message of its key is never stored before it.
#[tokio::test]
async fn a_key_is_in_order_under_every_mask_of_a_request() {
    for envelope in [Envelope::Kpl, Envelope::Plain] {
        for mask in 0..8_usize {
            let (stub, producer) = orders(StreamSettings::default(), envelope).await;
            let failing: Vec<_> = (0..3).filter(|place| mask & (1 << place) > 0).collect();
            let calls = Arc::new(AtomicUsize::new(0));
            stub.plan(move |call| {
                let is_first = call.operation == "PutRecords" && calls.fetch_add(1, Relaxed) == 0;
                is_first.then(|| Fault::Mask(failing.clone(), THROTTLED))
            });
            let batch: Vec<_> = ["a", "b", "a", "b", "a"]
                .iter()
                .zip(0..)
                .map(|(name, number)| message(name, number, format!("{name}{number}")))
                .collect();
            let outcomes = producer.send(&batch).await;
            let kept: Vec<_> = batch
                .iter()
                .zip(&outcomes)
                .filter(|(_, outcome)| outcome.is_ok())
                .map(|(message, _)| message.clone())
                .collect();
            for name in ["a", "b"] {
                let of = |all: &[Message]| -> Vec<String> {
                    payloads(all).into_iter().filter(|it| it.starts_with(name)).collect()
                };
                let (sent, all) = (of(&kept), of(&batch));
                assert_eq!(
                    sent,
                    all[..sent.len()],
                    "{envelope:?} {mask}: what is sent is a beginning of what was to be sent"
                );
                assert_eq!(of(&stored(&stub)), sent, "{envelope:?} {mask}");
            }
        }
    }
}

/// What of a key does not fit into a record goes once the record before it is stored.
#[tokio::test]
async fn the_rest_of_a_key_waits_for_the_record_before_it() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    let large = |number| message("a", number, vec![b'0' + u8::try_from(number).unwrap(); 600_000]);
    let batch = [large(0), message("b", 9, "b"), large(1), large(2)];
    assert!(producer.send(&batch).await.iter().all(Result::is_ok));
    assert_eq!(stub.seen("PutRecords").len(), 3);
    let order: Vec<_> = stored(&stub).iter().map(|message| message.payload[0]).collect();
    assert_eq!(order, [b'0', b'b', b'1', b'2']);

    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    stub.plan(|_| Some(Fault::Mask(vec![0], "InternalFailure")));
    let outcomes = producer.send(&batch).await;
    let told: Vec<_> = outcomes
        .iter()
        .map(|outcome| outcome.as_ref().map_err(|error| (error.kind(), error.is_ambiguous())).err())
        .collect();
    let (unknown, not_sent) = ((ErrorKind::Unavailable, true), (ErrorKind::Unavailable, false));
    assert_eq!(told, [Some(unknown), None, Some(not_sent), Some(not_sent)]);
    assert_eq!((stub.seen("PutRecords").len(), stored(&stub).len()), (1, 1));
}

/// Masks that change with each request, until all is stored: in order by key, and nothing of what was confirmed again.
#[tokio::test]
async fn a_sender_stores_each_message_once_and_in_order() {
    for envelope in [Envelope::Kpl, Envelope::Plain] {
        let (stub, producer) = orders(StreamSettings::default().with_shards(4), envelope).await;
        let round = Arc::new(AtomicUsize::new(0));
        stub.plan(move |call| {
            let round = round.fetch_add(1, Relaxed);
            let failing = (0..500).filter(|place| (place * 7 + round * 13) % 5 < 2).collect();
            (call.operation == "PutRecords").then_some(Fault::Mask(failing, THROTTLED))
        });
        let sender = Sender::new(Arc::new(producer), SenderSettings::default()).unwrap();
        let mut tickets = Vec::new();
        for number in 0..300_u64 {
            let name = format!("key-{}", number % 7);
            tickets.push(sender.enqueue(Message::new(number.to_string()).with_key(super::key(&name))).await.unwrap());
        }
        for ticket in tickets {
            ticket.await.into_result().unwrap();
        }
        let mut by_key: BTreeMap<_, Vec<u64>> = BTreeMap::new();
        for message in stored(&stub) {
            let number = std::str::from_utf8(&message.payload).unwrap().parse().unwrap();
            by_key.entry(message.key.unwrap()).or_default().push(number);
        }
        let all: usize = by_key.values().map(Vec::len).sum();
        assert_eq!((all, by_key.len()), (300, 7), "{envelope:?}");
        assert!(by_key.values().all(|numbers| numbers.is_sorted()), "{envelope:?}: {by_key:?}");
        sender.close().await.unwrap();
    }
}
