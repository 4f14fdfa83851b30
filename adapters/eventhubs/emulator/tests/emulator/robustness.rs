//! What a peer may do to the emulator without harm to others.

use std::{fs, time::Duration};

use strait_eventhubs_emulator::{Config, Emulator, Idle};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Handle,
    time::timeout,
};

use crate::client::{Client, EARLIEST, TIMEOUT, emulator, event, next, send};

const HEADER: &[u8] = b"AMQP\x03\x01\0\0";

async fn connected(emulator: &Emulator) -> TcpStream {
    TcpStream::connect(emulator.address()).await.unwrap()
}

/// Waits until the emulator closes the connection.
async fn closed(mut stream: TcpStream) {
    let mut answer = Vec::new();
    let _ = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await.unwrap(); // or it was reset
}

async fn level(emulator: &Emulator) {
    let mut open = emulator.open();
    timeout(TIMEOUT, open.wait_for(|open| (open.connections, open.links) == (0, 0))).await.unwrap().unwrap();
}

async fn serves(emulator: &Emulator) {
    let mut client = Client::connect(emulator).await;
    send(&mut client.sender("orders/Partitions/0").await, event("a")).await;
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    assert_eq!(next(&mut receiver).await.1, "a");
}

#[tokio::test]
async fn rubbish_ends_its_connection_alone() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders").await;
    let mut random = fastrand::Rng::with_seed(7);
    for round in 0..200 {
        let mut bytes: Vec<u8> = (0..random.usize(9..400)).map(|_| random.u8(..)).collect();
        match round % 4 {
            0 => {}
            1 => bytes = [HEADER, &bytes].concat(),
            // A frame that is well-formed but for what is in it.
            2 => {
                let size = u32::try_from(bytes.len() + 8).unwrap().to_be_bytes();
                bytes = [HEADER, &size, &[2, 1, 0, 0], &bytes].concat();
            }
            _ => bytes = [HEADER, &u32::MAX.to_be_bytes(), &bytes].concat(),
        }
        let mut stream = connected(&emulator).await;
        stream.write_all(&bytes).await.unwrap();
        stream.shutdown().await.unwrap();
        closed(stream).await;
    }
    send(&mut sender, event("a")).await;
    drop((sender, client));
    level(&emulator).await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn rubbish_after_the_handshake_ends_its_connection_alone() {
    let emulator = emulator(Config::default()).await;
    // SASL ANONYMOUS, and an Open of the container "a".
    let sasl = b"\0\0\0\x1c\x02\x01\0\0\0\x53\x41\xc0\x0f\x01\xa3\x0cANONYMOUS   ";
    let open = b"\0\0\0\x11\x02\0\0\0\0\x53\x10\xc0\x04\x01\xa1\x01a";
    let start = [HEADER, sasl, b"AMQP\0\x01\0\0", open].concat();
    let mut random = fastrand::Rng::with_seed(11);
    for _ in 0..100 {
        let body: Vec<u8> = (0..random.usize(0..100)).map(|_| random.u8(..)).collect();
        let size = u32::try_from(body.len() + 11).unwrap().to_be_bytes();
        let frame = [&size[..], &[2, 0, 0, 0, 0, 0x53, random.u8(0x10..0x19)], &body].concat();
        let mut stream = connected(&emulator).await;
        stream.write_all(&[&start[..], &frame].concat()).await.unwrap();
        stream.shutdown().await.unwrap();
        closed(stream).await;
    }
    level(&emulator).await;
    serves(&emulator).await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn half_open_connections_are_closed_by_the_idle_rule() {
    let idle = Idle { first_link: Duration::from_millis(100), ..Idle::default() };
    let emulator = emulator(Config { idle, ..Config::default() }).await;
    let beginnings = [&b""[..], b"AM", HEADER, b"AMQP\0\x01\0\0", b"AMQP\x03\x01\0\0\0\0\0\x20\x02"];
    let mut streams = Vec::new();
    for bytes in beginnings {
        let mut stream = connected(&emulator).await;
        stream.write_all(bytes).await.unwrap();
        streams.push(stream);
    }
    for stream in streams {
        closed(stream).await;
    }
    level(&emulator).await;
    serves(&emulator).await;
    emulator.shutdown().await;
}

#[tokio::test]
async fn a_thousand_connects_leave_nothing() {
    let files = || fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let emulator = emulator(Config::default()).await;
    let (mut before, mut tasks) = (0, 0);
    for round in 0..1000 {
        if round == 100 {
            level(&emulator).await;
            (before, tasks) = (files(), Handle::current().metrics().num_alive_tasks());
        }
        match round % 4 {
            0 => drop(connected(&emulator).await),
            1 => {
                let mut stream = connected(&emulator).await;
                stream.write_all(HEADER).await.unwrap();
            }
            2 => drop(Client::anonymous(&emulator).await),
            _ => {
                let mut client = Client::anonymous(&emulator).await;
                client.session.end().await.unwrap();
                client.connection.close().await.unwrap();
            }
        }
    }
    level(&emulator).await;
    tokio::task::yield_now().await;
    let after = (files(), Handle::current().metrics().num_alive_tasks());
    // Other tests of this process open files too.
    assert!(after.0 <= before + 50 && after.1 <= tasks + 20, "{before} files and {tasks} tasks, then {after:?}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn hundreds_of_readers_of_a_busy_partition_leave_nothing() {
    let emulator = emulator(Config::default()).await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;
    for _ in 0..20 {
        send(&mut sender, event("a")).await;
    }
    for round in 0..300 {
        // The place of the one before is free, whatever its epoch was.
        let epoch = (round % 3 == 0).then_some(round);
        let mut receiver = client.receiver(0, "$Default", EARLIEST, epoch).await;
        next(&mut receiver).await;
        for _ in 1..20 {
            next(&mut receiver).await; // the library ends its session if a delivery arrives after the link
        }
        receiver.close().await.unwrap();
    }
    let mut open = emulator.open();
    timeout(TIMEOUT, open.wait_for(|open| open.links == 1)).await.unwrap().unwrap();
    emulator.shutdown().await;
}
