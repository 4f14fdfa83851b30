//! What a message may hold.

use bytes::Bytes;
use strait_core::{ErrorKind, Id, Message, reserved};

use crate::{
    Rig,
    stage::{Stage, expect, key, millis, next, nothing, refused, text},
};

/// Empty payloads, all bytes, and the largest message come through; one byte more is refused before it is sent.
pub async fn c10_payloads_of_any_bytes_up_to_the_limit(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let (sender, open) = (stage.sender(), stage.open().await);
    let all: Vec<u8> = (0..=255).collect();
    for payload in [Bytes::new(), Bytes::from(all), Bytes::from_static(b"\0")] {
        sender.send(Message::new(payload.clone())).await.unwrap();
        let delivery = next(&open).await;
        assert_eq!(delivery.message().payload, payload);
        delivery.ack();
    }
    // The provider counts in its own way: look for the largest by its own word.
    let fits = |size| {
        let message = Message::new(vec![7; size]).with_key(key("a"));
        sender.producer().plan(&message).is_ok_and(|plan| plan.bytes <= sender.limits().message_bytes)
    };
    let (mut fit, mut over) = (0, sender.limits().message_bytes + 1);
    while over - fit > 1 {
        let middle = fit.midpoint(over);
        if fits(middle) { fit = middle } else { over = middle }
    }
    assert!(!fits(over));
    let large = |size| Message::new(vec![7; size]).with_key(key("a"));
    sender.send(large(fit)).await.unwrap();
    let delivery = next(&open).await;
    assert_eq!(delivery.message().payload.len(), fit);
    delivery.ack();
    let mut marked = large(over);
    marked.id = Some(Id::from_bytes([9; 16]));
    assert_eq!(refused(sender.enqueue(marked.clone()).await), ErrorKind::Invalid, "one byte above the limit");
    assert!(sender.try_enqueue(marked).is_err());
    assert_eq!(sender.health().failures, 0, "it was refused before it was sent");
    nothing(&open, millis(2500)).await;
    stage.settled().await;
}

/// Headers of the portable subset come through as they are, in order; what a provider cannot carry is refused by name.
pub async fn c11_headers_come_through_or_are_refused_by_name(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let (sender, open) = (stage.sender(), stage.open().await);
    let mut message = Message::new("1").with_key(key("a"));
    for number in 0..9 {
        message = message.with_header(&format!("h.{number}-x_"), format!("value {number} ж\u{1F980}"));
    }
    message = message.with_header("long", "v".repeat(1024));
    sender.send(message.clone()).await.unwrap();
    let delivery = expect(&open, "1").await;
    let sent: Vec<_> = message.headers.iter().collect();
    let received = &delivery.message().headers;
    assert_eq!(received.len(), 10);
    for (name, value) in sent {
        assert_eq!(received.get(name), Some(value), "{name}");
    }
    delivery.ack();

    let reserved = Message::new("2").with_header("strait-mine", "x");
    let refusal = sender.enqueue(reserved).await.unwrap_err();
    assert_eq!(refusal.kind(), ErrorKind::Invalid);
    assert!(refusal.to_string().contains("strait-mine"), "{refusal}");
    for (name, value) in [("X-Upper", "1"), ("", "no name"), ("empty", ""), ("ключ", "1"), ("bin", "\u{0}\u{1}")] {
        let odd = Message::new("3").with_header(name, value);
        match sender.enqueue(odd).await {
            Err(refusal) => {
                assert!(matches!(refusal.kind(), ErrorKind::Invalid | ErrorKind::Unsupported), "{refusal:?}");
                assert!(refusal.to_string().contains("header"), "{refusal}");
            }
            Ok(pending) => {
                assert!(pending.await.is_sent());
                let delivery = expect(&open, "3").await;
                let received = delivery.message().headers.get(name).map(|value| value.to_vec());
                assert_eq!(received.as_deref(), Some(value.as_bytes()), "{name:?} is carried as it is, or refused");
                delivery.ack();
            }
        }
    }
    // Headers count in the size.
    let full = Message::new("4").with_header("large", vec![b'v'; sender.limits().message_bytes]);
    assert_eq!(refused(sender.enqueue(full).await), ErrorKind::Invalid);
    stage.settled().await;
}

/// Id, key, content type and the number of the attempt are there; so is what a message was forwarded from.
pub async fn c12_what_is_known_of_a_message(rig: &dyn Rig) {
    let stage = Stage::new(rig).await;
    let (sender, open) = (stage.sender(), stage.open().await);
    let id = Id::from_bytes([3; 16]);
    let named = Message::new("1").with_key(key("ключ-1")).with_id(id).with_header("content-type", "text/plain");
    let receipt = match sender.enqueue(named.clone()).await {
        Ok(pending) => pending.await.into_result().unwrap(),
        Err(refusal) => {
            assert!(refusal.to_string().starts_with("key"), "{refusal}"); // this provider has portable keys only
            sender.send(named.clone().with_key(key("key-1"))).await.unwrap()
        }
    };
    assert!(!receipt.position.to_string().is_empty());
    let delivery = expect(&open, "1").await;
    assert_eq!(delivery.message().id, Some(id));
    assert_eq!(delivery.id(), id.to_string());
    assert!(delivery.message().key.as_ref().is_some_and(|key| key.as_str().ends_with("-1")));
    assert_eq!(delivery.message().headers.get_str("content-type"), Some("text/plain"));
    assert_eq!((delivery.attempt(), delivery.is_lost()), (1, false));
    assert_eq!(delivery.partition().is_some(), stage.can.is_log());
    assert!(!delivery.origin().position().to_string().is_empty());
    assert_eq!(refused(sender.enqueue(delivery.message().clone()).await), ErrorKind::Invalid, "it was received");
    let forwarded = delivery.forward();
    delivery.ack();
    sender.send(forwarded).await.unwrap();
    let delivery = expect(&open, "1").await;
    assert_eq!(delivery.message().headers.get_str(reserved::CAUSE), Some(id.to_string().as_str()));
    assert_ne!(delivery.message().id, Some(id));
    delivery.ack();

    let mut ids = Vec::new();
    for number in 0..3 {
        sender.send(Message::new(number.to_string())).await.unwrap();
        let delivery = next(&open).await;
        assert!(delivery.message().key.is_none(), "{}", text(delivery.message()));
        ids.push(delivery.message().id.expect("a sender names what has no name"));
        delivery.ack();
    }
    assert!(ids.is_sorted() && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
    stage.settled().await;
}
