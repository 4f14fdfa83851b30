//! How long it takes until others go on where a process was killed, frozen or stopped, and what comes twice: on a stream of
//! the strict stub, which is split and merged meanwhile. It takes no time of its own.

use std::time::{Duration, Instant};

use integration_tests::{
    again::again,
    emulators::{LocalStack, fresh},
    kinesis::{access, connect_to},
};
use strait_kinesis::{Envelope, KinesisProducer};
use strait_leases::{Options, open};
use strait_testkit::kinesis::{StreamSettings, Stub};
use tempfile::TempDir;

use crate::{
    configuration::{self, connection_to, receiver},
    group::{AHEAD, Group, Load},
};

const STREAM: &str = "orders";
/// After how long a member is dead to the others.
const EXPIRY: Duration = Duration::from_secs(6);
/// What a takeover may take beyond it.
const MARGIN: Duration = Duration::from_secs(3);
/// How soon others go on where a process was told to stop.
const STOP: Duration = Duration::from_millis(1500);

struct Scene {
    stub: Stub,
    load: Load,
    group: Group,
}

/// A folder for leases.
fn folder() -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let url = configuration::folder(folder.path());
    (folder, url)
}

/// So many processes on a stream of four shards, of which one was split before, with leases at this URL.
async fn scene(processes: usize, leases: &str) -> Scene {
    let stub = Stub::start().await;
    stub.create(STREAM, StreamSettings::default().with_shards(4));
    let client = connect_to(&stub.url()).await.unwrap();
    let load = Load::start(KinesisProducer::open(&client, STREAM, Envelope::Kpl).await.unwrap());
    load.sent(AHEAD / 2).await;
    stub.split(STREAM, "shardId-000000000000");
    load.sent(AHEAD).await;
    let more = format!("expiry = \"{}s\"", EXPIRY.as_secs());
    let dynamodb = format!("dynamodb_endpoint = \"{}\"\n", LocalStack::get().endpoint());
    let text = [connection_to(&stub.url()), dynamodb, receiver("app", STREAM, leases, &more)].concat();
    let mut group = Group::start(processes, &text);
    group.read_until(load.next(), &load).await;
    Scene { stub, load, group }
}

impl Scene {
    async fn read_on(&mut self) {
        self.group.read_until(self.load.next(), &self.load).await;
    }

    /// Merges what the first shard became.
    async fn merge(&mut self) {
        self.stub.merge(STREAM, ["shardId-000000000004", "shardId-000000000005"]);
        self.read_on().await;
    }

    /// Splits what they became then.
    async fn split(&mut self) {
        self.stub.split(STREAM, "shardId-000000000006");
        self.read_on().await;
    }

    async fn end(mut self) {
        let sent = self.load.stop().await;
        self.group.read_until(sent, &self.load).await;
        self.group.check(sent);
        self.group.stop().await;
    }
}

#[tokio::test]
async fn others_go_on_soon_after_a_lease_where_a_process_is_killed() {
    let (_folder, leases) = folder();
    let mut scene = scene(3, &leases).await;
    let (killed, since) = (scene.group.last(), Instant::now());
    scene.group.kill(killed).await;
    scene.merge().await;
    let took = scene.group.takeover(killed, since);
    assert!(took < EXPIRY + MARGIN, "{took:?}");
    scene.split().await;
    scene.end().await;
}

/// It goes on in the middle of what it did, when its leases are others'. They are not in a folder: who is frozen while it
/// writes there holds up others.
#[tokio::test]
async fn a_process_that_is_frozen_beyond_its_lease_does_no_harm() {
    let leases = format!("dynamodb://strait-moves/{}", fresh("frozen"));
    let mut options = Options::default();
    (options.create, options.aws) = (true, access());
    again(|| open(&leases, &options)).await.unwrap();
    let mut scene = scene(3, &leases).await;
    let (frozen, since) = (scene.group.last(), Instant::now());
    scene.group.signal(frozen, "-STOP").await;
    let child = scene.group.forget(frozen);
    scene.merge().await;
    let took = scene.group.takeover(frozen, since);
    assert!((EXPIRY / 2..EXPIRY + MARGIN).contains(&took), "{took:?}");
    scene.group.signal(frozen, "-CONT").await;
    scene.group.expect(child);
    scene.split().await;
    scene.end().await;
}

#[tokio::test]
async fn nothing_comes_twice_where_processes_join_and_stop() {
    let (_folder, leases) = folder();
    let mut scene = scene(2, &leases).await;
    scene.group.join();
    scene.merge().await;
    let (stopped, since) = (scene.group.last(), Instant::now());
    scene.group.signal(stopped, "-TERM").await;
    let mut child = scene.group.forget(stopped);
    scene.read_on().await;
    assert!(child.wait().await.unwrap().success());
    let took = scene.group.takeover(stopped, since);
    scene.split().await;
    assert_eq!(scene.group.repeated(), 0, "planned moves repeat nothing");
    assert!(took < STOP, "{took:?}");
    scene.end().await;
}
