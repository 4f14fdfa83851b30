//! Batching against a naive model that looks at everything each time.

use std::collections::HashMap;

use proptest::prelude::*;
use strait_core::{Limits, Message};

use crate::provider::{Provider, accept, letters, open_with, outcomes, plain};

const MESSAGES: usize = 5;
const BYTES: usize = 100;

/// A message by its size, its key if it has one, and its route.
type Shape = (usize, Option<u8>, u64);

fn shape() -> impl Strategy<Value = Shape> {
    let edge = prop_oneof![0..6_usize, 19..22_usize, 49..52_usize, 98..=BYTES];
    (edge, proptest::option::of(0..4_u8), 0..2_u64)
}

fn message(n: usize, (bytes, key, route): Shape) -> Message {
    let mut payload = format!("{n:03}");
    payload.extend(std::iter::repeat_n('x', bytes.saturating_sub(3)));
    let message = plain(&payload).with_header("route", route.to_string());
    match key {
        Some(key) => message.with_key(format!("k{key}")),
        None => message,
    }
}

/// What may be first in a request: the first that is left of each key, and all that have none.
fn heads(left: &[(usize, Shape)]) -> Vec<(usize, Shape)> {
    let mut keys = Vec::new();
    let mut heads = Vec::new();
    for (n, shape) in left {
        if shape.1.is_none() || !keys.contains(&shape.1) {
            heads.push((*n, *shape));
        }
        keys.push(shape.1);
    }
    heads
}

/// Whether each request is legal, in order of its keys, and as full as what was left allowed.
fn verify(shapes: &[Shape], provider: &Provider, limits: Limits) {
    let mut left: Vec<(usize, Shape)> =
        shapes.iter().map(|(bytes, key, route)| ((*bytes).max(3), *key, *route)).enumerate().collect();
    for request in provider.requests() {
        let mut keys: HashMap<u8, usize> = HashMap::new();
        let mut bytes = 0;
        for text in &request.texts {
            let n: usize = text[..3].parse().unwrap();
            let (_, shape) = heads(&left).into_iter().find(|(head, _)| *head == n).expect("out of order, or twice");
            bytes += shape.0;
            left.retain(|(other, _)| *other != n);
            if let Some(key) = shape.1 {
                *keys.entry(key).or_default() += shape.0;
            }
        }
        assert_eq!(bytes, request.bytes);
        let may_join = |shape: &Shape| {
            let held = shape.1.and_then(|key| keys.get(&key));
            shape.2 == request.route && held.is_none_or(|held| limits.shares_key(*held, shape.0))
        };
        let more: Vec<_> = heads(&left).into_iter().filter(|(_, shape)| may_join(shape)).collect();
        let full = request.texts.len() == MESSAGES || more.iter().any(|(_, shape)| bytes + shape.0 > BYTES);
        assert!(full || more.is_empty(), "{:?} could have taken {more:?}", request.texts);
    }
    assert!(left.is_empty(), "never sent: {left:?}");
    provider.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn every_request_is_legal_in_order_and_as_full_as_it_can_be(
        shapes in proptest::collection::vec(shape(), 0..60),
        key_bytes in prop_oneof![Just(0), 1..=BYTES, Just(usize::MAX)],
        linger in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = Limits::new(MESSAGES, BYTES).with_key_bytes(key_bytes);
            let (provider, sender) = open_with(limits, |settings| {
                settings.requests = 1;
                settings.linger = crate::provider::MS * u32::from(linger);
            });
            let messages = shapes.iter().enumerate().map(|(n, shape)| message(n, *shape));
            let accepted = accept(&sender, messages).await;
            // Everything is there before the first request leaves, so that it is known what could have been taken.
            assert!(provider.requests().is_empty());
            sender.flush().await.unwrap();
            assert_eq!(letters(&outcomes(accepted).await), "S".repeat(shapes.len()));
            verify(&shapes, &provider, limits);
        });
    }
}
