//! Making queues, topics and subscriptions, for tests and demonstrations.

use aws_sdk_sqs::types::QueueAttributeName;
use strait_core::Result;

use crate::{Client, error, queue::is_fifo};

/// Makes a queue, with these attributes beside those that its name calls for, and returns its URL. It may exist.
///
/// # Errors
///
/// What the service says, also that the queue exists with other attributes.
pub async fn create_queue(client: &Client, name: &str, attributes: &[(&str, &str)]) -> Result<String> {
    let what = format!("sqs: cannot create {name:?}");
    let mut request = client.sqs().create_queue().queue_name(name);
    if is_fifo(name) {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    for (name, value) in attributes {
        request = request.attributes(QueueAttributeName::from(*name), *value);
    }
    let made = request.send().await.map_err(|error| error::of(&what, &error))?;
    Ok(made.queue_url.unwrap_or_default())
}

/// Makes a topic, in order if its name says so, and returns its ARN. It may exist.
///
/// # Errors
///
/// What the service says.
pub async fn create_topic(client: &Client, name: &str) -> Result<String> {
    let mut request = client.sns().create_topic().name(name);
    if is_fifo(name) {
        request = request.attributes("FifoTopic", "true");
    }
    let made = request.send().await.map_err(|error| error::of(&format!("sns: cannot create {name:?}"), &error))?;
    Ok(made.topic_arn.unwrap_or_default())
}

/// Feeds a queue with what is sent to a topic, in raw form, and lets the topic do so.
///
/// # Errors
///
/// What the service says.
pub async fn subscribe(client: &Client, topic_arn: &str, queue_url: &str) -> Result<()> {
    let what = "sns: cannot subscribe a queue to a topic";
    let arn = QueueAttributeName::QueueArn;
    let request = client.sqs().get_queue_attributes().queue_url(queue_url).attribute_names(arn.clone());
    let attributes = request.send().await.map_err(|error| error::of(what, &error))?.attributes.unwrap_or_default();
    let queue_arn = attributes.get(&arn).map(String::as_str).unwrap_or_default();
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{
            "Effect": "Allow",
            "Principal": { "Service": "sns.amazonaws.com" },
            "Action": "sqs:SendMessage",
            "Resource": queue_arn,
            "Condition": { "ArnEquals": { "aws:SourceArn": topic_arn } },
        }],
    });
    let request = client.sqs().set_queue_attributes().queue_url(queue_url);
    let request = request.attributes(QueueAttributeName::Policy, policy.to_string());
    request.send().await.map_err(|error| error::of(what, &error))?;
    let request = client.sns().subscribe().topic_arn(topic_arn).protocol("sqs").endpoint(queue_arn);
    let request = request.attributes("RawMessageDelivery", "true");
    request.send().await.map(drop).map_err(|error| error::of(what, &error))
}
