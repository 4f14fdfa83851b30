//! Processes of a group on a stream that is split and merged while it is written and read: one is killed, and nothing is lost
//! or out of order.

use integration_tests::{
    again::again,
    kinesis::{Stream, connect},
};
use strait_kinesis::{Envelope, KinesisProducer};
use strait_testkit::Reshard;

use crate::{
    configuration::{connection, folder, receiver},
    group::{AHEAD, Group, Load},
};

#[tokio::test]
async fn nothing_is_lost_where_a_process_is_killed_and_shards_are_split_and_merged() {
    let client = again(connect).await.unwrap();
    let stream = Stream::create(&client, 4).await.unwrap();
    let producer = again(|| KinesisProducer::open(&client, &stream.0, Envelope::Kpl)).await.unwrap();
    let mut load = Load::start(producer);
    load.sent(AHEAD / 2).await;
    stream.reshard(&client, Reshard::Split).await.unwrap();
    load.sent(AHEAD).await;
    // Both the parent and its children have a backlog now: the order shows whether a parent is read first.
    let leases = tempfile::tempdir().unwrap();
    let mut group = Group::start(3, &[connection(), receiver("app", &stream.0, &folder(leases.path()), "")].concat());
    group.read_until(load.next(), &load).await;
    stream.reshard(&client, Reshard::Merge).await.unwrap();
    group.read_until(load.next(), &load).await;
    stream.reshard(&client, Reshard::Split).await.unwrap();
    group.kill(group.last()).await;
    // The others take its leases over.
    group.read_until(load.next(), &load).await;
    let sent = load.stop().await;
    group.read_until(sent, &load).await;
    group.check(sent);
    group.stop().await;
    stream.delete(&client).await.unwrap();
}
