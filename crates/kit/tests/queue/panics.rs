//! A call that panics has failed, and ends nothing of the engine.

use std::sync::Arc;

use strait_core::{Budget, Consumer as _, ErrorKind, Result};
use strait_kit::{QueueConsumer, QueueSettings};
use strait_runtime::Meter;
use tokio::time::sleep;

use crate::stub::{LEASE, Stub};

const ALL: Budget = Budget::new(10, 1 << 20);

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

#[tokio::test(start_paused = true)]
async fn calls_that_panic_have_failed_and_are_made_again() {
    let (stub, meter) = (Stub::of(3), Meter::default());
    let mut settings = QueueSettings::default();
    settings.observer = Arc::new(meter.clone());
    let consumer = QueueConsumer::new(stub.clone(), settings);
    for call in ["receive", "extend", "delete", "postpone", "release", "close"] {
        stub.panic(call);
    }
    assert_eq!(kind(consumer.receive(ALL).await), Some(ErrorKind::Other));
    let mut held = consumer.receive(ALL).await.unwrap();
    sleep(LEASE).await;
    assert_eq!(meter.counts().failures["extend"], (3, ErrorKind::Other), "for each of the leases");
    assert!(stub.extended() > 0, "leases are extended all the same");
    let tokens: Vec<_> = held.iter().map(|received| received.claim.token()).collect();
    for expected in [Some(ErrorKind::Other), None] {
        assert_eq!(consumer.settle(&tokens[..1]).await.into_iter().map(kind).collect::<Vec<_>>(), [expected]);
        let pauses = [(tokens[1], LEASE)];
        assert_eq!(consumer.postpone(&pauses).await.into_iter().map(kind).collect::<Vec<_>>(), [expected]);
    }
    held.clear();
    sleep(LEASE).await;
    assert_eq!(stub.released(), [2], "it was released at the second attempt");
    assert_eq!(kind(consumer.close().await), Some(ErrorKind::Other));
    assert_eq!(stub.to_panic(), [""; 0]);
}
