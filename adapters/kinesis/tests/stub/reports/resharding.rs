use std::time::Duration;

use strait_core::ErrorKind;
use strait_kit::RowStore as _;
use tokio::time::{Instant, sleep, timeout};

use crate::group::{EXPIRY, FIRST, SECOND, Scene, check};

/// Report 3: a shard that is split twice is read on without a restart.
#[tokio::test]
async fn r3_a_group_reads_on_where_its_only_shard_is_split_twice() {
    let scene = Scene::new("r3", 1).await;
    let member = scene.join().await;
    scene.send(0..8).await;
    check(&member.take(8).await, 0..8);
    let [_, right] = scene.stub.split("orders", FIRST);
    scene.send(8..16).await;
    check(&member.take(8).await, 8..16);
    scene.stub.split("orders", &right);
    scene.send(16..24).await;
    check(&member.take(8).await, 16..24);
    member.close().await;
}

/// Report 4: a child waits for parents that are still listed and unread, also if their rows are missing.
#[tokio::test]
async fn r4_a_child_waits_for_parents_without_rows() {
    let scene = Scene::new("r4", 2).await;
    // So that there are rows of the parents.
    let member = scene.join().await;
    timeout(Duration::from_secs(1), member.receiver.recv()).await.expect_err("nothing was sent");
    member.close().await;
    scene.send(0..16).await;
    scene.stub.merge("orders", [FIRST, SECOND]);
    scene.send(16..32).await;
    let rows = scene.rows().await;
    let before = rows.versions("part/").await.unwrap().len();
    for parent in [FIRST, SECOND] {
        rows.delete(&format!("part/{parent}")).await.unwrap();
    }
    assert_eq!((before, rows.versions("part/").await.unwrap().len()), (2, 0));
    let member = scene.join().await;
    check(&member.take(32).await, 0..32);
    member.close().await;
}

/// Report 5: where a process is killed between the rows of two children, and before the end of the parent, another one goes
/// on there.
#[tokio::test]
async fn r5_a_parent_is_ended_by_the_next_owner() {
    let scene = Scene::new("r5", 1).await;
    let member = scene.join().await;
    scene.send(0..8).await;
    check(&member.take(8).await, 0..8);
    member.rows.cut_after(SECOND);
    scene.stub.split("orders", FIRST);
    timeout(Duration::from_secs(20), async {
        while !member.rows.is_cut() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it writes the rows of the children");
    member.kill();
    scene.send(8..16).await;
    let began = Instant::now();
    let member = scene.join().await;
    check(&member.take(8).await, 8..16);
    assert!(began.elapsed() < 4 * EXPIRY, "by a takeover, and not by an audit: {:?}", began.elapsed());
    member.close().await;
}

/// Report 6: a stream that is deleted is not the end of its shards: it shows, and is asked for now and then.
#[tokio::test]
async fn r6_a_stream_that_is_deleted_while_it_is_read_shows() {
    let scene = Scene::new("r6", 2).await;
    let member = scene.join().await;
    scene.send(0..8).await;
    check(&member.take(8).await, 0..8);
    let rows = scene.rows().await;
    let before: Vec<_> = rows.versions("part/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    scene.stub.delete("orders");
    let shows = || member.receiver.health().counts.failures.values().any(|(_, kind)| *kind == ErrorKind::NotFound);
    timeout(Duration::from_secs(20), async {
        while !shows() {
            sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("it shows in its health");
    scene.stub.forget_calls();
    sleep(Duration::from_secs(3)).await;
    let calls = ["GetRecords", "GetShardIterator", "ListShards"].map(|operation| scene.stub.seen(operation).len());
    assert!(calls.iter().sum::<usize>() < 60, "{calls:?} calls in 3 s");
    let after: Vec<_> = rows.versions("part/").await.unwrap().into_iter().map(|(key, _)| key).collect();
    assert_eq!(after, before, "no row is gone or new");
    member.kill();
}

/// Report 47: open shards are read at once by a group that has drained many closed ones, and soon by a new one.
#[tokio::test]
async fn r47_twenty_generations_of_closed_shards_hold_nobody_up() {
    let scene = Scene::new("r47", 2).await;
    let mut pair = [FIRST.to_owned(), SECOND.to_owned()];
    let mut sent = 0;
    for _ in 0..10 {
        scene.send(sent..sent + 8).await;
        sent += 8;
        let merged = scene.stub.merge("orders", [&pair[0], &pair[1]]);
        pair = scene.stub.split("orders", &merged);
    }
    scene.send(sent..sent + 8).await;
    let began = Instant::now();
    let member = scene.join().await;
    check(&member.take(usize::try_from(sent).unwrap() + 8).await, 0..sent + 8);
    assert!(began.elapsed() < Duration::from_secs(15), "a new group: {:?}", began.elapsed());
    member.close().await;
    scene.send(sent + 8..sent + 16).await;
    let began = Instant::now();
    let member = scene.join().await;
    let mut found = member.take(1).await;
    assert!(began.elapsed() < Duration::from_secs(3), "a group that knows them: {:?}", began.elapsed());
    found.extend(member.take(7).await);
    check(&found, sent + 8..sent + 16);
    member.close().await;
}
