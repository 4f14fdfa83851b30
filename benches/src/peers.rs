use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use omniqueue::backends::InMemoryBackend;
use tokio::sync::mpsc;

use crate::{
    Clock, Peer,
    clock::{CHUNK, UNREAD},
    payload, stream,
};

pub(crate) async fn run(peer: Peer, clock: Arc<Clock>) {
    match peer {
        Peer::Mpsc => mpsc_one(&clock).await,
        Peer::MpscMany => mpsc_many(&clock).await,
        Peer::Kanal => kanal(&clock).await,
        Peer::Omniqueue => omniqueue(&clock).await,
        Peer::RustStream => stream::run(clock, false, false).await,
        Peer::RustStreamPool => stream::run(clock, true, false).await,
        Peer::RustStreamStored => stream::run(clock, false, true).await,
        Peer::RustStreamStoredPool => stream::run(clock, true, true).await,
    }
}

/// What a channel carries: a message as Strait has it.
type Item = strait_core::Message;

fn item() -> Item {
    Item::new(payload())
}

fn channel() -> mpsc::Receiver<Item> {
    let (sender, receiver) = mpsc::channel(UNREAD);
    tokio::spawn(async move { while sender.send(item()).await.is_ok() {} });
    receiver
}

async fn mpsc_one(clock: &Clock) {
    let mut receiver = channel();
    while !clock.is_done() {
        let item = receiver.recv().await.expect("is open");
        black_box(item.payload.len());
        clock.hit(1);
    }
}

async fn mpsc_many(clock: &Clock) {
    let mut receiver = channel();
    let mut items = Vec::with_capacity(CHUNK);
    while !clock.is_done() {
        let count = receiver.recv_many(&mut items, CHUNK).await;
        for item in items.drain(..) {
            black_box(item.payload.len());
        }
        clock.hit(count);
    }
}

async fn kanal(clock: &Clock) {
    let (sender, receiver) = kanal::bounded_async(UNREAD);
    tokio::spawn(async move { while sender.send(item()).await.is_ok() {} });
    while !clock.is_done() {
        let item = receiver.recv().await.expect("is open");
        black_box(item.payload.len());
        clock.hit(1);
    }
}

async fn omniqueue(clock: &Arc<Clock>) {
    let (producer, mut consumer) = InMemoryBackend::builder().build_pair().await.expect("opens");
    let sending = Arc::clone(clock);
    tokio::spawn(async move {
        let payload: Bytes = payload();
        loop {
            sending.room().await;
            for _ in 0..CHUNK {
                if producer.send_raw(&payload).await.is_err() {
                    return;
                }
            }
        }
    });
    while !clock.is_done() {
        let delivery = consumer.receive().await.expect("is open");
        black_box(delivery.borrow_payload().map(<[u8]>::len));
        clock.hit(1);
        delivery.ack().await.map_err(|(error, _)| error).expect("was not acknowledged before");
    }
}
