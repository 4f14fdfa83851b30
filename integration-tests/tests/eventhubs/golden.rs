//! What the adapter says when it opens connections, sessions and links, and asks for claims, beside what Azure's clients say.

use std::collections::{BTreeMap, BTreeSet};

use fe2o3_amqp_types::{
    definitions::Role,
    messaging::TargetArchetype,
    performatives::Attach,
    primitives::{Symbol, Value},
};
use serde_amqp::descriptor::Descriptor;
use strait_core::{Key, Message, Producer as _};
use strait_eventhubs::{EventHubsLog, EventHubsProducer, Routing};
use strait_eventhubs_emulator::{Emulator, Recorded};
use strait_kit::{Log as _, Start};

use crate::{emulator, others::access, run};

/// What was said, by what it is about.
type Said = BTreeMap<&'static str, BTreeSet<String>>;

/// The code of the selector's filter, which some clients give instead of its name.
const SELECTOR: u64 = 0x468C_0000_0004;

fn said(emulator: &Emulator) -> Said {
    let mut said = Said::new();
    let mut keep = |what, value: String| {
        said.entry(what).or_default().insert(value);
    };
    for record in emulator.records() {
        match record.sent {
            Recorded::Open(open) => {
                keep("open: host", format!("{:?}", open.hostname));
                keep("open: channels", format!("{:?}", open.channel_max));
            }
            Recorded::Begin(begin) => keep("begin: first id", format!("{}", begin.next_outgoing_id)),
            Recorded::Attach(attach) => attached(&attach, &mut keep),
            Recorded::PutToken { kind, name, properties, accepted } => {
                assert!(accepted);
                keep("claim: type", kind);
                keep("claim: scheme", name.split(':').next().unwrap_or_default().to_owned());
                keep("claim: entity", path(&name).split('/').next().unwrap_or_default().to_owned());
                for (name, of) in properties {
                    keep("claim: fields", format!("{name}: {of}"));
                }
            }
            other => panic!("{other:?}"),
        }
    }
    said
}

fn attached(attach: &Attach, keep: &mut impl FnMut(&'static str, String)) {
    let source = attach.source.as_ref().and_then(|source| source.address.as_deref()).map(path);
    let target = attach.target.as_ref().and_then(|target| match &**target {
        TargetArchetype::Target(target) => target.address.as_deref().map(path),
        #[allow(unreachable_patterns, reason = "there is another kind with a feature of the library")]
        _ => None,
    });
    match attach.role {
        Role::Sender if target.as_ref().is_some_and(|target| target.starts_with("orders")) => {
            keep("send: to", target.unwrap_or_default());
            keep("send: settled", format!("{:?} {:?}", attach.snd_settle_mode, attach.rcv_settle_mode));
        }
        Role::Receiver if source.as_ref().is_some_and(|source| source.starts_with("orders")) => {
            keep("receive: from", source.unwrap_or_default());
            keep("receive: settled", format!("{:?}", attach.rcv_settle_mode));
            for (Symbol(name), value) in attach.properties.iter().flat_map(|properties| properties.iter()) {
                keep(
                    "receive: properties",
                    format!("{name}: {}", if matches!(value, Value::Long(_)) { "long" } else { "-" }),
                );
            }
            let filters = attach.source.iter().filter_map(|source| source.filter.as_ref());
            for (Symbol(name), filter) in filters.flat_map(|filter| filter.iter()) {
                let Value::Described(described) = filter else { panic!("{filter:?}") };
                assert!(match &described.descriptor {
                    Descriptor::Code(code) => *code == SELECTOR,
                    Descriptor::Name(Symbol(descriptor)) => descriptor == name,
                });
                keep("receive: filter", format!("{name}: {}", described.value));
            }
        }
        // Links to the nodes for claims and properties: the service takes any.
        _ => {}
    }
}

/// An address without its scheme and host.
fn path(address: &str) -> String {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest.split_once('/').map_or("", |(_, path)| path));
    rest.to_owned()
}

#[tokio::test]
async fn the_adapter_says_what_azures_clients_say() {
    let (python, javascript, ours) = (emulator().await, emulator().await, emulator().await);
    run(true, "epochs", &python).await;
    run(false, "epochs", &javascript).await;
    let producer = EventHubsProducer::open(&access(&ours), "orders", Routing::Partition).await.unwrap();
    // A key of the partition 0, and no key: both kinds of links.
    for message in [Message::new("a").with_key(Key::new("a").unwrap()), Message::new("b")] {
        producer.send(&[message]).await.pop().unwrap().unwrap();
    }
    producer.close().await.unwrap();
    let log = EventHubsLog::open(&access(&ours), "orders", "$Default").await.unwrap();
    let reader = log.open("0", &Start::Earliest, 5, 1 << 20).await.unwrap();
    reader.close().await.unwrap();
    log.close().await.unwrap();

    let theirs = [said(&python), said(&javascript)];
    let ours = said(&ours);
    assert_eq!(ours.len(), 13, "{:?}", ours.keys());
    for (what, values) in &ours {
        let known = |value: &&String| theirs.iter().any(|said| said.get(what).is_some_and(|all| all.contains(*value)));
        let unknown: Vec<_> = values.iter().filter(|value| !known(value)).collect();
        assert!(
            unknown.is_empty(),
            "{what}: no client of Azure says {unknown:?}, but {:?}",
            theirs.each_ref().map(|said| said.get(what))
        );
    }
}
