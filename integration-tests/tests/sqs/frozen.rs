//! A process that is frozen for longer than its lease, and goes on. Case 79, with signals and a process.

#![cfg(unix)]

use std::{collections::BTreeSet, process::Stdio, sync::Arc, time::Duration};

use integration_tests::{
    emulators::{LocalStack, fresh},
    sqs::{connect, endpoint, frozen},
};
use serde_json::Value;
use strait_core::{Key, Message};
use strait_runtime::{Sender, SenderSettings};
use strait_sqs::{Client, SqsProducer, create_queue};
use strait_testkit::proxy::{Call, Proxy};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

const PATIENCE: Duration = Duration::from_mins(1);

/// The worker in a process of its own, which ends with this.
struct Process {
    child: Child,
    stdin: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(endpoint: &str, queue: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sqs-worker"));
        let command = command.args([endpoint, queue]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { stdin: child.stdin.take().unwrap(), said, child }
    }

    async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.said.next_line()).await.expect("it says something").unwrap()
    }

    async fn signal(&self, signal: &str) {
        let id = self.child.id().unwrap().to_string();
        assert!(Command::new("kill").args([signal, &id]).status().await.unwrap().success());
    }
}

/// Sends messages, each of the key that its first letter is.
async fn send(sender: &Sender, payloads: &[&str]) {
    let message = |payload: &&str| Message::new((*payload).to_owned()).with_key(Key::new(&payload[..1]).unwrap());
    for outcome in sender.send_all(payloads.iter().map(message)).await {
        assert!(outcome.is_sent());
    }
}

/// How many messages somebody holds.
async fn held(client: &Client, url: &str) -> usize {
    let name = "ApproximateNumberOfMessagesNotVisible";
    let request = client.sqs().get_queue_attributes().queue_url(url).attribute_names(name.into());
    request.send().await.unwrap().attributes.unwrap()[&name.into()].parse().unwrap()
}

/// The next messages, once they may be had again, held for as long as the test may take.
async fn take(client: &Client, url: &str) -> Vec<String> {
    let request = client.sqs().receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
    let messages = request.visibility_timeout(300).send().await.unwrap().messages.unwrap_or_default();
    messages.into_iter().filter_map(|message| message.body).collect()
}

/// The handles that calls settle, extend or give back.
fn handles(calls: &[Call]) -> BTreeSet<String> {
    let touching = |call: &&Call| ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"].contains(&&*call.operation);
    let bodies = calls.iter().filter(touching).map(|call| serde_json::from_slice::<Value>(&call.body).unwrap());
    let entries = bodies.flat_map(|body| body["Entries"].as_array().unwrap().clone());
    entries.map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned()).collect()
}

/// What it held is somebody else's when it goes on: it starts nothing of that, neither what it had in hand nor what was
/// on its way to it; and it settles, extends and gives back nothing of it, not even what its handlers finish then.
async fn frozen_and_resumed(suffix: &str) {
    let client = connect(&endpoint()).await.unwrap();
    let name = format!("{}{suffix}", fresh("frozen"));
    let url = create_queue(&client, &name, &[]).await.unwrap();
    let producer = Arc::new(SqsProducer::open(&client, &name).await.unwrap());
    let sender = Sender::new(producer, SenderSettings::default()).unwrap();
    let proxy = Proxy::start(LocalStack::get().address(), |_| None).await;
    let mut before = vec!["a1", "a2", "a3", "b1", "b2", "c1"];
    send(&sender, &before).await;
    let mut process = Process::start(&format!("http://{}", proxy.address()), &url);
    let mut started = BTreeSet::new();
    for _ in 0..frozen::IN_FLIGHT {
        started.extend(process.line().await);
    }
    assert!(started.iter().all(|line| line.starts_with("start ")), "{started:?}");
    timeout(PATIENCE, async {
        while held(&client, &url).await < before.len() {
            sleep(Duration::from_millis(100)).await; // nobody tells that
        }
    })
    .await
    .expect("it holds more than it works on");

    process.signal("-STOP").await;
    // Its poll is still at the service, and takes these along.
    before.extend(["d1", "e1"]);
    send(&sender, &["d1", "e1"]).await;
    let mut ours = Vec::new();
    timeout(PATIENCE, async {
        while ours.len() < before.len() {
            ours.extend(take(&client, &url).await);
        }
    })
    .await
    .expect("they come again after the lease");
    assert_eq!(ours.iter().map(String::as_str).collect::<BTreeSet<_>>(), before.iter().copied().collect());

    let seen = proxy.seen().len();
    process.signal("-CONT").await;
    process.stdin.write_all(b"\n").await.unwrap();
    send(&sender, &["z1"]).await;
    let mut said = BTreeSet::new();
    while !said.contains("end z1") {
        said.extend(process.line().await);
    }
    process.signal("-TERM").await;
    while let Some(line) = process.line().await {
        said.insert(line);
    }
    assert!(process.child.wait().await.unwrap().success());
    let starts: Vec<_> = said.iter().filter(|line| line.starts_with("start ")).collect();
    assert_eq!(starts, ["start z1"], "{said:?}");
    let after: Vec<_> = proxy.seen().split_off(seen).into_iter().map(|(call, _)| call).collect();
    assert_eq!(handles(&after).len(), 1, "only z1 is touched: {after:?}");
    // On a standard queue any handle of a message deletes it: these are still there, and ours.
    assert_eq!(held(&client, &url).await, before.len());
}

#[tokio::test]
async fn a_frozen_process_touches_nothing_of_a_standard_queue_that_it_lost() {
    frozen_and_resumed("").await;
}

#[tokio::test]
async fn a_frozen_process_touches_nothing_of_a_fifo_queue_that_it_lost() {
    frozen_and_resumed(".fifo").await;
}
