//! A process that is frozen for longer than its leases, and goes on. Case 79, with signals and a process.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use strait_core::{Key, Message};
use strait_runtime::Sender;
use strait_testkit::proxy::{Call, Proxy};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

/// How many handlers the process runs at once: fewer than there are messages.
pub const IN_FLIGHT: usize = 2;

/// What it is sent before it is frozen. Each has the key that its first letter is.
pub const SENT_BEFORE: [&str; 6] = ["a1", "a2", "a3", "b1", "b2", "c1"];
/// What it is sent while it is frozen. Its poll is still at the service, and may take these along.
pub const SENT_MEANWHILE: [&str; 2] = ["d1", "e1"];

const PATIENCE: Duration = Duration::from_mins(1);

/// The worker in a process of its own, which ends with this.
struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(program: &str, arguments: [&str; 3]) -> Self {
        let mut command = Command::new(program);
        let command = command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().expect("the worker starts");
        let said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        Self { stdin: child.stdin.take().expect("it is piped"), said, child }
    }

    async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.said.next_line()).await.expect("it says something").expect("it writes text")
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().expect("it runs").to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.expect("there is kill").success());
    }
}

async fn send(sender: &Sender, payloads: &[&str]) {
    let message = |payload: &&str| {
        let key = Key::new(&payload[..1]).expect("a letter is a key");
        Message::new((*payload).to_owned()).with_key(key)
    };
    for outcome in sender.send_all(payloads.iter().map(message)).await {
        assert!(outcome.is_sent());
    }
}

/// Freezes a process that works on `service` through a proxy, and lets it go on once all that it held is somebody else's.
/// It starts nothing of that, neither what it had in hand nor what was on its way to it. Then it gets `z1`, and ends.
/// Returns what it asked the service for since it went on.
///
/// `worker` is the program `queue-worker`. `take` brings the next messages that may be had, and holds them for as long as
/// the test may take.
///
/// # Panics
///
/// If anything else happens.
pub async fn freeze_and_resume(
    worker: &str,
    service: [&str; 2],
    proxy: &Proxy,
    sender: &Sender,
    take: impl AsyncFn() -> Vec<String>,
) -> Vec<Call> {
    let (endpoint, [service, name]) = (format!("http://{}", proxy.address()), service);
    send(sender, &SENT_BEFORE).await;
    let mut process = Process::start(worker, [service, &endpoint, name]);
    let mut said = BTreeSet::new();
    let holds = format!("holds {}", SENT_BEFORE.len());
    let starts = |said: &BTreeSet<String>| said.iter().filter(|line| line.starts_with("start ")).count();
    while !said.contains(&holds) || starts(&said) < IN_FLIGHT {
        said.extend(process.line().await);
    }

    process.signal("-STOP").await;
    send(sender, &SENT_MEANWHILE).await;
    let all: BTreeSet<_> = SENT_BEFORE.into_iter().chain(SENT_MEANWHILE).map(str::to_owned).collect();
    let mut ours = BTreeSet::new();
    timeout(PATIENCE, async {
        while ours.len() < all.len() {
            ours.extend(take().await);
            sleep(Duration::from_millis(100)).await; // nobody tells of leases that end
        }
    })
    .await
    .expect("they come again after the lease");
    assert_eq!(ours, all);

    let seen = proxy.seen().len();
    process.signal("-CONT").await;
    process.stdin.write_all(b"\n").await.expect("it reads");
    send(sender, &["z1"]).await;
    let mut said = BTreeSet::new();
    while !said.contains("end z1") {
        said.extend(process.line().await);
    }
    process.signal("-TERM").await;
    while let Some(line) = process.line().await {
        said.insert(line);
    }
    assert!(process.child.wait().await.expect("it ends").success());
    let starts: Vec<_> = said.iter().filter(|line| line.starts_with("start ")).collect();
    assert_eq!(starts, ["start z1"], "{said:?}");
    proxy.seen().split_off(seen).into_iter().map(|(call, _)| call).collect()
}
