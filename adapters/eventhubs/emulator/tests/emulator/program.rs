//! The program: its options, what it prints, and how it ends.

use std::process::Stdio;

use fe2o3_amqp::{Connection, sasl_profile::SaslProfile};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::client::TIMEOUT;

fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait-eventhubs-emulator"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

#[tokio::test]
async fn it_serves_until_sigterm() {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--hub", "orders:2", "--hub", "bills"]);
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut printed = Vec::new();
    while printed.len() < 4 {
        printed.push(timeout(TIMEOUT, lines.next_line()).await.unwrap().unwrap().unwrap());
    }
    let address = printed[0].strip_prefix("listening on ").unwrap();
    assert!(printed[1].starts_with("control on http://127.0.0.1:"), "{printed:?}");
    assert!(printed[2].ends_with("EntityPath=orders") && printed[3].ends_with("EntityPath=bills"), "{printed:?}");
    let connection = Connection::builder()
        .container_id("test")
        .sasl_profile(SaslProfile::Anonymous)
        .open(&format!("amqp://{address}")[..])
        .await;
    let mut connection = connection.unwrap();
    let terminated = Command::new("kill").arg(child.id().unwrap().to_string()).status().await.unwrap();
    assert!(terminated.success());
    let closed = timeout(TIMEOUT, connection.on_close()).await.unwrap();
    assert!(format!("{closed:?}").contains("ConnectionForced"), "{closed:?}");
    assert!(timeout(TIMEOUT, child.wait()).await.unwrap().unwrap().success());
}

#[tokio::test]
async fn what_it_cannot_keep_is_refused_with_the_reason() {
    for (arguments, reason) in [
        (&["--port", "5672"][..], "there is no --port"),
        (&["--hub", "orders:many"], "is no number of partitions"),
        (&["--hub", "orders:0"], "a hub has 1 to 1024 partitions"),
        (&["--listen", "0.0.0.0:0"], "is not a loopback address"),
        (&["--config", "/nowhere/emulator.toml"], "/nowhere/emulator.toml"),
    ] {
        let output = timeout(TIMEOUT, program().args(arguments).output()).await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(reason), "{said}");
    }
}
