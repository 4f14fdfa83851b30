//! What is postponed is the provider's until its pause is over.

use std::time::Duration;

use strait_core::{Budget, ClaimState, Consumer as _, ErrorKind, Received, Result, Token};
use strait_kit::{QueueConsumer, QueueSettings};
use tokio::time::{Instant, sleep};

use crate::stub::{LEASE, Stub};

/// So many messages in hand.
async fn hold(count: u64) -> (Stub, QueueConsumer<Stub>, Vec<Received>) {
    let stub = Stub::of(count);
    let consumer = QueueConsumer::new(stub.clone(), QueueSettings::default());
    let held = consumer.receive(Budget::new(100, 1 << 20)).await.unwrap();
    assert_eq!(held.len() as u64, count);
    (stub, consumer, held)
}

fn is_held(received: &Received) -> bool {
    received.claim.state(|| Instant::now().into_std()) == ClaimState::Held
}

async fn postpone(consumer: &QueueConsumer<Stub>, token: Token, time: Duration) -> Result<()> {
    consumer.postpone(&[(token, time)]).await.pop().unwrap()
}

#[tokio::test(start_paused = true)]
async fn what_is_postponed_is_neither_extended_nor_released_and_what_is_behind_it_is_released() {
    let (stub, consumer, held) = hold(13).await;
    postpone(&consumer, held[1].claim.token(), LEASE).await.unwrap();
    assert_eq!(stub.postponed(), [(1, LEASE)]);
    let states: Vec<_> = held.iter().map(is_held).collect();
    let expected: Vec<_> = (0..13).map(|number| number == 0 || number >= 10).collect();
    assert_eq!(states, expected, "the later claims of the key are lost with it");
    let settled = consumer.settle(&[held[1].claim.token()]).await.pop().unwrap();
    assert_eq!(settled.unwrap_err().kind(), ErrorKind::Lost);
    drop(held);
    sleep(2 * LEASE).await;
    let rest: Vec<_> = (0..13).filter(|number| *number != 1).collect();
    assert_eq!((stub.released(), stub.extended()), (rest, 0));
    consumer.close().await.unwrap();
    assert_eq!(stub.released().len(), 12, "nor by a close");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_postponed_is_kept_and_extended_as_before() {
    let (stub, consumer, held) = hold(1).await;
    let token = held[0].claim.token();
    stub.postpone_fails([ErrorKind::Unavailable]);
    let unavailable = postpone(&consumer, token, LEASE).await.unwrap_err();
    let too_long = postpone(&consumer, token, 101 * LEASE).await.unwrap_err();
    assert_eq!((unavailable.kind(), too_long.kind()), (ErrorKind::Unavailable, ErrorKind::Unsupported));
    sleep(3 * LEASE).await;
    assert!(is_held(&held[0]) && stub.extended() > 2);
    stub.postpone_fails([ErrorKind::Lost]);
    assert_eq!(postpone(&consumer, token, LEASE).await.unwrap_err().kind(), ErrorKind::Lost);
    assert!(!is_held(&held[0]), "what the provider took away is lost");
}

#[tokio::test(start_paused = true)]
async fn no_extension_overtakes_a_postponement() {
    let (stub, consumer, held) = hold(1).await;
    stub.postpone_takes(LEASE / 2);
    postpone(&consumer, held[0].claim.token(), LEASE).await.unwrap();
    assert_eq!((stub.postponed().len(), stub.extended()), (1, 0), "an extension was due meanwhile");

    let (stub, consumer, held) = hold(1).await;
    stub.extend_takes(LEASE / 4);
    sleep(LEASE / 2).await; // one is under way
    let refused = postpone(&consumer, held[0].claim.token(), LEASE).await.unwrap_err();
    assert_eq!((refused.kind(), stub.postponed().len()), (ErrorKind::Unavailable, 0));
    assert!(is_held(&held[0]));
    sleep(LEASE / 6).await;
    postpone(&consumer, held[0].claim.token(), LEASE).await.unwrap();
}
