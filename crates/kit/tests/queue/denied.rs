//! A permission that is missing shows for as long as it is.

use std::sync::Arc;

use strait_core::{Budget, Consumer as _, ErrorKind};
use strait_kit::{QueueConsumer, QueueSettings};
use strait_runtime::Meter;
use tokio::time::sleep;

use crate::stub::{LEASE, Stub};

#[tokio::test(start_paused = true)]
async fn leases_that_may_not_be_extended_show_until_they_may() {
    let (stub, meter) = (Stub::of(3), Meter::default());
    let mut settings = QueueSettings::default();
    settings.observer = Arc::new(meter.clone());
    let consumer = QueueConsumer::new(stub.clone(), settings);
    let denied = || meter.counts().denied.into_iter().collect::<Vec<_>>();
    let _held = consumer.receive(Budget::new(10, 1 << 20)).await.unwrap();
    stub.extend_fails(Some(ErrorKind::Unavailable));
    sleep(LEASE / 2).await;
    assert_eq!((denied().len(), meter.counts().failures["extend"].1), (0, ErrorKind::Unavailable));
    stub.extend_fails(Some(ErrorKind::Denied));
    sleep(LEASE / 4).await;
    assert_eq!(denied(), ["extend"]);
    stub.extend_fails(None);
    sleep(LEASE / 4).await;
    assert_eq!(denied().len(), 0);

    stub.release_fails([ErrorKind::Denied]);
    consumer.close().await.unwrap_err();
    assert_eq!(denied(), ["release"]);
}
