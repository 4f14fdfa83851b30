//! What happens to what is in hand when somebody joins or leaves, and to what is dropped.

use std::collections::HashSet;

use futures_util::future::join_all;
use strait_core::{ErrorKind, Message};
use tokio::time::{Instant, sleep, timeout};

use crate::{
    Fault, Faults, Join, Needs, Rig, Site,
    stage::{Open, PATIENCE, Stage, expect, message, next, receive, secs, text},
};

/// A planned move, with messages settled above one that waits: nothing is worked on twice, and nothing is lost.
pub async fn c78_a_planned_move_duplicates_nothing(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 2, ..Needs::default() }).await;
    stage.send((0..40).map(|number| message(&format!("k{number}-"), number))).await;
    let few = |settings: &mut strait_runtime::ReceiverSettings| (settings.in_flight, settings.buffer) = (4, 8);
    let one = stage.open_with(few).await;
    let mut done = Vec::new();
    // The first of each partition waits, and what is behind it is settled.
    let mut waiting = HashSet::new();
    while done.len() < 10 {
        let delivery = next(&one).await;
        if waiting.insert(delivery.partition().map(str::to_owned)) {
            delivery.retry_after("not yet", secs(5));
        } else {
            done.push(text(delivery.message()));
            delivery.ack();
        }
    }
    sleep(secs(2)).await;
    let two = stage.open_with(few).await;
    let work = async |open: &Open| {
        let mut done = Vec::new();
        while let Ok(delivery) = timeout(stage.can.watch(secs(60)), open.recv()).await {
            let delivery = delivery.unwrap().unwrap();
            // So slow that a partition moves before its last message is worked on.
            sleep(stage.can.lease / 30).await;
            done.push((text(delivery.message()), delivery.partition().map(str::to_owned)));
            delivery.ack();
        }
        done
    };
    let (by_one, by_two) = tokio::join!(work(&one), work(&two));
    assert!(!by_two.is_empty(), "the second has a share");
    if stage.can.is_log() {
        let partitions: HashSet<_> = by_two.iter().map(|(_, partition)| partition).collect();
        assert_eq!(partitions.len(), 1, "a partition of two moves");
    }
    done.extend(by_one.into_iter().chain(by_two).map(|(text, _)| text));
    done.sort();
    let mut all: Vec<_> = (0..40).map(|number| format!("k{number}-{number}")).collect();
    all.sort();
    assert_eq!(done, all);
    stage.settled().await;
}

/// A planned move while progress cannot be stored: it waits for that, and nothing is worked on twice.
pub async fn c78_a_planned_move_waits_for_its_commit(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 2, ..Needs::default() }).await;
    if !stage.can.is_log() {
        return; // nothing moves
    }
    let faults = Faults::scripted();
    let one = stage.open_as(Join::with(&faults), |_| {}).await;
    faults.always(Site::Commit, Fault::Fail(ErrorKind::Unavailable));
    stage.send((0..20).map(|number| message(&format!("k{number}-"), number))).await;
    for _ in 0..20 {
        next(&one).await.ack();
    }
    let two = stage.open().await;
    sleep(secs(5)).await;
    assert!(faults.count(Site::Commit) > 0);
    faults.heal();
    let again = async {
        tokio::select! { again = next(&one) => again, again = next(&two) => again }
    };
    let again = timeout(stage.can.watch(secs(60)), again).await;
    assert!(again.is_err(), "{:?} comes again", again.map(|again| text(again.message())));
    stage.settled().await;
}

/// A reader that the provider cut off, because another owner reads: what is in hand is lost, and comes again.
pub async fn c54_a_partition_whose_reader_is_cut_off_is_lost(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    if !stage.can.is_log() {
        return; // nothing is read by somebody alone
    }
    let faults = Faults::scripted();
    let open = stage.open_as(Join::with(&faults), |settings| settings.in_flight = 1).await;
    stage.send([message("a", 1), message("a", 2)]).await;
    let cut_off = next(&open).await;
    faults.script(Site::Read, [Some(Fault::Fail(ErrorKind::Lost))]);
    timeout(PATIENCE, cut_off.lost()).await.expect("it is told");
    cut_off.ack(); // of no effect
    for text in ["a1", "a2"] {
        expect(&open, text).await.ack();
    }
    stage.settled().await;
}

/// A claim that is dropped comes again within a second, and progress moves on once it is settled.
pub async fn c82_a_dropped_claim_comes_again_within_a_second(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    stage.send((0..5).map(|number| message(&format!("k{number}-"), number))).await;
    let member = stage.member().await;
    let held = receive(&member, 5).await;
    let tokens: Vec<_> = held
        .iter()
        .filter(|received| text(&received.message) != "k2-2")
        .map(|received| received.claim.token())
        .collect();
    assert!(member.consumer.settle(&tokens).await.iter().all(Result::is_ok));
    sleep(secs(3)).await;
    let start = Instant::now();
    drop(held);
    let again = receive(&member, 1).await;
    assert_eq!(text(&again[0].message), "k2-2");
    assert!(start.elapsed() <= secs(1) + stage.can.slack(), "after {:?}", start.elapsed());
    assert!(member.consumer.settle(&[again[0].claim.token()]).await[0].is_ok());
    drop(again);
    stage.settled().await;
}

/// Works for as long as messages come, and says from which partitions they came, and what they were.
async fn shares(open: &Open) -> (HashSet<String>, Vec<String>) {
    let (mut partitions, mut came) = (HashSet::new(), Vec::new());
    while let Ok(delivery) = timeout(secs(20), open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        partitions.extend(delivery.partition().map(str::to_owned));
        came.push(text(delivery.message()));
        delivery.ack();
    }
    (partitions, came)
}

/// Whoever joins gets an equal share in bounded time, and whoever leaves or dies leaves it to the others.
pub async fn c52_a_share_for_everybody(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 7, ..Needs::default() }).await;
    let round = async |members: &[&Open]| {
        stage.send((0..200).map(|number| message(&format!("k{number}-"), number))).await;
        let shares = join_all(members.iter().map(|open| shares(open))).await;
        let sizes: Vec<_> = shares.iter().map(|(partitions, _)| partitions.len()).collect();
        let mut came: Vec<_> = shares.into_iter().flat_map(|(_, came)| came).collect();
        came.sort();
        if stage.can.repeats {
            came.dedup();
        }
        let mut sent: Vec<_> = (0..200).map(|number| format!("k{number}-{number}")).collect();
        sent.sort();
        assert_eq!(came, sent, "each once");
        let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
        // A queue has no partitions: then every set is empty.
        assert!(
            most - least <= 1 && sizes.iter().sum::<usize>() == if stage.can.is_log() { 7 } else { 0 },
            "{sizes:?}"
        );
    };
    let one = stage.open().await;
    let two = stage.open().await;
    sleep(secs(5)).await;
    round(&[&one, &two]).await;
    let three = stage.open().await;
    sleep(secs(5)).await;
    round(&[&one, &two, &three]).await;
    two.close().await.unwrap();
    sleep(secs(2)).await;
    round(&[&one, &three]).await;
    one.member.kill();
    sleep(stage.can.lease * 2).await;
    round(&[&three]).await;
    stage.settled().await;
}

/// More partitions than a page of any list holds: all of them are read.
pub async fn c58_more_than_a_thousand_partitions(rig: &dyn Rig) {
    if rig.capabilities().partitions < 1100 {
        return; // it cannot have as many
    }
    let stage = Stage::with(rig, Needs { partitions: 1100, ..Needs::default() }).await;
    let open = stage.open().await;
    stage.send((0..3300).map(|number| Message::new(number.to_string()))).await;
    let (partitions, came) = shares(&open).await;
    assert_eq!((partitions.len(), came.len()), (if stage.can.is_log() { 1100 } else { 0 }, 3300));
    stage.settled().await;
}
