//! A process that is frozen for longer than its lease settles, extends and gives back nothing of what it held, not even
//! what its handlers finish then.

use std::{collections::BTreeSet, sync::Arc};

use integration_tests::{
    emulators::{LocalStack, fresh},
    frozen::{SENT_BEFORE, SENT_MEANWHILE, freeze_and_resume},
    sqs::{connect, endpoint},
};
use serde_json::Value;
use strait_runtime::{Sender, SenderSettings};
use strait_sqs::{Client, SqsProducer, create_queue};
use strait_testkit::proxy::{Call, Proxy};

/// How many messages somebody holds.
async fn held(client: &Client, url: &str) -> usize {
    let name = "ApproximateNumberOfMessagesNotVisible";
    let request = client.sqs().get_queue_attributes().queue_url(url).attribute_names(name.into());
    request.send().await.unwrap().attributes.unwrap()[&name.into()].parse().unwrap()
}

async fn take(client: &Client, url: &str) -> Vec<String> {
    let request = client.sqs().receive_message().queue_url(url).max_number_of_messages(10).wait_time_seconds(1);
    let messages = request.visibility_timeout(300).send().await.unwrap().messages.unwrap_or_default();
    messages.into_iter().filter_map(|message| message.body).collect()
}

/// The handles that calls settle, extend or give back.
fn handles(calls: &[Call]) -> BTreeSet<String> {
    let touching = |call: &&Call| ["DeleteMessageBatch", "ChangeMessageVisibilityBatch"].contains(&&*call.operation);
    let bodies = calls.iter().filter(touching).map(|call| serde_json::from_slice::<Value>(&call.body).unwrap());
    let entries = bodies.flat_map(|body| body["Entries"].as_array().unwrap().clone());
    entries.map(|entry| entry["ReceiptHandle"].as_str().unwrap().to_owned()).collect()
}

async fn touches_nothing(suffix: &str) {
    let client = connect(&endpoint()).await.unwrap();
    let name = format!("{}{suffix}", fresh("frozen"));
    let url = create_queue(&client, &name, &[]).await.unwrap();
    let producer = Arc::new(SqsProducer::open(&client, &name).await.unwrap());
    let sender = Sender::new(producer, SenderSettings::default()).unwrap();
    let proxy = Proxy::start(LocalStack::get().address(), |_| None).await;
    let worker = env!("CARGO_BIN_EXE_queue-worker");
    let after = freeze_and_resume(worker, ["sqs", &url], &proxy, &sender, async || take(&client, &url).await).await;
    assert_eq!(handles(&after).len(), 1, "only z1 is touched: {after:?}");
    // On a standard queue any handle of a message deletes it: these are still there, and ours.
    assert_eq!(held(&client, &url).await, SENT_BEFORE.len() + SENT_MEANWHILE.len());
}

#[tokio::test]
async fn a_frozen_process_touches_nothing_of_a_standard_queue_that_it_lost() {
    touches_nothing("").await;
}

#[tokio::test]
async fn a_frozen_process_touches_nothing_of_a_fifo_queue_that_it_lost() {
    touches_nothing(".fifo").await;
}
