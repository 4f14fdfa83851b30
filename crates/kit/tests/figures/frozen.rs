//! A process that does not run for a while, and whose handlers check nothing.
//!
//! Each process has a runtime and a clock of its own, which are stepped from outside; one that is frozen is not, and then
//! finds that much time has passed at once.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    task, time,
};

use crate::group::{Clock, Group, Process};

const PARTITIONS: usize = 6;

const STEP: Duration = Duration::from_millis(10);

const SECOND: Duration = Duration::from_secs(1);

/// The world's clock, in microseconds.
#[derive(Clone, Debug, Default)]
struct World(Arc<AtomicU64>);

impl Clock for World {
    fn now(&self) -> Duration {
        Duration::from_micros(self.0.load(Relaxed))
    }
}

struct Host {
    runtime: Runtime,
    process: Process,
}

impl Host {
    fn new(group: &Arc<Group>) -> Self {
        let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().expect("it starts");
        let process = runtime.block_on(async { group.join() });
        Self { runtime, process }
    }

    /// Lets time pass for this process, and lets it run.
    fn step(&self, by: Duration) {
        self.runtime.block_on(async {
            time::advance(by).await;
            for _ in 0..12 {
                task::yield_now().await;
            }
        });
    }
}

fn pass(world: &World, group: &Group, hosts: &[&Host], long: Duration) {
    let end = world.now() + long;
    while world.now() < end {
        world.0.fetch_add(u64::try_from(STEP.as_micros()).expect("it is short"), Relaxed);
        if world.now().as_millis().is_multiple_of(20) {
            for key in 0..PARTITIONS {
                group.append(u32::try_from(key).expect("it is small"));
            }
        }
        for host in hosts {
            host.step(STEP);
        }
    }
}

/// Freezes one of two processes for `long`, and returns how many messages its handlers began before and after, and how
/// many partitions it had when it woke.
fn freeze(long: Duration, after: Duration) -> (usize, usize, usize) {
    let world = World::default();
    let group = Group::new(PARTITIONS, 60, world.clone());
    let (frozen, other) = (Host::new(&group), Host::new(&group));
    pass(&world, &group, &[&frozen, &other], 5 * SECOND + after);
    assert_eq!(frozen.process.owns(&group, PARTITIONS).len(), PARTITIONS / 2);
    let count = |from: Duration| {
        let of_frozen = |start: &&crate::group::Start| start.process == frozen.process.number && start.at > from;
        group.starts().iter().filter(of_frozen).count()
    };
    let (before, frozen_at) = (count(Duration::ZERO), world.now());
    pass(&world, &group, &[&other], long);
    let left = frozen.process.owns(&group, PARTITIONS).len();
    assert_eq!(count(frozen_at), 0, "it does not run");
    frozen.step(long);
    pass(&world, &group, &[&frozen, &other], 15 * SECOND);
    assert_eq!(group.strays.load(Relaxed), 0, "handlers of who was not the owner, after {long:?}");
    assert_eq!(frozen.process.owns(&group, PARTITIONS).len(), PARTITIONS / 2, "it takes part again");
    (before, count(frozen_at), left)
}

#[test]
fn frozen_processes_begin_nothing_that_others_own() {
    for (tenths, lost) in [(5, false), (15, true), (100, true)] {
        for phase in 0..3 {
            let (before, after, left) = freeze(SECOND * tenths, Duration::from_millis(phase * 713));
            eprintln!(
                "frozen for {} s: {before} handlers began before, {after} after; it had {left} partitions when it woke; overlap 0",
                SECOND.as_secs() * u64::from(tenths)
            );
            assert!(before > 100 && after > 100);
            assert_eq!(left == 0, lost, "others have taken over exactly if it took longer than the expiry");
        }
    }
}
