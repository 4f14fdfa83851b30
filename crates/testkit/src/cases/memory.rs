//! How much memory is taken.

use bytes::Bytes;
use strait_core::Message;
use tokio::time::{sleep, timeout};

use crate::{
    Faults, Needs, Rig,
    stage::{PATIENCE, Stage, key, next, secs},
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
