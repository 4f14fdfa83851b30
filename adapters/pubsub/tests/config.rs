//! Every mistake in the tables of this provider is told by the path of its field.

use strait_config::{Bus, Registry};
use strait_core::{ErrorKind, Result};
use strait_pubsub::PubSub;

fn read(connection: &str, sender: &str, receiver: &str) -> Result<()> {
    let text = format!(
        r#"
provider = "pubsub"
[connections.pubsub]
{connection}
[senders.out.on.pubsub]
{sender}
[receivers.app]
dead_letter = "discard"
[receivers.app.on.pubsub]
{receiver}
"#
    );
    Bus::builder(Registry::new().with(PubSub)).environment(|_| None).text("strait.toml", &text).build().map(drop)
}

fn problem(connection: &str, sender: &str, receiver: &str) -> String {
    let error = read(connection, sender, receiver).expect_err("it is refused");
    assert_eq!(error.kind(), ErrorKind::Config);
    let text = error.to_string();
    assert!(text.lines().count() == 1, "{text}");
    text.trim_start_matches("strait.toml: ").to_owned()
}

const OUT: &str = "topic = \"orders\"";
const IN: &str = "subscription = \"billing\"";

#[test]
fn all_that_there_is_can_be_said() {
    let connection = r#"
project = "shop"
endpoint = "https://europe-west1-pubsub.googleapis.com"
allow_insecure = false
credentials_file = "/run/secrets/pubsub.json"
timeout = "5s"
create = true
"#;
    let receiver = r#"
subscription = "projects/shop/subscriptions/billing"
wait = "10s"
lease = "90s"
longest = "1h"
pollers = 4
topic = "orders"
ordered = true
exactly_once = true
start = "2026-01-31T12:00:00Z"
"#;
    read(connection, "topic = \"projects/shop/topics/orders\"", receiver).unwrap();
    read("endpoint = \"http://127.0.0.1:8085\"\nanonymous = true", OUT, IN).unwrap();
    read("", OUT, IN).unwrap();
}

#[test]
fn connections_are_checked() {
    let table = |connection: &str| problem(connection, OUT, IN);
    let path = "connections.pubsub";
    let plain = "is not encrypted and not on this machine; allow_insecure = true would allow it";
    assert_eq!(table("endpoint = \"http://pubsub.example\""), format!("{path}.endpoint: {plain}"));
    assert_eq!(table("endpoint = \"localhost:8085\""), format!("{path}.endpoint: is not an address with a scheme"));
    let file = "credentials_file = \"x.json\"\n";
    let sent = "is not sent to an endpoint that is not encrypted";
    let connection = format!("{file}endpoint = \"http://127.0.0.1:8085\"");
    assert_eq!(table(&connection), format!("{path}.credentials_file: {sent}"));
    let connection = format!("{file}endpoint = \"HTTP://127.0.0.1:8085\"");
    assert_eq!(table(&connection), format!("{path}.credentials_file: {sent}"));
    let both = format!("{file}anonymous = true");
    assert_eq!(table(&both), format!("{path}.anonymous: and credentials_file exclude each other"));
    assert_eq!(table("timeout = \"2m\""), format!("{path}.timeout: must be 100ms to 60s, found 2m"));
    assert_eq!(table("projct = \"x\""), format!("{path}.projct: unknown key; did you mean project?"));
}

#[test]
fn channels_are_checked() {
    assert_eq!(problem("", "", IN), "senders.out.on.pubsub.topic: is missing");
    let table = |receiver: &str| problem("", OUT, &format!("{IN}\n{receiver}"));
    let path = "receivers.app.on.pubsub";
    assert_eq!(problem("", OUT, "wait = \"1s\""), format!("{path}.subscription: is missing"));
    for wait in ["0s", "301s", "1500ms"] {
        assert_eq!(table(&format!("wait = \"{wait}\"")), format!("{path}.wait: must be whole seconds, 1 to 300"));
    }
    for lease in ["9s", "601s"] {
        assert_eq!(table(&format!("lease = \"{lease}\"")), format!("{path}.lease: must be whole seconds, 10 to 600"));
    }
    for longest in ["9s", "32d"] {
        assert_eq!(table(&format!("longest = \"{longest}\"")), format!("{path}.longest: must be 10s to 31 days"));
    }
    let shorter = table("lease = \"60s\"\nlongest = \"30s\"");
    assert_eq!(shorter, format!("{path}.longest: must be at least as long as the lease"));
    assert_eq!(table("pollers = 1001"), format!("{path}.pollers: must be 1 to 1000"));
    let start = "expected \"earliest\", \"latest\", or a time such as 2026-01-31T12:00:00Z, found \"yesterday\"";
    assert_eq!(table("start = \"yesterday\""), format!("{path}.start: {start}"));
}
