//! The same by hand: loops on the SDK's client, as many as Strait has requests under way, with requests that ask for and
//! carry the same.

use std::{hint::black_box, sync::Arc};

use aws_sdk_sqs::{
    Client,
    types::{
        DeleteMessageBatchRequestEntry, Message, MessageAttributeValue, MessageSystemAttributeName,
        SendMessageBatchRequestEntry,
    },
};
use strait_benches::Gauge;
use tokio::task::JoinSet;

use crate::{Load, QUEUE};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// As many as a receiver has polls, and a sender requests.
const LOOPS: usize = 8;
/// What a request takes.
const BATCH: usize = 10;
/// Of the same length as an id.
const ID: &str = "00000000-0000-4000-8000-000000000000";

async fn url(client: &Client) -> Result<String> {
    Ok(client.get_queue_url().queue_name(QUEUE).send().await?.queue_url.unwrap_or_default())
}

async fn all<F>(count: usize, task: impl Fn() -> F) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    let tasks: JoinSet<_> = (0..count).map(|_| task()).collect();
    tasks.join_all().await.into_iter().collect()
}

/// Receives, handles, deletes. `bare`, it asks for no attributes.
pub(crate) async fn work(client: Client, gauge: Arc<Gauge>, bare: bool) -> Result<()> {
    let url = url(&client).await?;
    all(LOOPS, || work_loop(client.clone(), url.clone(), Arc::clone(&gauge), bare)).await
}

async fn work_loop(client: Client, url: String, gauge: Arc<Gauge>, bare: bool) -> Result<()> {
    while !gauge.is_done() {
        let mut request = client.receive_message().queue_url(&url).max_number_of_messages(10).wait_time_seconds(20);
        request = request.visibility_timeout(60);
        if !bare {
            request = request
                .message_attribute_names("All")
                .message_system_attribute_names(MessageSystemAttributeName::ApproximateReceiveCount)
                .message_system_attribute_names(MessageSystemAttributeName::SentTimestamp)
                .message_system_attribute_names(MessageSystemAttributeName::MessageGroupId);
        }
        let messages = request.send().await?.messages.unwrap_or_default();
        for message in &messages {
            black_box(message.body().map(str::len));
            gauge.hit(1);
        }
        let entry = |(index, message): (usize, Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(index.to_string());
            entry.set_receipt_handle(message.receipt_handle).build()
        };
        let entries = messages.into_iter().enumerate().map(entry).collect::<Result<Vec<_>, _>>()?;
        let deleted = client.delete_message_batch().queue_url(&url).set_entries(Some(entries)).send().await?;
        if !deleted.failed().is_empty() {
            return Err("some are not deleted".into());
        }
    }
    Ok(())
}

fn id() -> Result<MessageAttributeValue> {
    Ok(MessageAttributeValue::builder().data_type("String").string_value(ID).build()?)
}

/// Sends in batches. `bare`, the messages have no id.
pub(crate) async fn send(client: Client, gauge: Arc<Gauge>, load: Load, bare: bool) -> Result<()> {
    let url = url(&client).await?;
    all(LOOPS, || send_loop(client.clone(), url.clone(), Arc::clone(&gauge), load, bare)).await
}

async fn send_loop(client: Client, url: String, gauge: Arc<Gauge>, load: Load, bare: bool) -> Result<()> {
    while !gauge.is_done() {
        let entry = |index: usize| {
            let entry = SendMessageBatchRequestEntry::builder().id(index.to_string()).message_body(load.payload);
            let entry = if bare { entry } else { entry.message_attributes("strait-id", id()?) };
            Ok(entry.build()?)
        };
        let entries = (0..BATCH).map(entry).collect::<Result<Vec<_>>>()?;
        let sent = client.send_message_batch().queue_url(&url).set_entries(Some(entries)).send().await?;
        gauge.hit(sent.successful().len());
    }
    Ok(())
}

/// Sends one by one, with as many callers as Strait has.
pub(crate) async fn send_single(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let url = url(&client).await?;
    let caller = |client: Client, url: String, gauge: Arc<Gauge>| async move {
        while !gauge.is_done() {
            let request = client.send_message().queue_url(&url).message_body(load.payload);
            request.message_attributes("strait-id", id()?).send().await?;
            gauge.hit(1);
        }
        Ok(())
    };
    all(load.callers, || caller(client.clone(), url.clone(), Arc::clone(&gauge))).await
}
