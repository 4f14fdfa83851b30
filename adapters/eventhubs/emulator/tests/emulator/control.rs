//! Faults, hubs and counters over HTTP.

use std::net::SocketAddr;

use strait_eventhubs_emulator::{Config, Emulator};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use crate::client::{Client, EARLIEST, TIMEOUT, emulator, end, event, next, refusal, send, send_end};

async fn controlled() -> (Emulator, SocketAddr) {
    let emulator = emulator(Config { control: Some(([127, 0, 0, 1], 0).into()), ..Config::default() }).await;
    let control = emulator.control().unwrap();
    (emulator, control)
}

/// The status and the body of an answer.
async fn ask(control: SocketAddr, request: &str, body: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(control).await.unwrap();
    let head = format!("{request} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(TIMEOUT, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

async fn fault(control: SocketAddr, fault: &str) {
    assert_eq!(ask(control, "POST /faults", fault).await, (200, String::new()), "{fault}");
}

#[tokio::test]
async fn every_fault_is_asked_for_over_http() {
    let (emulator, control) = controlled().await;
    let mut client = Client::connect(&emulator).await;
    let mut sender = client.sender("orders/Partitions/0").await;

    fault(control, r#"{"next_sends": {"fault": "release", "count": 1}}"#).await;
    assert!(sender.send(event("a")).await.unwrap().is_released());
    fault(control, r#"{"next_sends": {"fault": "modify", "count": 1}}"#).await;
    assert!(sender.send(event("a")).await.unwrap().is_modified());
    fault(control, r#"{"next_sends": {"fault": "busy", "count": 1}}"#).await;
    refusal(&mut sender, event("a")).await;
    fault(control, r#"{"busy": 1.0}"#).await;
    refusal(&mut sender, event("a")).await;
    fault(control, r#"{"clear": {}}"#).await;
    fault(control, r#"{"settle_after": "1ms"}"#).await;
    send(&mut sender, event("b")).await;

    fault(control, r#"{"pause": {"hub": "orders", "partition": 0, "paused": true}}"#).await;
    let mut receiver = client.receiver(0, "$Default", EARLIEST, None).await;
    client.read("orders", None).await;
    assert_eq!(receiver.credit(), 200, "a paused partition delivers nothing");
    fault(control, r#"{"pause": {"hub": "orders", "partition": 0, "paused": false}}"#).await;
    assert_eq!(next(&mut receiver).await.1, "b");

    fault(control, r#"{"freeze": true}"#).await;
    let frozen = sender.send_batchable(event("c")).await.unwrap();
    fault(control, r#"{"freeze": false}"#).await;
    assert!(timeout(TIMEOUT, frozen).await.unwrap().unwrap().is_accepted());
    assert_eq!(next(&mut receiver).await.1, "c");

    fault(control, r#"{"disrupt": {"steal": {"hub": "orders", "partition": 0}}}"#).await;
    assert!(end(&mut receiver).await.contains("Stolen"));
    let mut receiver = client.receiver(0, "$Default", "amqp.annotation.x-opt-offset > @latest", None).await;
    fault(control, r#"{"disrupt": {"detach_receivers": {"hub": "orders"}}}"#).await;
    assert!(end(&mut receiver).await.contains("DetachForced"));
    fault(control, r#"{"disrupt": {"detach_senders": {}}}"#).await;
    assert!(send_end(&mut sender).await.contains("Closed"));
    fault(control, r#"{"disrupt": "close_connections"}"#).await;
    let closed = timeout(TIMEOUT, client.connection.on_close()).await.unwrap();
    assert!(format!("{closed:?}").contains("ConnectionForced"), "{closed:?}");
    emulator.shutdown().await;
}

#[tokio::test]
async fn hubs_are_created_grown_and_deleted_over_http() {
    let (emulator, control) = controlled().await;
    let hub = r#"{"name": "bills", "partitions": 2, "groups": ["audit"], "retention": {"events": 5}}"#;
    assert_eq!(ask(control, "POST /hubs", hub).await.0, 200);
    let (status, reason) = ask(control, "POST /hubs", hub).await;
    assert!(status == 400 && reason.contains("already"), "{reason}");
    assert_eq!(ask(control, "PUT /hubs/bills/partitions/3", "").await.0, 200);
    assert!(emulator.namespace().partition("bills", 2).is_some());
    assert_eq!(ask(control, "PUT /hubs/bills/partitions/2", "").await.0, 400);
    assert_eq!(ask(control, "DELETE /hubs/bills", "").await.0, 200);
    assert_eq!(ask(control, "DELETE /hubs/bills", "").await.0, 400);
    emulator.shutdown().await;
}

#[tokio::test]
async fn records_and_counters_are_read_over_http() {
    let (emulator, control) = controlled().await;
    let mut client = Client::connect(&emulator).await;
    let _sender = client.sender("orders").await;
    emulator.open().wait_for(|open| open.links == 1).await.unwrap();
    assert_eq!(ask(control, "GET /open", "").await.1, "{\"connections\":1,\"links\":1}\n");
    let (_, records) = ask(control, "GET /records", "").await;
    assert!(records.contains("Open") && records.contains("PutToken") && !records.contains("SharedAccessSignature"));
    assert_eq!(ask(control, "DELETE /records", "").await.0, 200);
    assert_eq!(ask(control, "GET /records", "").await.1, "");
    assert_eq!(ask(control, "GET /health", "").await.0, 200);
    emulator.shutdown().await;
}

#[tokio::test]
async fn other_requests_are_refused() {
    let (emulator, control) = controlled().await;
    for (request, body, status) in [
        ("GET /", "", 404),
        ("POST /faults", "", 400),
        ("POST /faults", "{\"unknown\": 1}", 400),
        ("POST /faults", "{\"busy\": 2}", 400),
        ("POST /hubs", "{\"name\": \"\"}", 400),
        ("POST /faults", &"x".repeat(70_000), 413),
    ] {
        assert_eq!(ask(control, request, body).await.0, status, "{request} {}", body.len());
    }
    emulator.shutdown().await;
}
