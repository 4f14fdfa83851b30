//! Making topics and subscriptions, for tests and demonstrations, and moving where a subscription is.

use std::time::{Duration, SystemTime};

use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{
    DeadLetterPolicy, SeekRequest, Subscription, Topic, seek_request::Target,
};
use strait_core::Result;
use tonic::Code;

use crate::{Client, error, name};

/// How long a topic that is made keeps its messages, so that a subscription made later can start before it was.
const RETENTION: Duration = Duration::from_mins(10);

/// A subscription to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NewSubscription {
    /// Its name, full or of the connection's project.
    pub name: String,
    /// The topic that feeds it.
    pub topic: String,
    /// Whether messages of a key come in order. Default: yes.
    pub ordered: bool,
    /// Whether acknowledgements are confirmed, and what is acknowledged never comes again. Default: no.
    pub exactly_once: bool,
    /// The topic that takes what was delivered so often, and how often: 5 to 100 times. Deliveries are counted only then.
    /// Default: none.
    pub dead_letter: Option<(String, u32)>,
    /// How long a message is leased. Default: 10 s, the shortest.
    pub lease: Duration,
}

impl NewSubscription {
    /// One of a topic, in order.
    pub fn new(name: &str, topic: &str) -> Self {
        let (name, topic) = (name.to_owned(), topic.to_owned());
        Self { name, topic, ordered: true, exactly_once: false, dead_letter: None, lease: Duration::from_secs(10) }
    }
}

/// Makes a topic that keeps its messages for ten minutes. Returns whether it did not exist.
///
/// # Errors
///
/// What the service says.
pub async fn create_topic(client: &Client, topic: &str) -> Result<bool> {
    let name = client.topic(topic)?;
    let what = format!("pubsub: cannot create topic {:?}", name::short(&name));
    let retention = prost_types::Duration::try_from(RETENTION).ok();
    let topic = Topic { name, message_retention_duration: retention, ..Topic::default() };
    let call = async |request| client.publisher().create_topic(request).await;
    made(&what, client.call_within(client.timeout(), &what, topic, call).await?)
}

/// Makes a subscription. Returns whether it did not exist.
///
/// # Errors
///
/// What the service says.
pub async fn create_subscription(client: &Client, new: &NewSubscription) -> Result<bool> {
    let name = client.subscription(&new.name)?;
    let what = format!("pubsub: cannot create subscription {:?}", name::short(&name));
    let subscription = Subscription {
        name,
        topic: client.topic(&new.topic)?,
        ack_deadline_seconds: i32::try_from(new.lease.as_secs()).unwrap_or(i32::MAX),
        enable_message_ordering: new.ordered,
        enable_exactly_once_delivery: new.exactly_once,
        dead_letter_policy: match &new.dead_letter {
            None => None,
            Some((topic, attempts)) => Some(DeadLetterPolicy {
                dead_letter_topic: client.topic(topic)?,
                max_delivery_attempts: i32::try_from(*attempts).unwrap_or(i32::MAX),
            }),
        },
        ..Subscription::default()
    };
    let call = async |request| client.subscriber().create_subscription(request).await;
    made(&what, client.call_within(client.timeout(), &what, subscription, call).await?)
}

fn made<T>(what: &str, outcome: Result<T, tonic::Status>) -> Result<bool> {
    match outcome {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::AlreadyExists => Ok(false),
        Err(status) => Err(error::of(what, &status)),
    }
}

/// Moves a subscription, for everybody who consumes it, to what was stored at this time or later: what is older counts as
/// settled, and what is newer comes again, as far as the topic or the subscription keeps it.
///
/// # Errors
///
/// What the service says.
pub async fn seek(client: &Client, subscription: &str, time: SystemTime) -> Result<()> {
    let subscription = client.subscription(subscription)?;
    let what = format!("pubsub: cannot seek in {:?}", name::short(&subscription));
    let request = SeekRequest { subscription, target: Some(Target::Time(time.into())) };
    client.call(&what, request, async |request| client.subscriber().seek(request).await).await.map(drop)
}
