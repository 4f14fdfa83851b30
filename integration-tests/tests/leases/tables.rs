//! What is of tables of DynamoDB alone.

use std::{collections::HashSet, sync::Arc};

use aws_sdk_dynamodb::{
    Client,
    types::{AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType},
};
use bytes::Bytes;
use integration_tests::{again::again, emulators::fresh};
use strait_aws::{Aws, Service};
use strait_core::{Budget, Consumer as _, ErrorKind, Message, Result};
use strait_kit::{Expect, LogConsumer, LogSettings, Put, RowStore, Start};
use strait_leases::{Group, Options, open};
use strait_memory::{Life, LogOptions, MemoryLog};
use strait_testkit::proxy::{Proxy, Trouble};
use tokio::time::timeout;

use crate::{
    patient::Patient,
    stores::{LONG, Store},
};

/// How many messages a log has, over all its partitions.
const MESSAGES: u32 = 40;

/// The SDK's own client.
async fn client(store: &Store) -> Client {
    let mut access = store.options(store.server).aws;
    access.timeout = LONG;
    let aws = Aws::connect("test", &access, &[Service::DynamoDb]).await.unwrap();
    Client::new(&aws.config(Service::DynamoDb, None).unwrap())
}

fn key(name: &str, role: KeyType) -> KeySchemaElement {
    KeySchemaElement::builder().attribute_name(name).key_type(role).build().unwrap()
}

fn attribute(name: &str, kind: ScalarAttributeType) -> AttributeDefinition {
    AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build().unwrap()
}

async fn opened(url: &str, options: &Options) -> Result<Arc<dyn RowStore>> {
    again(|| open(url, options)).await
}

/// The lease table of Amazon's client for Kinesis, and one whose keys have our names and another type.
#[tokio::test]
async fn another_table_is_refused_by_its_keys() {
    let store = Store::table();
    let client = client(&store).await;
    let ours = [key("pk", KeyType::Hash), key("sk", KeyType::Range)];
    let numbers = [attribute("pk", ScalarAttributeType::S), attribute("sk", ScalarAttributeType::N)];
    for (keys, attributes) in [
        (vec![key("leaseKey", KeyType::Hash)], vec![attribute("leaseKey", ScalarAttributeType::S)]),
        (ours.to_vec(), numbers.to_vec()),
    ] {
        let name = fresh("another");
        let request = client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
        let request = request.set_key_schema(Some(keys)).set_attribute_definitions(Some(attributes));
        request.send().await.unwrap();
        let error = opened(&format!("dynamodb://{name}/x"), &store.options(store.server)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error:?}");
        assert!(error.to_string().contains("its keys are not pk and sk of type string"), "{error}");
    }
}

#[tokio::test]
async fn a_table_that_is_there_needs_no_permission_to_make_it() {
    let store = Store::table();
    store.open().await;
    let proxy = Proxy::start(store.server, |_| None).await;
    open(&store.url, &store.options(proxy.address())).await.unwrap();
    let asked: Vec<_> = proxy.seen().into_iter().map(|(call, _)| call.operation).collect();
    assert_eq!(asked, ["GetItem"]);
}

#[tokio::test]
async fn several_that_make_a_table_at_once_have_one() {
    let store = Store::table();
    let url = format!("dynamodb://{}/x", fresh("made"));
    let options = store.options(store.server);
    let (one, two, three) = tokio::join!(opened(&url, &options), opened(&url, &options), opened(&url, &options));
    assert!(matches!(Patient(one.unwrap()).put("row", Expect::Absent, "x".into()).await, Ok(Put::Done(_))));
    assert!(Patient(two.unwrap()).get("row").await.unwrap().is_some());
    assert!(Patient(three.unwrap()).get("row").await.unwrap().is_some());
}

#[tokio::test]
async fn groups_in_one_table_do_not_see_each_other() {
    let store = Store::table();
    let table = store.url.split('/').nth(2).unwrap().to_owned();
    let mine = fresh("group");
    let groups = [mine.clone(), format!("{mine}/b"), format!("{mine}b")];
    let mut all = Vec::new();
    for group in &groups {
        let rows = opened(&format!("dynamodb://{table}/{group}"), &store.options(store.server)).await.unwrap();
        let rows = Patient(rows);
        assert_eq!(rows.get("b/row").await.unwrap(), None, "{group}");
        assert!(matches!(rows.put("b/row", Expect::Absent, group.clone().into()).await, Ok(Put::Done(_))));
        all.push(rows);
    }
    for (rows, group) in all.iter().zip(&groups) {
        assert_eq!(rows.get("b/row").await.unwrap().unwrap().value, group.as_bytes());
        let listed: Vec<_> = rows.versions("").await.unwrap().into_iter().map(|(key, _)| key).collect();
        assert_eq!(listed, ["b/row"]);
    }
    all[0].delete("b/row").await.unwrap();
    assert!(all[1].get("b/row").await.unwrap().is_some());
}

/// What one member of a group receives while members of all others live: each has all partitions of its log.
#[tokio::test]
async fn groups_streams_and_applications_share_a_table() {
    let store = Store::table();
    let table = store.url.split('/').nth(2).unwrap();
    let [one, other] = ["one", "other"].map(|name| format!("dynamodb://{table}/{}", fresh(name)));
    let [orders, payments] = ["orders", "payments"].map(|name| MemoryLog::new(LogOptions::named(name)));
    let members = [
        (&one, "billing", "orders", &orders),
        (&one, "shipping", "orders", &orders),
        (&one, "billing", "payments", &payments),
        (&other, "billing", "orders", &orders),
    ];
    for log in [&orders, &payments] {
        let keyed = |key: u32| Message::new(key.to_string()).with_key(key);
        let batch: Vec<_> = (0..MESSAGES).map(keyed).collect();
        assert!(log.producer().send(&batch).await.iter().all(Result::is_ok));
    }
    let mut consumers = Vec::new();
    for (leases, name, source, log) in members {
        log.create_group(name, &Start::Earliest).unwrap();
        let mut group = Group::new(name, leases);
        group.options = store.options(store.server);
        let seen = log.seen_by(name, &Life::default());
        let member = again(|| group.join(source, Arc::clone(&seen))).await.unwrap();
        consumers.push(LogConsumer::new(seen, Arc::new(member), LogSettings::default()));
    }
    for (consumer, member) in consumers.iter().zip(members) {
        let mut received = HashSet::new();
        while received.len() < MESSAGES as usize {
            let batch = timeout(LONG, consumer.receive(Budget::new(100, 1 << 20))).await;
            let batch = batch.unwrap_or_else(|_| panic!("{member:?} has {} of {MESSAGES}", received.len()));
            received.extend(batch.unwrap().into_iter().map(|received| received.message.payload));
        }
    }
    for consumer in consumers {
        consumer.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_lies_in_the_place_of_a_row_is_not_taken_for_one() {
    let store = Store::table();
    let (rows, client) = (store.open().await, client(&store).await);
    let (table, key) = (store.url.split('/').nth(2).unwrap(), fresh("foreign"));
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let item = client.put_item().table_name(table).item("pk", text("teams/Billing")).item("sk", text(&key));
    item.item("owner", text("somebody")).send().await.unwrap();
    let error = rows.get(&key).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Other, "{error:?}");
    assert_eq!(rows.versions(&key).await.unwrap(), []);
    assert_eq!(rows.put(&key, Expect::Absent, "x".into()).await.unwrap(), Put::Refused);
}

#[tokio::test]
async fn a_value_that_does_not_fit_is_refused_before_it_is_sent() {
    let store = Store::table();
    let proxy = Proxy::start(store.server, |_| None).await;
    let rows = store.open_at(proxy.address(), LONG).await;
    let value = Bytes::from(vec![b'x'; rows.value_bytes() + 1]);
    let error = rows.put(&fresh("large"), Expect::Absent, value).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Invalid, false), "{error:?}");
    assert!(error.to_string().contains("407552 fit"), "{error}");
    assert!(proxy.seen().iter().all(|(call, _)| call.operation != "PutItem"));
}

#[tokio::test]
async fn a_table_that_is_asked_too_much_is_throttled() {
    let store = Store::table();
    for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] {
        let throttle = move |_: &_| Some(Trouble::Refuse(400, code));
        let proxy = Proxy::start(store.server, throttle).await;
        let options = Options { create: false, ..store.options(proxy.address()) };
        let error = open(&store.url, &options).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Throttled, false), "{error:?}");
    }
}
