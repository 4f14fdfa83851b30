//! Making queues, topics and subscriptions, for tests and demonstrations.

use aws_sdk_sqs::types::QueueAttributeName;
use serde_json::{Value, json};
use strait_aws::Arn;
use strait_core::{ErrorKind, Result};

use crate::{
    Client,
    address::QueueAddress,
    error::{call, wrong},
    queue::{Place, is_fifo},
};

/// Makes a queue, with these attributes beside those that its name calls for, and returns its URL. It may exist.
///
/// # Errors
///
/// What the service says, also that the queue exists with other attributes.
pub async fn create_queue(client: &Client, name: &str, attributes: &[(&str, &str)]) -> Result<String> {
    let queues = client.queues(None).await?;
    let mut request = queues.client.create_queue().queue_name(name);
    if is_fifo(name) {
        request = request.attributes(QueueAttributeName::FifoQueue, "true");
    }
    for (name, value) in attributes {
        request = request.attributes(QueueAttributeName::from(*name), *value);
    }
    let call = || call(format!("sqs: cannot create {name:?}"), "sqs:CreateQueue", &queues.host);
    let made = request.send().await.map_err(|error| call().failed(&error))?;
    Ok(made.queue_url.unwrap_or_default())
}

/// Makes a topic, in order if its name says so, and returns its ARN. It may exist.
///
/// # Errors
///
/// What the service says.
pub async fn create_topic(client: &Client, name: &str) -> Result<String> {
    let topics = client.topics(None).await?;
    let mut request = topics.client.create_topic().name(name);
    if is_fifo(name) {
        request = request.attributes("FifoTopic", "true");
    }
    let call = || call(format!("sns: cannot create {name:?}"), "sns:CreateTopic", &topics.host);
    let made = request.send().await.map_err(|error| call().failed(&error))?;
    Ok(made.topic_arn.unwrap_or_default())
}

/// Makes a queue, and what feeds it. What is named by a URL or an ARN exists.
pub(crate) async fn make(client: &Client, queue: &str, topic: Option<&str>) -> Result<()> {
    let address = QueueAddress::of(queue).map_err(|reason| wrong(&format!("queue: {reason}")))?;
    let url = if address.is_named_in_full() { queue.to_owned() } else { create_queue(client, queue, &[]).await? };
    let Some(topic) = topic else { return Ok(()) };
    let arn = if topic.starts_with("arn:") { topic.to_owned() } else { create_topic(client, topic).await? };
    subscribe(client, &arn, &url).await
}

/// Feeds a queue, by its URL or its ARN, with what is sent to a topic, in raw form, and lets the topic do so. What the
/// policy of the queue says otherwise stays. Idempotent.
///
/// # Errors
///
/// [`ErrorKind::Config`] if the queue has a policy that is none; otherwise what the service says.
pub async fn subscribe(client: &Client, topic_arn: &str, queue: &str) -> Result<()> {
    let topic = Arn::of(topic_arn, "sns").map_err(|reason| wrong(&format!("topic: {reason}")))?;
    let topics = client.topics(topic.map(|topic| topic.region)).await?;
    let queue = Place::locate(client, queue).await?;
    let (arn, policy) = (QueueAttributeName::QueueArn, QueueAttributeName::Policy);
    let request = queue.client.get_queue_attributes().queue_url(&queue.url);
    let request = request.attribute_names(arn.clone()).attribute_names(policy.clone());
    let attributes = request.send().await;
    let attributes =
        attributes.map_err(|error| queue.call("read the policy of", "sqs:GetQueueAttributes").failed(&error))?;
    let attributes = attributes.attributes.unwrap_or_default();
    let queue_arn = attributes.get(&arn).map(String::as_str).unwrap_or_default();
    let change = || queue.call("change the policy of", "sqs:SetQueueAttributes");
    match allowing(attributes.get(&policy).map(String::as_str), queue_arn, topic_arn) {
        Ok(None) => {}
        Ok(Some(merged)) => {
            let request = queue.client.set_queue_attributes().queue_url(&queue.url).attributes(policy, merged);
            request.send().await.map_err(|error| change().failed(&error))?;
        }
        Err(reason) => return Err(change().error(ErrorKind::Config, reason)),
    }
    let what = format!("sns: cannot subscribe {:?} to a topic", queue.name);
    let request = topics.client.subscribe().topic_arn(topic_arn).protocol("sqs").endpoint(queue_arn);
    let request = request.attributes("RawMessageDelivery", "true");
    let call = || call(what, "sns:Subscribe", &topics.host);
    request.send().await.map(drop).map_err(|error| call().failed(&error))
}

/// The policy of a queue that lets a topic send to it, beside all that it says already; `None` if it says that, too.
fn allowing(policy: Option<&str>, queue_arn: &str, topic_arn: &str) -> Result<Option<String>, &'static str> {
    let statement = json!({
        "Effect": "Allow",
        "Principal": { "Service": "sns.amazonaws.com" },
        "Action": "sqs:SendMessage",
        "Resource": queue_arn,
        "Condition": { "ArnEquals": { "aws:SourceArn": topic_arn } },
    });
    let Some(policy) = policy.filter(|policy| !policy.is_empty()) else {
        return Ok(Some(json!({ "Version": "2012-10-17", "Statement": [statement] }).to_string()));
    };
    let none = "it is no policy that can be added to";
    let mut policy: Value = serde_json::from_str(policy).map_err(|_| none)?;
    let statements = policy.as_object_mut().ok_or(none)?.entry("Statement").or_insert_with(|| json!([]));
    // One statement may stand by itself.
    if statements.is_object() {
        *statements = json!([statements.take()]);
    }
    let statements = statements.as_array_mut().ok_or(none)?;
    if statements.iter().any(|it| says(it, &statement)) {
        return Ok(None);
    }
    statements.push(statement);
    Ok(Some(policy.to_string()))
}

/// Whether a statement is this one, whatever it is called, and with lists of one thing or without.
fn says(statement: &Value, this: &Value) -> bool {
    let mut statement = plain(statement.clone());
    if let Some(fields) = statement.as_object_mut() {
        fields.remove("Sid");
    }
    statement == plain(this.clone())
}

/// The one form of what a policy may write in several.
fn plain(value: Value) -> Value {
    match value {
        Value::Array(mut list) if list.len() == 1 => plain(list.remove(0)),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, plain(value))).collect(),
        // Names of actions are the same in any case.
        Value::String(text) if text.eq_ignore_ascii_case("sqs:SendMessage") => "sqs:SendMessage".into(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUEUE: &str = "arn:aws:sqs:eu-west-1:1:billing";
    const TOPIC: &str = "arn:aws:sns:eu-west-1:1:orders";

    fn statements(policy: &str) -> Vec<Value> {
        serde_json::from_str::<Value>(policy).unwrap()["Statement"].as_array().unwrap().clone()
    }

    #[test]
    fn a_queue_without_a_policy_gets_one_once() {
        let first = allowing(None, QUEUE, TOPIC).unwrap().unwrap();
        assert_eq!(statements(&first).len(), 1);
        assert_eq!(allowing(Some(&first), QUEUE, TOPIC), Ok(None));
        assert_eq!(allowing(Some(""), QUEUE, TOPIC).unwrap().unwrap(), first);
    }

    #[test]
    fn the_statements_of_others_stay() {
        let deny = json!({ "Sid": "tls", "Effect": "Deny", "Principal": "*", "Action": "sqs:*", "Resource": QUEUE });
        for existing in [json!([deny]), deny.clone()] {
            let policy = json!({ "Version": "2008-10-17", "Id": "theirs", "Statement": existing }).to_string();
            let merged = allowing(Some(&policy), QUEUE, TOPIC).unwrap().unwrap();
            assert_eq!(statements(&merged)[0], deny);
            assert_eq!(statements(&merged).len(), 2);
            let whole: Value = serde_json::from_str(&merged).unwrap();
            assert_eq!((&whole["Version"], &whole["Id"]), (&json!("2008-10-17"), &json!("theirs")));
            // A second topic is one more, and neither comes twice.
            let other = allowing(Some(&merged), QUEUE, "arn:aws:sns:eu-west-1:1:payments").unwrap().unwrap();
            assert_eq!(statements(&other).len(), 3);
            assert_eq!(allowing(Some(&other), QUEUE, TOPIC), Ok(None));
        }
    }

    #[test]
    fn a_statement_that_somebody_named_is_known() {
        let mut policy: Value = serde_json::from_str(&allowing(None, QUEUE, TOPIC).unwrap().unwrap()).unwrap();
        policy["Statement"][0]["Sid"] = json!("topic");
        policy["Statement"][0]["Action"] = json!(["SQS:SendMessage"]);
        assert_eq!(allowing(Some(&policy.to_string()), QUEUE, TOPIC), Ok(None));
    }

    #[test]
    fn what_is_no_policy_is_not_replaced() {
        for policy in ["nonsense", "[]", "{\"Statement\": 7}"] {
            assert!(allowing(Some(policy), QUEUE, TOPIC).is_err(), "{policy}");
        }
    }
}
