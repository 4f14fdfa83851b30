//! How much memory is taken.

use bytes::Bytes;
use strait_core::Message;
use tokio::time::{sleep, timeout};

use crate::{
    Faults, Join, Needs, Rig,
    stage::{PATIENCE, Stage, key, next, secs, until},
};

const MIB: usize = 1 << 20;

/// Large messages and a slow handler: every buffer on the way holds as many bytes as it may, and the application waits.
pub async fn c86_memory_is_bounded_in_bytes(rig: &dyn Rig) {
    let (room, most, held) = (64 * MIB, 12 * MIB, 32 * MIB);
    let needs = Needs { room: Some(room), message_bytes: Some(most), ..Needs::default() };
    let stage = Stage::with(rig, needs).await;
    let largest = stage.channel.producer().limits().message_bytes.min(10 * MIB + 1000);
    let payload = Bytes::from(vec![7; largest - 1000]);
    let (sender, _) = stage.faulty_sender(&Faults::none(), |_| {});
    let open = stage.open_with(|settings| settings.buffer_bytes = held).await;
    let publisher = tokio::spawn({
        let (sender, payload) = (sender.clone(), payload.clone());
        async move {
            for number in 0..40 {
                let key = key(["a", "b", "c", "d", "e"][number % 5]);
                drop(sender.enqueue(Message::new(payload.clone()).with_key(key)).await.unwrap());
            }
        }
    });
    let (mut most_held, mut most_sent) = (0, 0);
    for _ in 0..40 {
        let delivery = next(&open).await;
        sleep(secs(1)).await;
        let buffered = usize::try_from(open.member.meter.counts().buffered_bytes).unwrap();
        most_held = most_held.max(buffered);
        most_sent = most_sent.max(sender.health().bytes);
        assert_eq!(delivery.message().payload.len(), payload.len());
        delivery.ack();
    }
    assert!(most_held <= held + payload.len() + 1000, "{most_held} bytes are held by the receiver");
    assert!(most_sent <= 16 * MIB, "{most_sent} bytes are held by the sender");
    assert!(payload.len() < MIB || (most_held > payload.len() && most_sent > payload.len() / 2));
    timeout(PATIENCE, publisher).await.unwrap().unwrap();
    // What was settled too late comes again: so many bytes are long on their way, and leases may be short.
    let rest = async {
        loop {
            next(&open).await.ack();
        }
    };
    tokio::select! {
        () = stage.settled() => {}
        () = rest => {}
    }
}

/// What the engine of a log has read ahead, and what the receiver holds, have one bound between them.
pub async fn c86_a_log_holds_its_bytes_once(rig: &dyn Rig) {
    let (most, held, partitions) = (MIB / 4, 4 * MIB, 4);
    let stage = Stage::with(rig, Needs { partitions, room: Some(16 * MIB), ..Needs::default() }).await;
    if !stage.can.is_log() {
        return; // a queue's messages are the receiver's as soon as they come
    }
    let payload = Bytes::from(vec![7; most - 1000]);
    let message = |number: usize| Message::new(payload.clone()).with_key(key(&format!("k{number}")));
    let open = stage.open_as(Join::default().holding(held), |settings| settings.buffer_bytes = held).await;
    // What one partition holds alone is more than its share of all.
    until("each partition is read", || open.member.meter.counts().lag.len() >= partitions).await;
    stage.send((0..60).map(message)).await;
    let mut holds = 0;
    for _ in 0..60 {
        let delivery = next(&open).await;
        sleep(secs(1)).await;
        // What is held is measured once a second, and what is buffered at once.
        let counts = || open.member.meter.counts();
        until("what is received is held", || counts().buffered_bytes <= counts().held_bytes).await;
        holds = holds.max(counts().held_bytes);
        delivery.ack();
    }
    let holds = usize::try_from(holds).unwrap();
    assert!(holds <= held + partitions * most, "{holds} bytes are held by the engine and the receiver");
    assert!(holds > held / 2, "{holds} bytes are few: the bound was not reached");
    stage.settled().await;
}
