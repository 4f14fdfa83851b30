//! Groups, where they start, and where they go on.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::SystemTime,
};

use strait_core::{ErrorKind, Position};
use strait_kit::Start;
use tokio::time::{sleep, timeout};

use crate::{
    Join, Needs, Rig, Starts,
    stage::{Open, PATIENCE, Stage, expect, message, millis, next, nothing, refused, secs, take, take_sorted, text},
};

const TWO: [&str; 2] = ["app", "other"];

async fn two_groups(rig: &dyn Rig) -> Stage {
    Stage::with(rig, Needs { groups: TWO.to_vec(), ..Needs::default() }).await
}

async fn open(stage: &Stage, group: &'static str) -> Open {
    stage.open_as(Join::group(group), |_| {}).await
}

fn names(numbers: impl IntoIterator<Item = usize>) -> Vec<String> {
    let mut names: Vec<_> = numbers.into_iter().map(|number| format!("k{number}-{number}")).collect();
    names.sort();
    names
}

async fn send(stage: &Stage, numbers: impl IntoIterator<Item = usize>) {
    stage.send(numbers.into_iter().map(|number| message(&format!("k{number}-"), number))).await;
}

/// Every group gets all messages; the members of one share them.
pub async fn c46_groups_get_all_and_members_share(rig: &dyn Rig) {
    let stage = two_groups(rig).await;
    send(&stage, 0..40).await;
    let other = open(&stage, TWO[1]).await;
    assert_eq!(take_sorted(&other, 40).await, names(0..40));
    let few = |settings: &mut strait_runtime::ReceiverSettings| (settings.in_flight, settings.buffer) = (2, 4);
    let one = stage.open_as(Join::group(TWO[0]), few).await;
    let two = stage.open_as(Join::group(TWO[0]), few).await;
    sleep(secs(5)).await;
    let work = async |open: &Open| {
        let mut done = Vec::new();
        while let Ok(delivery) = timeout(stage.can.watch(secs(30)), open.recv()).await {
            let delivery = delivery.unwrap().unwrap();
            sleep(std::time::Duration::from_millis(50)).await;
            done.push(text(delivery.message()));
            delivery.ack();
        }
        done
    };
    let (by_one, by_two) = tokio::join!(work(&one), work(&two));
    assert!(by_one.len() >= 5 && by_two.len() >= 5, "{} and {}", by_one.len(), by_two.len());
    let mut all = [by_one, by_two].concat();
    all.sort();
    assert_eq!(all, names(0..40));
    for group in TWO {
        assert_eq!(stage.channel.left(group).await, 0);
    }
}

/// Members that work on one message at a time share what a queue holds: none of them keeps a supply of its own.
pub async fn c46_idle_members_have_work_where_messages_are_leased(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    send(&stage, 0..60).await;
    stage.holds(60).await;
    let member = || stage.open_with(|settings| settings.in_flight = 1);
    let members = [member().await, member().await, member().await];
    let left = AtomicUsize::new(60);
    let work = async |open: &Open| {
        let mut done = Vec::new();
        while left.load(Relaxed) > 0 {
            let Ok(delivery) = timeout(millis(500), open.recv()).await else { continue };
            let delivery = delivery.unwrap().unwrap();
            sleep(millis(100)).await;
            done.push(text(delivery.message()));
            delivery.ack_confirmed().await.unwrap();
            left.fetch_sub(1, Relaxed);
        }
        done
    };
    let [one, two, three] = &members;
    let (one, two, three) = tokio::join!(work(one), work(two), work(three));
    let shares = [one.len(), two.len(), three.len()];
    assert!(stage.can.is_log() || shares.iter().all(|share| *share >= 10), "{shares:?}");
    let mut all = [one, two, three].concat();
    all.sort();
    assert_eq!(all, names(0..60));
    stage.settled().await;
}

/// What happens in a group does not show in another: failures, crashes, progress.
pub async fn c47_groups_are_kept_apart(rig: &dyn Rig) {
    let stage = two_groups(rig).await;
    send(&stage, 0..10).await;
    let one = open(&stage, TWO[0]).await;
    next(&one).await.retry_after("later", secs(50));
    drop(next(&one).await);
    next(&one).await.ack();
    one.member.kill();
    let two = open(&stage, TWO[1]).await;
    assert_eq!(take_sorted(&two, 10).await, names(0..10));
    sleep(secs(3)).await;
    assert_eq!(stage.channel.left(TWO[1]).await, 0);
    assert!(stage.channel.left(TWO[0]).await >= 9, "the other's progress is not ours");
    two.close().await.unwrap();
    let again = open(&stage, TWO[0]).await;
    let mut rest = Vec::new();
    while let Ok(delivery) = timeout(stage.can.lease * 3, again.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        assert!(!rest.contains(&text(delivery.message())));
        rest.push(text(delivery.message()));
        delivery.ack();
    }
    assert!((9..=10).contains(&rest.len()), "{rest:?}");
    sleep(secs(3)).await;
    assert_eq!(stage.channel.left(TWO[0]).await, 0);
}

/// A new group starts where it asks to; a known one goes on; a place that there is not is an error, by kind.
pub async fn c48_a_new_group_starts_where_it_asks_to(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    let starting = |group, start| Join::group(group).starting(start);
    if !stage.can.has_starts() {
        for start in
            [Start::Earliest, Start::Latest, Start::At(SystemTime::UNIX_EPOCH), Start::After(Position::Number(1))]
        {
            let asked = stage.channel.join(starting("new", start)).await;
            assert_eq!(refused(asked), ErrorKind::Unsupported);
        }
        return;
    }
    send(&stage, 0..3).await;
    sleep(stage.can.latest_reach).await;
    // Times are of milliseconds, by the clock on the wall: what is stored in the same may be on either side.
    let stored = SystemTime::now();
    while stored.elapsed().is_ok_and(|since| since < millis(3)) {
        tokio::task::yield_now().await;
    }
    let begin = async |group, start| stage.open_as(starting(group, start), |_| {}).await;
    let earliest = begin("earliest", Start::Earliest).await;
    let latest = begin("latest", Start::Latest).await;
    let from_time = begin("time", Start::At(SystemTime::UNIX_EPOCH)).await;
    assert_eq!(take_sorted(&earliest, 3).await, names(0..3));
    let second = next(&from_time).await;
    let position = second.origin().position().clone();
    let mut all = vec![text(second.message())];
    second.ack();
    all.extend(take(&from_time, 2).await);
    if !stage.can.is_log() {
        all.sort(); // a queue has no order across keys
    }
    assert_eq!(all, names(0..3));
    let known = if stage.can.starts == Starts::Positions {
        let after = begin("after", Start::After(position)).await;
        assert_eq!(take(&after, 2).await, ["k1-1", "k2-2"]);
        after
    } else {
        let asked = stage.channel.join(starting("behind", Start::After(position))).await;
        assert_eq!(refused(asked), ErrorKind::Unsupported);
        let known = begin("after", Start::Earliest).await;
        take(&known, 3).await;
        known
    };
    nothing(&latest, secs(10)).await;
    send(&stage, 3..4).await;
    for open in [&earliest, &latest, &from_time, &known] {
        assert_eq!(take(open, 1).await, ["k3-3"]);
    }
    // A known group goes on, whatever it asks for.
    known.close().await.unwrap();
    send(&stage, 4..5).await;
    let again = begin("after", Start::Latest).await;
    assert_eq!(take(&again, 1).await, ["k4-4"]);
    if stage.can.starts < Starts::Positions {
        return;
    }
    for unknown in [Position::from("no such place"), Position::Number(1 << 40), Position::Number(u64::MAX)] {
        let asked = stage.channel.join(starting("unknown", Start::After(unknown.clone()))).await;
        assert_eq!(refused(asked), ErrorKind::Invalid, "{unknown}");
    }
}

/// What a group is to read and is no longer stored is an error of a receive, by kind, and never a silent jump.
pub async fn c48_an_expired_place_is_an_error(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    if stage.can.starts < Starts::Positions {
        let asked = stage.channel.join(Join::group("new").starting(Start::After(Position::Number(0)))).await;
        return assert_eq!(refused(asked), ErrorKind::Unsupported);
    }
    send(&stage, 0..10).await;
    let open = stage.open().await;
    take(&open, 10).await;
    stage.settled().await;
    let late = stage.open_as(Join::group("late").starting(Start::After(Position::Number(2))), |_| {}).await;
    let told = timeout(PATIENCE, late.recv()).await.expect("it is told");
    assert_eq!(refused(told), ErrorKind::NotFound);
    // Who starts at the oldest that there is misses nothing that is still there.
    let fresh = stage.open_as(Join::group("fresh").starting(Start::Earliest), |_| {}).await;
    send(&stage, 10..12).await;
    assert_eq!(take(&fresh, 2).await, names(10..12));
}

/// After a clean stop nothing comes again; after a crash only what was in hand, or settled since the last commit.
pub async fn c50_goes_on_where_it_was(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    send(&stage, 0..30).await;
    let few = |settings: &mut strait_runtime::ReceiverSettings| (settings.in_flight, settings.buffer) = (4, 8);
    let mut seen = Vec::new();
    let first = stage.open_with(few).await;
    seen.extend(take(&first, 10).await);
    first.close().await.unwrap();
    let second = stage.open_with(few).await;
    seen.extend(take(&second, 10).await);
    assert_eq!(stage.channel.left(crate::GROUP).await.saturating_sub(20), 0);
    sleep(secs(3)).await;
    let mut held = vec![next(&second).await, next(&second).await];
    held.pop().unwrap().ack();
    second.member.kill();
    let third = stage.open_with(few).await;
    while let Ok(delivery) = timeout(stage.can.lease * 3, third.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        seen.push(text(delivery.message()));
        delivery.ack();
    }
    seen.sort();
    let count = seen.len();
    seen.dedup();
    assert_eq!(seen, names(0..30), "nothing is missing");
    // What was settled after the last commit, and above what was not: at most what fits in hand.
    assert!(count - 30 <= 8, "{} came again", count - 30);
    assert!(held[0].is_lost());
    stage.settled().await;
}

/// A new group on a log gets what is stored; a new consumer of a queue takes nothing away from those that are there.
pub async fn c51_a_newcomer_gets_history_or_steals_nothing(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    send(&stage, 0..8).await;
    if stage.can.has_starts() {
        let new = open(&stage, "new").await;
        assert_eq!(take_sorted(&new, 8).await, names(0..8), "by its own choice, it misses nothing");
    } else {
        assert_eq!(refused(stage.channel.join(Join::group("new")).await), ErrorKind::NotFound);
    }
    let here = stage.open().await;
    let mut held = Vec::new();
    for _ in 0..8 {
        held.push(next(&here).await);
    }
    let new = stage.open().await;
    nothing(&new, stage.can.watch(secs(20))).await;
    assert!(!held.iter().any(strait_runtime::Delivery::is_lost));
    for delivery in held {
        delivery.ack_confirmed().await.unwrap();
    }
    stage.settled().await;
}

/// A message that kills its process again and again keeps no other from being processed. Where the provider counts
/// deliveries the count tells, and an application may reject by it.
pub async fn c84_a_message_that_kills_its_process(rig: &dyn Rig) {
    let stage = Stage::with(rig, Needs { partitions: 1, ..Needs::default() }).await;
    stage.send([message("x", 0)]).await;
    send(&stage, 1..6).await;
    let mut done = Vec::new();
    for crash in 0..3 {
        let open = stage.open().await;
        let mut killer = None;
        while let Ok(delivery) = timeout(stage.can.lease * 3, open.recv()).await {
            let delivery = delivery.unwrap().unwrap();
            if text(delivery.message()) == "x0" {
                let redeliveries = delivery.origin().redeliveries();
                assert!(!stage.can.counts || redeliveries == crash, "delivered {redeliveries} times before");
                killer = Some(delivery);
            } else {
                done.push(text(delivery.message()));
                delivery.ack();
            }
        }
        assert!(killer.is_some());
        open.member.kill();
    }
    let open = stage.open_with(|settings| settings.dead_letter = strait_runtime::DeadLetter::Discard).await;
    while let Ok(delivery) = timeout(stage.can.lease * 3, open.recv()).await {
        let delivery = delivery.unwrap().unwrap();
        if text(delivery.message()) == "x0" {
            delivery.reject("it has killed three processes");
        } else {
            done.push(text(delivery.message()));
            delivery.ack();
        }
    }
    assert_eq!(open.member.meter.counts().dead_lettered, 1);
    done.sort();
    done.dedup();
    assert_eq!(done, names(1..6));
    stage.settled().await;
    stage.send([message("a", 1)]).await;
    expect(&open, "a1").await.ack();
}
