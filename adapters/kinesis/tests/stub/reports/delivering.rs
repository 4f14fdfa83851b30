use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use md5::{Digest as _, Md5};
use strait_core::ErrorKind;
use strait_kinesis::kpl::{Aggregate, MAGIC};
use strait_testkit::kinesis::Fault;
use tokio::time::{Instant, timeout};

use crate::{
    group::{EXPIRY, FIRST, Scene, check, numbers},
    key, message,
};

/// Report 19: what is in an aggregate is delivered, whatever shard its keys belong to.
#[tokio::test]
async fn r19_messages_whose_keys_belong_to_another_shard_are_delivered() {
    let scene = Scene::new("r19", 2).await;
    let mut aggregate = Aggregate::of(&key("k0"));
    for number in [0, 8] {
        aggregate.push(&message("k0", number, number.to_string())).unwrap();
    }
    let data = aggregate.finish();
    // In both shards, so that one of them is not that of the key; and one aggregate of two keys.
    for outer in ["a", "b", "c", "d"] {
        scene.stub.put("orders", outer, data.clone());
    }
    let field = |number: u8, value: &[u8]| [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat();
    let one = |index: u8, payload: &[u8]| field(3, &[&[8, index], &field(3, payload)[..]].concat());
    let content = [field(1, b"k1"), field(1, b"k2"), one(0, b"1"), one(1, b"2")].concat();
    scene.stub.put("orders", "a", [&MAGIC, &content[..], &Md5::digest(&content)[..]].concat());
    assert!(scene.stub.stored("orders").iter().all(|(_, records)| !records.is_empty()), "both shards have some");
    let member = scene.join().await;
    let mut found = numbers(&member.take(10).await);
    found.sort_unstable();
    assert_eq!(found, [0, 0, 0, 0, 1, 2, 8, 8, 8, 8]);
    member.close().await;
}

/// Reports 21 and 22: a process that is killed in the middle of an aggregate goes on in the middle of it.
#[tokio::test]
async fn r21_r22_a_group_goes_on_in_the_middle_of_an_aggregate() {
    let scene = Scene::new("r21", 1).await;
    scene.send_together(0..5).await;
    assert_eq!(scene.stub.stored("orders")[0].1.len(), 1);
    let member = scene.join().await;
    assert_eq!(numbers(&member.take(3).await), [0, 1, 2]);
    member.rows.committed().await;
    member.kill();
    let member = scene.join().await;
    assert_eq!(numbers(&member.take(2).await), [3, 4]);
    member.close().await;
}

/// Report 42: a backlog is read by few calls, with default settings.
#[tokio::test]
async fn r42_a_backlog_takes_few_calls() {
    let scene = Scene::new("r42", 10).await;
    for number in 0..10_000_u32 {
        scene.stub.put("orders", &format!("k{number}"), number.to_string());
    }
    let member = scene.join().await;
    let began = Instant::now();
    for _ in 0..10_000 {
        member.hold().await.ack();
    }
    let calls = scene.stub.seen("GetRecords").len();
    // The first call of each shard asks for few, and each of the next for eight times as many.
    assert!(calls <= 10 * 12, "{calls} calls in {:?}", began.elapsed());
    member.close().await;
}

/// Report 43: what an owner had in hand whose lease ended comes to the next one, whatever the first does with it later.
#[tokio::test]
async fn r43_what_a_past_owner_has_in_hand_is_not_skipped() {
    let scene = Scene::new("r43", 1).await;
    scene.send_together(0..3).await;
    let first = scene.join().await;
    let held = first.hold().await;
    first.rows.cut(true);
    let second = scene.join().await;
    let again = second.hold().await;
    assert_eq!(numbers(&[again.message().clone()]), [0]);
    first.rows.cut(false);
    assert_eq!(held.ack_confirmed().await.unwrap_err().kind(), ErrorKind::Lost);
    first.kill();
    again.ack_confirmed().await.unwrap();
    assert_eq!(numbers(&second.take(2).await), [1, 2]);
    second.close().await;
}

/// Report 45: a shard whose last records were read has not ended before they are settled.
#[tokio::test]
async fn r45_a_shard_has_not_ended_before_its_last_message_is_settled() {
    let scene = Scene::new("r45", 1).await;
    scene.send(0..3).await;
    scene.stub.split("orders", FIRST);
    scene.send(8..11).await;
    let member = scene.join().await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(member.hold().await);
    }
    let last = held.pop().unwrap();
    for delivery in held {
        delivery.ack_confirmed().await.unwrap();
    }
    let early = timeout(2 * EXPIRY, member.receiver.recv()).await;
    assert!(early.is_err(), "a child begins before its parent has ended");
    last.ack_confirmed().await.unwrap();
    check(&member.take(3).await, 8..11);
    member.close().await;
}

/// Report 44: a shard that is closed and empty is read once, and a child that is not found yet is asked for again.
#[tokio::test]
async fn r44_a_closed_and_empty_shard_is_not_read_for_ever() {
    let scene = Scene::new("r44", 1).await;
    let member = scene.join().await;
    scene.send(16..24).await;
    check(&member.take(8).await, 16..24);
    scene.stub.split("orders", FIRST);
    let asked = AtomicUsize::new(0);
    scene.stub.plan(move |call| {
        let is_child = call.operation == "GetShardIterator" && call.body["ShardId"] != FIRST;
        let is_refused = is_child && asked.fetch_add(1, Relaxed) < 2;
        is_refused.then_some(Fault::Refuse(400, "ResourceNotFoundException"))
    });
    scene.send(0..8).await;
    check(&member.take(8).await, 0..8);
    assert_eq!(
        member.receiver.health().counts.failures.get("receive").map(|(_, kind)| *kind),
        Some(ErrorKind::NotFound)
    );
    scene.stub.forget_calls();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let shards: Vec<_> = scene
        .stub
        .seen("GetRecords")
        .iter()
        .map(|call| {
            let iterator = STANDARD.decode(call.body["ShardIterator"].as_str().unwrap()).unwrap();
            String::from_utf8(iterator).unwrap().split(' ').nth(2).unwrap().to_owned()
        })
        .collect();
    assert!(shards.iter().all(|shard| shard != "0"), "{shards:?}");
    assert!(["1", "2"].iter().all(|child| shards.iter().any(|shard| shard == child)), "{shards:?}");
    member.close().await;
}
