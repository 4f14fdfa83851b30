//! `RustStream`'s memory broker, with the handler of its own byte lane: no codec.

use std::{convert::Infallible, hint::black_box, sync::Arc};

use ruststream::{OutgoingMessage, memory::prelude::*};

use crate::{
    Clock,
    clock::{CHUNK, UNREAD},
    payload,
};

const STORED: usize = 60_000;

/// A payload as it is.
#[derive(Deserialized)]
struct Frame<'a>(&'a [u8]);

#[subscriber("orders")]
async fn one(frame: &Frame<'_>, context: &mut Context<'_, (), Arc<Clock>>) -> HandlerOutcome {
    black_box(frame.0.len());
    context.state().hit(1);
    HandlerOutcome::ack()
}

#[subscriber("orders", workers(4))]
async fn pool(frame: &Frame<'_>, context: &mut Context<'_, (), Arc<Clock>>) -> HandlerOutcome {
    black_box(frame.0.len());
    context.state().hit(1);
    HandlerOutcome::ack()
}

/// Runs a service until `clock` has counted. `stored` publishes everything before, and only then lets it run.
pub(crate) async fn run(clock: Arc<Clock>, pooled: bool, stored: bool) {
    let broker = MemoryBroker::new();
    let state = Arc::clone(&clock);
    let app = RustStream::new(AppInfo::new("bench", "0.0.0"))
        .on_startup(async move |()| Ok::<_, Infallible>(state))
        .with_broker(broker.clone(), |scope| {
            if pooled {
                scope.include(pool);
            } else {
                scope.include(one);
            }
        });
    let running = app.start().await.expect("starts");
    let publisher = broker.publisher();
    let payload = payload();
    let send = async move |count: usize| {
        for _ in 0..count {
            publisher.publish(OutgoingMessage::new("orders", &payload), None).await.expect("is open");
        }
    };
    if stored {
        assert!(clock.messages + 2 * UNREAD < STORED, "at most {} messages", STORED - 2 * UNREAD);
        send(STORED).await;
    } else {
        let clock = Arc::clone(&clock);
        tokio::spawn(async move {
            loop {
                clock.room().await;
                send(CHUNK).await;
            }
        });
    }
    clock.done().await;
    drop(running);
}
