//! Who may do what, and where nothing is.

use std::sync::Arc;

use strait_core::ErrorKind;
use strait_eventhubs::{Access, EventHubsLog, EventHubsProducer, Routing};

use crate::{Scene, refused};

#[tokio::test]
async fn a_wrong_key_is_denied_and_not_shown() {
    let scene = Scene::new().await;
    let text = scene.emulator.connection_string("orders").replace("SAS_KEY_VALUE", "hidden");
    let access = Arc::new(Access::parse(&text).unwrap());
    let error = EventHubsProducer::open(&access, "orders", Routing::Partition).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error:?}").contains("hidden"));
    assert_eq!(EventHubsLog::open(&access, "orders", "$Default").await.unwrap_err().kind(), ErrorKind::Denied);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let scene = Scene::new().await;
    let missing = EventHubsProducer::open(&scene.access, "missing", Routing::Partition).await;
    assert_eq!(missing.unwrap_err().kind(), ErrorKind::NotFound);
    let log = EventHubsLog::open(&scene.access, "orders", "missing").await.unwrap();
    assert_eq!(refused(&log, "0", 1).await, ErrorKind::NotFound);
}

#[tokio::test]
async fn nobody_answers() {
    let scene = Scene::new().await;
    let access = Arc::clone(&scene.access);
    let address = scene.emulator.address();
    scene.emulator.shutdown().await;
    let error = EventHubsProducer::open(&access, "orders", Routing::Partition).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains(&format!("localhost:{}", address.port())), "{error}");
}
