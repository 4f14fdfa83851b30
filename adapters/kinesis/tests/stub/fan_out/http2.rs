//! Over TLS, calls and subscriptions are streams of HTTP/2, and what a client does not read fills the windows of its connection.

use std::process::Command;

use strait_kinesis::KinesisLog;
use strait_kit::{Log as _, Page, Start};
use strait_testkit::kinesis::{StreamSettings, Stub};

use super::super::{
    connect,
    reading::{ALL, next, told},
};

/// How the SDK is told to trust a certificate: by this process' environment alone.
const TRUSTED: &str = "SSL_CERT_FILE";
const CERTIFICATE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stub/fan_out/tls/certificate.pem");
const NAME: &str = "fan_out::http2::subscriptions_that_nobody_reads_do_not_hold_up_others";
/// As many as fill the windows of one connection, with more than each takes by itself.
const UNREAD: usize = 4;
const RECORDS: usize = 8;

#[test]
fn subscriptions_that_nobody_reads_do_not_hold_up_others() {
    if std::env::var(TRUSTED).is_ok_and(|trusted| trusted == CERTIFICATE) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        return runtime.block_on(read_one_of_several());
    }
    let test =
        Command::new(std::env::current_exe().unwrap()).args(["--exact", NAME]).env(TRUSTED, CERTIFICATE).output();
    let test = test.unwrap();
    let said = [test.stdout, test.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(test.status.success() && said.contains("1 passed"), "{said}");
}

async fn read_one_of_several() {
    let stub = Stub::start_with_tls(include_bytes!("tls/certificate.pem"), include_bytes!("tls/key.pem")).await;
    stub.create("orders", StreamSettings::default().with_shards(UNREAD + 1));
    let client = connect(&stub).await;
    let log = KinesisLog::open_fan_out(&client, "orders", "billing", "billing", true).await.unwrap();
    let shards = log.partitions().await.unwrap();
    let (read, unread) = shards.split_first().unwrap();
    // The keys of each shard, by trying: what is stored first says where a key belongs.
    let mut keys = vec![String::new(); shards.len()];
    for number in 0.. {
        if keys.iter().all(|key| !key.is_empty()) {
            break;
        }
        let key = format!("k{number}");
        stub.put("orders", &key, "found");
        let stored = stub.stored("orders");
        let shard = stored.iter().position(|(_, records)| records.last().is_some_and(|(last, _)| *last == key));
        keys[shard.unwrap()] = key;
    }
    for key in &keys[1..] {
        for _ in 0..RECORDS {
            stub.put("orders", key, vec![7; (1 << 20) - key.len()]);
        }
    }
    let mut readers = Vec::new();
    for shard in unread {
        let mut reader = log.open(&shard.id, &Start::Earliest, 1, 1 << 20).await.unwrap();
        assert!(matches!(reader.next(ALL).await.unwrap(), Page::Records { records, .. } if !records.is_empty()));
        readers.push(reader);
    }
    stub.until(|stub| stub.sending() == UNREAD).await;
    let mut reader = log.open(&read.id, &Start::Latest, 1, 1 << 20).await.unwrap();
    assert!(matches!(reader.next(ALL).await.unwrap(), Page::Records { records, .. } if records.is_empty()));
    for number in 0..20 {
        stub.put("orders", &keys[0], number.to_string());
        assert_eq!(told(&next(&mut *reader, ALL).await), [number.to_string()]);
    }
    assert_eq!(stub.sending(), UNREAD, "nobody read them meanwhile");
    // Nor are they in the way of calls.
    log.partitions().await.unwrap();
}
