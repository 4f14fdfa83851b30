//! Every mistake in the tables of this provider is told by the path of its field, and never with a secret.

use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Result};
use strait_sqs::Sqs;

fn read(connection: &str, sender: &str, receiver: &str) -> Result<()> {
    let text = format!(
        r#"
provider = "sqs"
[connections.sqs]
{connection}
[senders.out.on.sqs]
{sender}
[receivers.app]
dead_letter = "discard"
[receivers.app.on.sqs]
{receiver}
"#
    );
    Bus::builder(Registry::new().with(Sqs)).environment(|_| None).text("strait.toml", &text).build().map(drop)
}

fn problem(connection: &str, sender: &str, receiver: &str) -> String {
    let error = read(connection, sender, receiver).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(!text.contains("hunter2") && text.lines().count() == 1, "{text}");
    text.trim_start_matches("strait.toml: ").to_owned()
}

const OUT: &str = "queue = \"orders\"";

#[test]
fn all_that_there_is_can_be_said() {
    let connection = r#"
region = "eu-west-1"
endpoint = "http://127.0.0.1:4566"
allow_insecure = false
assume_role = "arn:aws:iam::1:role/x"
external_id = "hunter2"
access_key_id = "a"
secret_access_key = "hunter2"
session_token = "hunter2"
sqs_endpoint = "https://vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com"
sns_endpoint = "https://sns.eu-west-1.amazonaws.com"
sts_endpoint = "https://sts.example"
timeout = "5s"
create = true
"#;
    let receiver = r#"
queue = "billing.fifo"
topic = "orders.fifo"
wait = "10s"
lease = "90s"
longest = "1h"
pollers = 4
"#;
    read(connection, "topic = \"orders.fifo\"", receiver).unwrap();
    read("profile = \"dev\"", "queue = \"https://sqs.eu-west-1.amazonaws.com/1/orders\"", OUT).unwrap();
    read("", OUT, OUT).unwrap();
}

#[test]
fn connections_are_checked() {
    let table = |connection: &str| problem(connection, OUT, OUT);
    let plain = "is not encrypted and not on this machine; allow_insecure = true would allow it";
    assert_eq!(table("endpoint = \"http://sqs.example\""), format!("connections.sqs.endpoint: {plain}"));
    read("endpoint = \"http://sqs.example\"\nallow_insecure = true", OUT, OUT).unwrap();
    assert_eq!(
        table("external_id = \"hunter2\""),
        "connections.sqs.external_id: belongs to assume_role, which is missing"
    );
    assert_eq!(
        table("access_key_id = \"hunter2\""),
        "connections.sqs.secret_access_key: is missing: access_key_id needs it"
    );
    assert_eq!(
        table("secret_access_key = \"hunter2\""),
        "connections.sqs.access_key_id: is missing: secret_access_key needs it"
    );
    assert_eq!(
        table("profile = \"dev\"\naccess_key_id = \"a\"\nsecret_access_key = \"hunter2\""),
        "connections.sqs.profile: and access_key_id exclude each other"
    );
    let number = "expected a text, in quotes; found a number";
    assert_eq!(table("external_id = 4711"), format!("connections.sqs.external_id: {number}"));
    let token = "belongs to access_key_id and secret_access_key";
    assert_eq!(table("session_token = \"hunter2\""), format!("connections.sqs.session_token: {token}"));
    let interface = "https://vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com";
    let alone = "is an endpoint of SQS alone: say sqs_endpoint instead";
    assert_eq!(table(&format!("endpoint = \"{interface}\"")), format!("connections.sqs.endpoint: {alone}"));
    let other = "is an endpoint of SQS, and not of SNS";
    assert_eq!(table(&format!("sns_endpoint = \"{interface}\"")), format!("connections.sqs.sns_endpoint: {other}"));
    assert_eq!(table("sqs_endpoint = \"http://sqs.example\""), format!("connections.sqs.sqs_endpoint: {plain}"));
    assert_eq!(table("timeout = \"2m\""), "connections.sqs.timeout: must be 100ms to 60s, found 2m");
    assert_eq!(table("regoin = \"x\""), "connections.sqs.regoin: unknown key; did you mean region?");
}

#[test]
fn a_sender_has_one_place() {
    assert_eq!(problem("", "", OUT), "senders.out.on.sqs.queue: is missing: name a queue, or a topic");
    let both = "queue = \"a\"\ntopic = \"b\"";
    assert_eq!(problem("", both, OUT), "senders.out.on.sqs.topic: and queue exclude each other");
}

#[test]
fn leases_are_what_sqs_has() {
    let table = |receiver: &str| problem("", OUT, &format!("{OUT}\n{receiver}"));
    let path = "receivers.app.on.sqs";
    assert_eq!(table("wait = \"21s\""), format!("{path}.wait: must be whole seconds, at most 20"));
    assert_eq!(table("wait = \"1500ms\""), format!("{path}.wait: must be whole seconds, at most 20"));
    let lease = "must be whole seconds, at least one and at most 12 h";
    assert_eq!(table("lease = \"13h\""), format!("{path}.lease: {lease}"));
    assert_eq!(table("lease = \"0s\""), format!("{path}.lease: {lease}"));
    let twice = "must be at least twice as long as wait, which is 20s: at least 40s";
    assert_eq!(table("lease = \"30s\""), format!("{path}.lease: {twice}"));
    let together = "and the lease, which is 60s, must be at most 12 h together";
    assert_eq!(table("longest = \"12h\""), format!("{path}.longest: {together}"));
    read("", OUT, &format!("{OUT}\nwait = \"0s\"\nlease = \"30s\"")).unwrap();
    assert_eq!(problem("", OUT, "wait = \"1s\""), format!("{path}.queue: is missing"));
}

#[test]
fn an_arn_is_one_of_a_queue_or_of_a_topic() {
    let (queue, topic) = ("arn:aws:sqs:eu-west-1:123456789012:orders", "arn:aws:sns:eu-west-1:123456789012:orders");
    let named = |field: &str, arn: &str| format!("{field} = \"{arn}\"");
    read("", &named("queue", queue), &named("queue", queue)).unwrap();
    read("", &named("topic", topic), OUT).unwrap();
    let (not_a_queue, not_a_topic) =
        ("is an ARN of \"sns\", and must be one of \"sqs\"", "is an ARN of \"sqs\", and must be one of \"sns\"");
    assert_eq!(problem("", &named("queue", topic), OUT), format!("senders.out.on.sqs.queue: {not_a_queue}"));
    assert_eq!(problem("", &named("topic", queue), OUT), format!("senders.out.on.sqs.topic: {not_a_topic}"));
    assert_eq!(problem("", OUT, &named("queue", topic)), format!("receivers.app.on.sqs.queue: {not_a_queue}"));
}

#[test]
fn who_writes_what_aws_calls_a_field_is_told_its_name() {
    let path = "receivers.app.on.sqs";
    let told = |name: &str, here: &str| format!("{path}.{name}: unknown key; did you mean {here}?");
    for (name, here) in [("visibility_timeout", "lease"), ("VisibilityTimeout", "lease"), ("wait_time_seconds", "wait")]
    {
        assert_eq!(problem("", OUT, &format!("{OUT}\n{name} = \"30s\"")), told(name, here));
    }
    let connection = problem("endpoint_url = \"http://127.0.0.1:4566\"", OUT, OUT);
    assert_eq!(connection, "connections.sqs.endpoint_url: unknown key; did you mean endpoint?");
}
