//! Every mistake in the tables of this provider is told by the path of its field, and never with a secret.

use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Result};
use strait_kinesis::Kinesis;

fn read(connection: &str, sender: &str, receiver: &str) -> Result<()> {
    let text = format!(
        r#"
provider = "kinesis"
[connections.kinesis]
{connection}
[senders.out.on.kinesis]
{sender}
[receivers.app]
dead_letter = "discard"
[receivers.app.on.kinesis]
{receiver}
"#
    );
    Bus::builder(Registry::new().with(Kinesis)).environment(|_| None).text("strait.toml", &text).build().map(drop)
}

fn problem(connection: &str, sender: &str, receiver: &str) -> String {
    let error = read(connection, sender, receiver).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(!text.contains("hunter2") && text.lines().count() == 1, "{text}");
    text.trim_start_matches("strait.toml: ").to_owned()
}

const OUT: &str = "stream = \"orders\"";
const IN: &str = "stream = \"orders\"\ngroup = \"billing\"\nleases = \"s3://our-rows/kinesis\"";

#[test]
fn all_that_there_is_can_be_said() {
    let connection = r#"
region = "eu-west-1"
endpoint = "http://127.0.0.1:4566"
kinesis_endpoint = "https://kinesis.eu-west-1.amazonaws.com"
sts_endpoint = "https://sts.example"
dynamodb_endpoint = "https://dynamodb.example"
s3_endpoint = "https://s3.example"
allow_insecure = false
assume_role = "arn:aws:iam::1:role/x"
external_id = "hunter2"
access_key_id = "a"
secret_access_key = "hunter2"
session_token = "hunter2"
timeout = "5s"
create = true
shards = 4
"#;
    let receiver = r#"
stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
group = "billing"
leases = "file:/var/leases"
expiry = "20s"
start = "latest"
poll = "500ms"
trimmed = "skip"
"#;
    read(connection, "stream = \"orders\"\nenvelope = \"plain\"", receiver).unwrap();
    read("profile = \"dev\"", OUT, IN).unwrap();
    read("", OUT, &format!("{IN}\nread = \"polling\"")).unwrap();
    read("", OUT, &format!("{IN}\nread = \"fan_out\"")).unwrap();
    read("", OUT, &format!("{IN}\nread = \"fan_out\"\nconsumer = \"billing-2\"")).unwrap();
    read("", OUT, &format!("{IN}\nstart = \"2026-01-31T12:00:00Z\"")).unwrap();
}

#[test]
fn connections_are_checked() {
    let table = |connection: &str| problem(connection, OUT, IN);
    let alone = "is for create = true: a stream that exists has its own";
    assert_eq!(table("shards = 4"), format!("connections.kinesis.shards: {alone}"));
    assert_eq!(table("create = true\nshards = 0"), "connections.kinesis.shards: must be 1 to 1000, found 0");
    let plain = "is not encrypted and not on this machine; allow_insecure = true would allow it";
    assert_eq!(table("endpoint = \"http://kinesis.example\""), format!("connections.kinesis.endpoint: {plain}"));
    assert_eq!(table("regoin = \"x\""), "connections.kinesis.regoin: unknown key; did you mean region?");
}

#[test]
fn streams_are_named_by_name_or_arn() {
    let named = |stream: &str| problem("", &format!("stream = \"{stream}\""), IN);
    let path = "senders.out.on.kinesis.stream";
    assert_eq!(problem("", "", IN), format!("{path}: is missing"));
    assert!(named("no stream").starts_with(&format!("{path}: must be the name of a stream")));
    assert!(named("arn:aws:kinesis:eu-west-1:123456789012:consumer/x").starts_with(&format!("{path}: is no ARN")));
    let queue = "is an ARN of \"sqs\", and must be one of \"kinesis\"";
    assert_eq!(named("arn:aws:sqs:eu-west-1:123456789012:orders"), format!("{path}: {queue}"));
    let envelope = problem("", "stream = \"orders\"\nenvelope = \"avro\"", IN);
    assert_eq!(envelope, "senders.out.on.kinesis.envelope: expected one of \"kpl\", \"plain\", found \"avro\"");
}

#[test]
fn a_receiver_says_who_shares_the_shards() {
    let path = "receivers.app.on.kinesis";
    let table = |more: &str| problem("", OUT, &format!("{IN}\n{more}"));
    for field in ["stream", "group", "leases"] {
        let rest: Vec<_> = IN.lines().filter(|line| !line.starts_with(field)).collect();
        assert_eq!(problem("", OUT, &rest.join("\n")), format!("{path}.{field}: is missing"));
    }
    assert_eq!(table("poll = \"100ms\""), format!("{path}.poll: must be 200ms to 1m"));
    assert_eq!(table("expiry = \"1s\""), format!("{path}.expiry: must be 2s to a day"));
    assert_eq!(
        table("trimmed = \"ignore\""),
        format!("{path}.trimmed: expected one of \"fail\", \"skip\", found \"ignore\"")
    );
    let polling = "is for read = \"polling\": records are pushed";
    assert_eq!(table("read = \"fan_out\"\npoll = \"1s\""), format!("{path}.poll: {polling}"));
    assert_eq!(table("consumer = \"x\""), format!("{path}.consumer: is for read = \"fan_out\""));
    let name = "must be the name of a consumer, 1 to 128 letters, digits, '_', '.' and '-'";
    assert_eq!(table("read = \"fan_out\"\nconsumer = \"a b\""), format!("{path}.consumer: {name}"));
    let group = IN.replace("billing", "$billing");
    let unnamed = problem("", OUT, &format!("{group}\nread = \"fan_out\""));
    assert_eq!(unnamed, format!("{path}.consumer: is missing, and no consumer can have the name of the group"));
    let choices = "expected one of \"polling\", \"fan_out\", found \"push\"";
    assert_eq!(table("read = \"push\""), format!("{path}.read: {choices}"));
    let told = |name: &str, here: &str| format!("{path}.{name}: unknown key; did you mean {here}?");
    for (name, here) in [("initial_position", "start"), ("stream_arn", "stream"), ("lease_table", "leases")] {
        assert_eq!(table(&format!("{name} = \"x\"")), told(name, here));
    }
}
