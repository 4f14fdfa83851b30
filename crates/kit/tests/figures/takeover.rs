//! How long the partitions of a process that is gone are without a handler.

use std::{sync::Arc, time::Duration};

use fastrand::Rng;
use tokio::time;

use crate::group::{Group, Paused, Process};

const PARTITIONS: usize = 8;

const PROCESSES: usize = 3;

const SECOND: Duration = Duration::from_secs(1);

const TIMES: usize = 50;

/// A message a partition every 50 ms, for ever.
async fn flow(group: Arc<Group>) {
    loop {
        time::sleep(Duration::from_millis(50)).await;
        for key in 0..PARTITIONS {
            group.append(u32::try_from(key).expect("it is small"));
        }
    }
}

/// When each of these partitions first had a handler in another process, after `from`.
async fn taken_over(
    group: &Group,
    gone: usize,
    partitions: &[usize],
    from: Duration,
    within: Duration,
) -> Vec<Duration> {
    let mut first = vec![None; partitions.len()];
    let mut seen = 0;
    while group.clock.now() < from + within && first.contains(&None) {
        time::sleep(Duration::from_millis(5)).await;
        let starts = group.starts();
        for start in starts[seen..].iter().filter(|start| start.process != gone && start.at >= from) {
            if let Some(index) = partitions.iter().position(|partition| *partition == start.partition) {
                first[index].get_or_insert(start.at.saturating_sub(from));
            }
        }
        seen = starts.len();
    }
    first.into_iter().map(|first| first.expect("every partition is taken over in time")).collect()
}

/// Lets `TIMES` processes go, one after the other, each at a moment of its own; another starts in its place. Returns how
/// long the last of its partitions was without a handler, sorted.
async fn measure(go: impl AsyncFn(Process), within: Duration) -> Vec<Duration> {
    let group = Group::new(PARTITIONS, 15, Paused::new());
    tokio::spawn(flow(Arc::clone(&group)));
    let mut rng = Rng::with_seed(7);
    let mut processes: Vec<Process> = (0..PROCESSES).map(|_| group.join()).collect();
    let mut gaps = Vec::new();
    for _ in 0..TIMES {
        time::sleep(5 * SECOND + Duration::from_millis(rng.u64(0..6000))).await;
        let process = processes.remove(rng.usize(0..PROCESSES));
        let (number, owned) = (process.number, process.owns(&group, PARTITIONS));
        assert!(owned.len() >= PARTITIONS / PROCESSES, "it has a share: {owned:?}");
        let from = group.clock.now();
        let ((), taken) = tokio::join!(go(process), taken_over(&group, number, &owned, from, within));
        gaps.extend(taken.into_iter().max());
        processes.push(group.join());
    }
    assert_eq!(group.strays.load(std::sync::atomic::Ordering::Relaxed), 0, "handlers of who was not the owner");
    gaps.sort_unstable();
    gaps
}

fn report(what: &str, gaps: &[Duration]) -> Duration {
    let at = |share: usize| gaps[(gaps.len() * share).div_ceil(100) - 1].as_secs_f64();
    let last = *gaps.last().expect("there were some");
    eprintln!(
        "{what}: {} times, least {:.2} s, median {:.2} s, p99 {:.2} s, most {:.2} s",
        gaps.len(),
        gaps[0].as_secs_f64(),
        at(50),
        at(99),
        last.as_secs_f64()
    );
    last
}

#[tokio::test(start_paused = true)]
async fn after_sigkill_within_the_expiry_and_three_polls() {
    let gaps = measure(async |process| process.kill(), 30 * SECOND).await;
    let most = report("takeover after SIGKILL", &gaps);
    // The expiry, three polls, and the poll during which it died.
    assert!(most <= 12 * SECOND, "{most:?}");
    assert!(
        gaps[0] >= 6 * SECOND,
        "its last heartbeat was at most 3 s ago, so that nobody is to be sure before: {gaps:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_sigterm_within_a_second_and_a_half() {
    let gaps = measure(Process::leave, 10 * SECOND).await;
    let most = report("takeover after SIGTERM", &gaps);
    assert!(most <= 3 * SECOND / 2, "{most:?}");
}
