//! All of it, from configuration: a group that shares the shards of a stream, which is split and merged.

use std::time::Duration;

use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Message};
use strait_kinesis::Kinesis;
use strait_testkit::kinesis::{StreamSettings, Stub};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpListener,
    time::timeout,
};

const FIRST: &str = "shardId-000000000000";

/// What is configured against the stub, with rows of this name in memory.
fn bus(stub: &Stub, rows: &str, more: &str) -> Bus {
    configured(stub, &format!("memory:{rows}"), "", &format!("poll = \"200ms\"\n{more}"))
}

/// The same with records that are pushed.
fn pushed(stub: &Stub, rows: &str) -> Bus {
    configured(stub, &format!("memory:{rows}"), "create = true", "read = \"fan_out\"")
}

/// The same with leases by their URL, and more of the connection and of the receiver.
fn configured(stub: &Stub, leases: &str, connection: &str, receiver: &str) -> Bus {
    let text = format!(
        r#"
provider = "kinesis"
[connections.kinesis]
region = "us-east-1"
endpoint = "{}"
access_key_id = "AKIA"
secret_access_key = "hunter2"
timeout = "60s"
{connection}
[senders.orders.on.kinesis]
stream = "orders"
[receivers.billing]
ordering = "key"
dead_letter = "discard"
[receivers.billing.on.kinesis]
stream = "orders"
group = "billing"
leases = "{leases}"
{receiver}
"#,
        stub.url()
    );
    Bus::builder(Registry::new().with(Kinesis)).environment(|_| None).text("strait.toml", &text).build().unwrap()
}

/// Sends messages of eight keys, each with the number of the last message of its key.
async fn send(bus: &Bus, numbers: std::ops::Range<u32>) {
    let orders = bus.sender("orders").await.unwrap();
    for number in numbers {
        let message = Message::new(number.to_string()).with_key(format!("k{}", number % 8));
        orders.send(message).await.unwrap();
    }
}

/// Receives so many messages, and checks that those of each key come in order, each once.
async fn receive(bus: &Bus, numbers: std::ops::Range<u32>) {
    let receiver = bus.receiver("billing").await.unwrap();
    let mut found: Vec<u32> = Vec::new();
    for _ in numbers.clone() {
        let delivery = receiver.recv().await.unwrap().unwrap();
        let number = std::str::from_utf8(&delivery.message().payload).unwrap().parse().unwrap();
        let before = found.iter().filter(|earlier| *earlier % 8 == number % 8).max();
        assert!(before.is_none_or(|before| *before < number), "{number} comes behind {before:?}");
        found.push(number);
        delivery.ack_confirmed().await.unwrap();
    }
    found.sort_unstable();
    assert_eq!(found, numbers.collect::<Vec<_>>());
}

/// Sends messages before and after a split, a merge and another split, and receives all of them.
async fn reshard(stub: &Stub, bus: Bus) {
    send(&bus, 0..16).await;
    let [left, right] = stub.split("orders", FIRST);
    send(&bus, 16..32).await;
    let merged = stub.merge("orders", [&left, &right]);
    send(&bus, 32..48).await;
    receive(&bus, 0..48).await;
    stub.split("orders", &merged);
    send(&bus, 48..64).await;
    receive(&bus, 48..64).await;
    bus.close().await.unwrap();
}

/// Cases 1, 27, 48: a stream that was resharded before anybody consumed it is read completely, in order of each key; what is
/// stored meanwhile, and after the group went on, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_read_over_splits_and_merges() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default().with_shards(2));
    reshard(&stub, bus(&stub, "splits", "")).await;
    let two = bus(&stub, "splits", "");
    send(&two, 64..80).await;
    receive(&two, 64..80).await;
    two.close().await.unwrap();
}

/// The same with records that are pushed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_pushed_over_splits_and_merges() {
    let stub = Stub::start().await;
    stub.run_clock();
    stub.create("orders", StreamSettings::default().with_shards(2));
    reshard(&stub, pushed(&stub, "pushed")).await;
    // Longer than its shards are those of who subscribed last.
    stub.advance(Duration::from_secs(6));
    let two = pushed(&stub, "pushed");
    send(&two, 64..80).await;
    receive(&two, 64..80).await;
    two.close().await.unwrap();
    assert!(stub.seen("GetRecords").is_empty(), "it is not polled");
    assert_eq!(stub.seen("RegisterStreamConsumer").len(), 1);
    assert!(stub.seen("DeregisterStreamConsumer").is_empty(), "what is read by next may be in another process");
}

/// Cases 7 and 9: rows of a stream that was deleted are not used for one of the same name.
#[tokio::test]
async fn a_group_does_not_go_on_with_another_stream() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default());
    let one = bus(&stub, "another", "");
    send(&one, 0..8).await;
    receive(&one, 0..8).await;
    one.close().await.unwrap();
    stub.advance(std::time::Duration::from_mins(1));
    stub.create("orders", StreamSettings::default());
    let two = bus(&stub, "another", "");
    assert_eq!(two.receiver("billing").await.unwrap_err().kind(), ErrorKind::Config);
    two.close().await.unwrap();
}

/// A new group that starts at the latest record has what is sent once it is open, and nothing that was sent before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_may_start_at_the_latest_record() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default());
    let bus = bus(&stub, "latest", "start = \"latest\"");
    send(&bus, 0..8).await;
    // Further than seconds, which the service's clock is told in.
    stub.advance(std::time::Duration::from_mins(1));
    let receiver = bus.receiver("billing").await.unwrap();
    send(&bus, 8..16).await;
    drop(receiver);
    receive(&bus, 8..16).await;
    bus.close().await.unwrap();
}

/// A service that refuses a request, and returns its head in lower case.
async fn refuse(service: &TcpListener) -> String {
    let (stream, _) = service.accept().await.unwrap();
    let (mut stream, mut head) = (BufReader::new(stream), String::new());
    while !head.ends_with("\r\n\r\n") {
        stream.read_line(&mut head).await.unwrap();
    }
    let answer = "HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    stream.write_all(answer.as_bytes()).await.unwrap();
    head.to_lowercase()
}

#[tokio::test]
async fn leases_on_aws_are_reached_as_the_connection_is() {
    let stub = Stub::start().await;
    stub.create("orders", StreamSettings::default());
    for (leases, field) in [("dynamodb://table/x", "dynamodb_endpoint"), ("s3://bucket/x", "s3_endpoint")] {
        let service = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("{field} = \"http://{}\"", service.local_addr().unwrap());
        let bus = configured(&stub, leases, &endpoint, "");
        let asked = timeout(Duration::from_secs(30), refuse(&service));
        let (opened, head) = tokio::join!(bus.receiver("billing"), asked);
        let head = head.expect("the store was not asked there");
        let error = opened.map(drop).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        bus.close().await.unwrap();
        assert!(head.contains("credential=akia/") && head.contains("/us-east-1/"), "{leases}: {head}");
    }
}
