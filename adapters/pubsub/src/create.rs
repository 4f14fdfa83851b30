//! Making topics and subscriptions, for tests and demonstrations, and moving where a subscription is.

use std::time::{Duration, SystemTime};

use strait_core::Result;
use tonic::Code;

use crate::{
    Client, error,
    operation::{Operation, permission},
    refusal::Refusal,
};

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
    let full = client.topic(topic)?;
    let operation = client.operation("create topic", &full, permission::CREATE_TOPIC);
    made(operation, client.make_topic(operation, &full, RETENTION).await?)
}

/// Makes a subscription. Returns whether it did not exist.
///
/// # Errors
///
/// What the service says.
pub async fn create_subscription(client: &Client, new: &NewSubscription) -> Result<bool> {
    let full = client.subscription(&new.name)?;
    let operation = client.operation("create subscription", &full, permission::CREATE_SUBSCRIPTION);
    made(operation, client.make_subscription(operation, new).await?)
}

fn made(operation: Operation<'_>, outcome: Result<(), Refusal>) -> Result<bool> {
    match outcome {
        Ok(()) => Ok(true),
        Err(refusal) if refusal.code == Code::AlreadyExists => Ok(false),
        Err(refusal) => Err(error::refused(operation, &refusal)),
    }
}

/// Moves a subscription, for everybody who consumes it, to what was stored at this time or later: what is older counts as
/// settled, and what is newer comes again, as far as the topic or the subscription keeps it.
///
/// # Errors
///
/// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if the time is before 1970; otherwise what the service says.
pub async fn seek(client: &Client, subscription: &str, time: SystemTime) -> Result<()> {
    let full = client.subscription(subscription)?;
    let operation = client.operation("seek in", &full, permission::CONSUME);
    let outcome = client.move_subscription(operation, &full, time).await?;
    outcome.map_err(|refusal| error::refused(operation, &refusal))
}
