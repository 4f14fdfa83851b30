//! A process that is frozen for longer than its lease settles nothing of what it held, not even what its handlers finish
//! then, and takes nothing away from who has it now.

use std::sync::Arc;

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{
    AcknowledgeRequest, ModifyAckDeadlineRequest, PullRequest,
};
use integration_tests::{
    emulators::{PubSub as Emulator, fresh},
    frozen::{SENT_BEFORE, SENT_MEANWHILE, freeze_and_resume},
    pubsub::{connect, endpoint, unsettled},
};
use prost::Message;
use strait_pubsub::{Client, NewSubscription, PubSubProducer, create_subscription, create_topic};
use strait_runtime::{Sender, SenderSettings};
use strait_testkit::proxy::{Call, Proxy};

async fn take(client: &Client, name: &str) -> Vec<String> {
    let (subscription, mut stub) = (format!("projects/strait/subscriptions/{name}"), client.subscriber());
    #[allow(deprecated, reason = "there is no other way not to wait")]
    let request = PullRequest { subscription: subscription.clone(), max_messages: 100, return_immediately: true };
    let received = stub.pull(request).await.unwrap().into_inner().received_messages;
    if !received.is_empty() {
        let ack_ids = received.iter().map(|received| received.ack_id.clone()).collect();
        let request = ModifyAckDeadlineRequest { subscription, ack_ids, ack_deadline_seconds: 300 };
        stub.modify_ack_deadline(request).await.unwrap();
    }
    let texts = received.into_iter().filter_map(|received| received.message);
    texts.map(|message| String::from_utf8_lossy(&message.data).into_owned()).collect()
}

/// What calls of an operation asked for.
fn asked<T: Message + Default>(calls: &[Call], operation: &str) -> Vec<T> {
    let calls = calls.iter().filter(|call| call.operation == operation);
    calls.map(|call| T::decode(&call.body[5..]).unwrap()).collect() // behind a flag, and its length
}

async fn settles_nothing(ordered: bool) {
    let (client, name) = (connect(&endpoint()).unwrap(), fresh("frozen"));
    create_topic(&client, &name).await.unwrap();
    let mut new = NewSubscription::new(&name, &name);
    new.ordered = ordered;
    create_subscription(&client, &new).await.unwrap();
    let producer = Arc::new(PubSubProducer::open(&client, &name).await.unwrap());
    let sender = Sender::new(producer, SenderSettings::default()).unwrap();
    let proxy = Proxy::start(Emulator::get().address(), |_| None).await;
    let worker = env!("CARGO_BIN_EXE_queue-worker");
    let after =
        freeze_and_resume(worker, ["pubsub", &name], &proxy, &sender, async || take(&client, &name).await).await;
    let settled: Vec<AcknowledgeRequest> = asked(&after, "Acknowledge");
    assert_eq!(settled.iter().map(|request| request.ack_ids.len()).sum::<usize>(), 1, "only z1: {settled:?}");
    let touched: Vec<ModifyAckDeadlineRequest> = asked(&after, "ModifyAckDeadline");
    // In order, what was lost is given back too, by names that name nothing any more.
    assert!(ordered || touched.is_empty(), "{touched:?}");
    assert_eq!(take(&client, &name).await, [""; 0], "they are ours");
    assert_eq!(unsettled(&client, &name, &name).await.unwrap(), SENT_BEFORE.len() + SENT_MEANWHILE.len());
}

#[tokio::test]
async fn a_frozen_process_settles_nothing_that_it_lost() {
    settles_nothing(false).await;
}

#[tokio::test]
async fn a_frozen_process_settles_nothing_that_it_lost_where_there_is_order() {
    settles_nothing(true).await;
}
