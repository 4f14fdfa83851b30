//! Planned moves: processes join and leave all the time, and nothing comes twice.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use tokio::time;

use crate::group::{Group, Paused, Process};

const PARTITIONS: usize = 16;

const KEYS: u32 = 32;

const MOVES: usize = 200;

#[tokio::test(start_paused = true)]
async fn two_hundred_joins_and_leaves_repeat_nothing() {
    let group = Group::new(PARTITIONS, 300, Paused::new());
    let flow = tokio::spawn({
        let group = Arc::clone(&group);
        async move {
            let mut rng = Rng::with_seed(1);
            loop {
                group.append(rng.u32(0..KEYS));
                time::sleep(Duration::from_millis(rng.u64(1..24))).await;
            }
        }
    });
    let mut rng = Rng::with_seed(2);
    let mut processes: VecDeque<Process> = (0..3).map(|_| group.join()).collect();
    let mut leaving = Vec::new();
    for _ in 0..MOVES {
        time::sleep(Duration::from_millis(rng.u64(0..3000))).await;
        if processes.len() == 1 || (processes.len() < 6 && rng.bool()) {
            processes.push_back(group.join());
        } else {
            let process = processes.remove(rng.usize(0..processes.len())).expect("it is one of them");
            leaving.push(tokio::spawn(process.leave()));
        }
    }
    for leaving in leaving {
        leaving.await.expect("nothing panics");
    }
    time::sleep(Duration::from_secs(5)).await;
    flow.abort();
    time::sleep(Duration::from_secs(5)).await;
    let starts = group.starts().clone();
    let mut next: BTreeMap<u32, u64> = BTreeMap::new();
    let mut owners: BTreeMap<usize, usize> = BTreeMap::new();
    let (mut repeated, mut moved) = (0, 0);
    for start in &starts {
        let expected = next.entry(start.key).or_default();
        assert!(start.sequence <= *expected, "key {} is out of order, or something was lost: {start:?}", start.key);
        repeated += usize::from(start.sequence < *expected);
        *expected = (*expected).max(start.sequence + 1);
        moved += usize::from(owners.insert(start.partition, start.process).is_some_and(|owner| owner != start.process));
    }
    eprintln!(
        "{MOVES} joins and leaves: {moved} moves of partitions under {} messages, {repeated} came twice",
        starts.len()
    );
    assert_eq!(next, group.appended(), "all of each key came");
    assert_eq!(repeated, 0);
    assert_eq!(group.strays.load(Relaxed), 0, "handlers of who was not the owner");
    assert!(moved > MOVES, "they did move: {moved}");
}
