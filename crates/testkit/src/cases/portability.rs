//! What is declared is so, and the same is asked for in the same words everywhere.

use std::collections::{HashMap, HashSet};

use strait_core::{ErrorKind, Id, Position};

use crate::{
    Rig,
    stage::{Stage, expect, message, messages, next, nothing, refused, secs, text},
};

/// What the backend declares of itself is what can be seen.
pub async fn c68_what_is_declared_is_so(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let can = stage.can;
    let open = stage.open().await;
    let guarantees = open.guarantees();
    assert_eq!(guarantees.ordering, can.ordering);
    assert_eq!(guarantees.message_leases, !can.is_log());
    assert_eq!(guarantees.message_bytes, stage.channel.producer().limits().message_bytes);
    assert!(!guarantees.provider.is_empty() && !guarantees.source.is_empty());
    if !can.is_ordered() {
        assert_eq!(refused(super::order::asking_for_order(&stage).await), ErrorKind::Unsupported);
    }
    // Of one id: once where that is declared, else as often as it is sent.
    let again = || message("a", 1).with_id(Id::from_bytes([1; 16]));
    stage.send([again()]).await;
    stage.send([again()]).await;
    expect(&open, "a1").await.ack();
    match can.dedup {
        None => expect(&open, "a1").await.ack(),
        Some(window) if stage.can.paused => {
            nothing(&open, window).await;
            stage.send([again()]).await; // the window is over
            expect(&open, "a1").await.ack();
        }
        Some(_) => {}
    }
    nothing(&open, secs(5)).await;
    stage.settled().await;
}

/// A configuration that holds an unknown key is refused, with the path of the key and what may have been meant.
pub async fn c70_an_unknown_key_is_refused_by_its_path(rig: &dyn Rig) {
    let good = rig.configuration();
    rig.configure(&good).unwrap();
    let mistakes = [
        ("[receivers.app]", "in_fligth = 3", "receivers.app.in_fligth", "in_flight"),
        ("[senders.out]", "lingr = \"1s\"", "senders.out.lingr", "linger"),
    ];
    for (table, line, path, meant) in mistakes {
        assert!(good.contains(&format!("{table}\n")));
        let text = good.replace(&format!("{table}\n"), &format!("{table}\n{line}\n"));
        let refused = rig.configure(&text).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        let sentence = refused.to_string();
        assert!(sentence.contains(path) && sentence.contains(&format!("did you mean {meant}")), "{sentence}");
    }
    // In the backend's own tables too.
    let own = good.lines().find(|line| line.starts_with("[receivers.app.on.")).expect("it has one");
    let refused = rig.configure(&good.replace(own, &format!("{own}\nno_such_key = 1"))).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Config);
    let path = own.trim_matches(['[', ']']);
    assert!(refused.to_string().contains(&format!("{path}.no_such_key")), "{refused}");
}

/// A history without faults is one that every backend may have: a position names one message, of a partition they come in
/// order, and a receipt names what was stored.
pub async fn c71_a_calm_history_is_legal_everywhere(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let sender = stage.sender();
    let mut stored = HashMap::new();
    let all: Vec<_> = ["a", "b", "c", "d", "e"].into_iter().flat_map(|key| messages(key, 0..20)).collect();
    for (sent, outcome) in all.iter().zip(sender.send_all(all.iter().cloned()).await) {
        stored.insert(text(sent), outcome.into_result().unwrap().position);
    }
    let receipts: HashSet<_> = stored.values().map(ToString::to_string).collect();
    assert!(stage.can.is_log() || receipts.len() == 100, "each has a name of its own, on a log in its partition");
    let open = stage.open().await;
    let mut names = HashSet::new();
    let mut last: HashMap<Option<String>, u64> = HashMap::new();
    for _ in 0..100 {
        let delivery = next(&open).await;
        let position = delivery.origin().position().clone();
        let partition = delivery.partition().map(str::to_owned);
        assert_eq!(partition.is_some(), stage.can.is_log());
        let receipt = &stored[&text(delivery.message())];
        assert!(*receipt == position || !stage.can.receipts, "the receipt names it");
        assert!(names.insert((partition.clone(), position.to_string())), "a position names one message");
        assert_eq!((delivery.attempt(), delivery.origin().redeliveries()), (1, 0));
        if let (Position::Number(number), true) = (position, stage.can.is_log()) {
            // The receiver hands out keys in turn; of one key, positions grow.
            let lane = delivery.message().key.as_ref().map(|key| key.as_str().to_owned());
            let before = last.insert(lane, number);
            assert!(before.is_none_or(|before| before < number));
        }
        delivery.ack();
    }
    stage.settled().await;
}
