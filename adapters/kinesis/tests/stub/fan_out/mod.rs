//! Reading a shard by having its records pushed.

mod consumer;
mod ending;
mod http2;
mod places;
mod pushed;

use std::time::Duration;

use serde_json::Value;
use strait_testkit::kinesis::{Call, Fault, Stub};

const SECOND: Duration = Duration::from_secs(1);
/// Longer than a shard belongs to who subscribed to it last.
const TAKEN: Duration = Duration::from_secs(6);

/// What becomes of the first calls for a subscription; what comes behind them succeeds.
fn plan(stub: &Stub, faults: impl IntoIterator<Item = Fault>) {
    let faults = std::sync::Mutex::new(faults.into_iter().collect::<std::collections::VecDeque<_>>());
    stub.plan(move |call: &Call| {
        let is_subscribing = call.operation == "SubscribeToShard";
        if is_subscribing { faults.lock().unwrap().pop_front() } else { None }
    });
}

/// Advances the clock of this process, after received data is processed. No request in flight may have a time-out.
async fn wait(time: Duration) {
    // The runtime looks at its sockets once in so many turns.
    for _ in 0..500 {
        tokio::task::yield_now().await;
    }
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Where subscriptions began so far.
fn places(stub: &Stub) -> Vec<Value> {
    stub.seen("SubscribeToShard").into_iter().map(|call| call.body["StartingPosition"].clone()).collect()
}

/// The same, by their types alone.
fn kinds(stub: &Stub) -> Vec<String> {
    places(stub).iter().map(|place| place["Type"].as_str().unwrap().to_owned()).collect()
}
