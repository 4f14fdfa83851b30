//! A process that owns a thousand partitions, and whose handlers block every thread of its runtime. On real clocks.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering::Relaxed},
        mpsc,
    },
    time::{Duration, Instant},
};

use strait_kit::coordination::CoordinatorSettings;
use tokio::{
    runtime::{Builder, Runtime},
    time,
};

use crate::{
    group::{Group, Handler, Paused, Process},
    stream,
};

const PARTITIONS: usize = 1000;

const THREADS: usize = 2;

const EXPIRY: Duration = Duration::from_secs(2);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(THREADS).enable_all().build().expect("it starts")
}

fn message_each(group: &Group) {
    for partition in 0..PARTITIONS {
        group.append(u32::try_from(partition).expect("it is small"));
    }
}

async fn until(what: impl Fn() -> bool) {
    let begin = Instant::now();
    while !what() {
        assert!(begin.elapsed() < Duration::from_secs(30), "it takes too long");
        time::sleep(Duration::from_millis(5)).await;
    }
}

/// Blocks as many threads as there are, at the same time, for three times the expiry.
fn block_all() -> (Handler, mpsc::Receiver<()>) {
    let (count, barrier) = (AtomicUsize::new(0), Arc::new(Barrier::new(THREADS)));
    let (blocked, told) = mpsc::channel();
    let block = move || {
        if count.fetch_add(1, Relaxed) < THREADS {
            barrier.wait();
            let _ = blocked.send(());
            let (_never, nothing) = mpsc::channel::<()>();
            let _ = nothing.recv_timeout(3 * EXPIRY);
        }
    };
    (Handler::Calls(Box::new(block)), told)
}

/// Blocks the only process for three times the expiry, while `meanwhile` happens. Every message is then handled once.
fn blocked(meanwhile: impl FnOnce(&Arc<Group>) -> Option<(Runtime, Process)>) -> (Arc<Group>, Vec<usize>) {
    let settings = CoordinatorSettings::with_expiry(EXPIRY).expect("sound settings");
    let (block, told) = block_all();
    let group = Group::with(PARTITIONS, block, Paused::new(), settings);
    let runtime = runtime();
    let host = runtime.block_on(async { group.join_apart() });
    runtime.block_on(until(|| host.owns(&group, PARTITIONS).len() == PARTITIONS));
    let beats = host.wire.beats.load(Relaxed);
    message_each(&group);
    for _ in 0..THREADS {
        told.recv().expect("handlers block");
    }
    let begin = Instant::now();
    let other = meanwhile(&group);
    runtime.block_on(until(|| group.starts().len() >= PARTITIONS));
    assert!(begin.elapsed() >= 3 * EXPIRY, "no thread was free: {:?}", begin.elapsed());
    let beats = host.wire.beats.load(Relaxed) - beats;
    eprintln!(
        "{PARTITIONS} partitions, all threads blocked for {:.1?}: {beats} heartbeats in {:.1?}, {} claims lost",
        3 * EXPIRY,
        begin.elapsed(),
        host.claims_lost(),
    );
    assert!(beats >= 12, "three an expiry, less what a busy machine costs: {beats}");
    assert_eq!(host.wire.names().len(), 1, "it never lapsed");
    assert_eq!(host.claims_lost(), 0, "nothing was taken from it");
    let mut shares = Vec::new();
    if let Some((_, other)) = &other {
        runtime.block_on(until(|| other.owns(&group, PARTITIONS).len() == PARTITIONS / 2));
        eprintln!("the other had its half {:.1?} after the threads were blocked", begin.elapsed());
        shares.push(other.owns(&group, PARTITIONS).len());
        message_each(&group);
        runtime.block_on(until(|| group.starts().len() >= 2 * PARTITIONS));
    }
    shares.push(host.owns(&group, PARTITIONS).len());
    runtime.block_on(host.leave());
    if let Some((runtime, other)) = other {
        runtime.block_on(other.leave());
    }
    assert!((0..PARTITIONS).all(|partition| group.rows.owner(&stream::name(partition)).is_none()));
    let starts = group.starts().clone();
    let once: BTreeSet<_> = starts.iter().map(|start| (start.key, start.sequence)).collect();
    assert_eq!(once.len(), starts.len(), "nothing came twice");
    assert_eq!(group.strays.load(Relaxed), 0, "handlers of who was not the owner");
    (group, shares)
}

#[test]
fn threads_blocked_for_three_times_the_expiry_cost_nothing() {
    let (group, shares) = blocked(|_| None);
    assert_eq!((group.starts().len(), shares), (PARTITIONS, vec![PARTITIONS]));
}

#[test]
fn what_is_planned_meanwhile_for_another_moves_once_handlers_return() {
    let (group, shares) = blocked(|group| {
        let runtime = runtime();
        let other = runtime.block_on(async { group.join_apart() });
        Some((runtime, other))
    });
    assert_eq!((group.starts().len(), shares), (2 * PARTITIONS, vec![PARTITIONS / 2; 2]));
}
