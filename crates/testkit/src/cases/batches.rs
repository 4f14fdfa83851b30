//! How much is in hand, and batches.

use strait_core::Message;
use strait_runtime::Failure;
use tokio::time::timeout;

use crate::{
    Rig,
    stage::{PATIENCE, Stage, key, message, messages, millis, next, nothing, secs, take, text, until},
};

/// Once as much is unacknowledged as is allowed, nothing more is fetched or handed out; acknowledging lets it go on.
pub async fn c36_unacknowledged_messages_are_limited(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    stage.send((0..200).map(|number| message(&format!("k{number}-"), number))).await;
    let open = stage
        .open_with(|settings| {
            settings.in_flight = 4;
            settings.buffer = 8;
        })
        .await;
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(next(&open).await);
    }
    nothing(&open, stage.can.watch(secs(20))).await;
    let counts = open.member.meter.counts();
    assert!(counts.buffered_messages <= 8 && counts.received <= 8, "{counts:?}");
    held.pop().unwrap().ack();
    held.push(next(&open).await);
    nothing(&open, secs(2)).await;
    for delivery in held {
        delivery.ack();
    }
    for _ in 0..195 {
        let delivery = next(&open).await;
        assert!(open.member.meter.counts().buffered_messages <= 8);
        delivery.ack();
    }
    stage.settled().await;
}

/// A batch has at most as many as were asked for, does not wait for more, and each message its own end.
pub async fn c37_each_message_of_a_batch_has_its_own_end(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let open = stage.open().await;
    stage.send((0..10).map(|number| Message::new(number.to_string()).with_key(key(&number.to_string())))).await;
    until("all are there", || open.member.meter.counts().received == 10).await;
    let mut all = Vec::new();
    let first = timeout(millis(100), open.recv_batch(6)).await.expect("it does not wait").unwrap().unwrap();
    assert_eq!(first.len(), 6);
    let second = timeout(millis(100), open.recv_batch(6)).await.expect("nor for a full one").unwrap().unwrap();
    assert_eq!(second.len(), 4);
    assert!(timeout(secs(1), open.recv_batch(6)).await.is_err(), "never an empty one");
    for mut batch in [first, second] {
        let texts: Vec<_> = batch.messages().map(text).collect();
        assert!(batch.iter().all(|entry| entry.attempt() == 1 && !entry.is_lost()));
        for (index, text) in texts.iter().enumerate() {
            if ["3", "7"].contains(&text.as_str()) {
                batch.fail(index, Failure::retry("as planned"));
            }
        }
        batch.ack();
        all.extend(texts);
    }
    all.sort();
    assert_eq!(all, (0..10).map(|number| number.to_string()).collect::<Vec<_>>());
    let mut again = Vec::new();
    while again.len() < 2 {
        let batch = timeout(PATIENCE, open.recv_batch(10)).await.expect("what failed comes again").unwrap().unwrap();
        assert!(batch.iter().all(|entry| entry.attempt() == 2));
        again.extend(batch.messages().map(text));
        batch.ack();
    }
    again.sort();
    assert_eq!(again, ["3", "7"]);
    nothing(&open, stage.can.watch(secs(30))).await;
    stage.settled().await;
}

/// Of a key, what is behind a failed message of the batch is done again, after it.
pub async fn c37_of_a_key_what_is_behind_a_failure_is_done_again(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    if !stage.can.is_ordered() {
        let open = super::order::asking_for_order(&stage).await;
        return assert!(open.is_err(), "order is not promised, and asking for it is refused");
    }
    stage.send(messages("a", 0..4)).await;
    let open = stage.open().await;
    until("some are there", || open.member.meter.counts().received >= 1).await;
    let mut done = Vec::new();
    let mut failed = false;
    while done.len() < 4 {
        let mut batch = timeout(PATIENCE, open.recv_batch(4)).await.expect("the rest comes").unwrap().unwrap();
        let texts: Vec<_> = batch.messages().map(text).collect();
        match texts.iter().position(|text| text == "a1") {
            Some(index) if !failed => {
                batch.fail(index, Failure::retry("as planned"));
                failed = true;
                done.extend(texts[..index].iter().cloned());
            }
            _ => done.extend(texts),
        }
        batch.ack();
    }
    assert_eq!(done, ["a0", "a1", "a2", "a3"]);
    assert!(failed && take(&open, 0).await.is_empty());
    stage.settled().await;
}
