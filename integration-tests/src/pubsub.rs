//! Pub/Sub under test: subscriptions without order, with order, and with exactly-once delivery.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{
    CreateSnapshotRequest, DeleteSnapshotRequest, DeleteSubscriptionRequest, DeleteTopicRequest, PublishRequest,
    PubsubMessage, PullRequest, SeekRequest, seek_request::Target,
};
use strait_config::{Bus, Registry};
use strait_core::{Consumer, Error, ErrorKind, Producer, Result};
use strait_kit::{QueueSettings, Start};
use strait_pubsub::{
    Access, Client, NewSubscription, PubSub, PubSubOptions, PubSubProducer, PubSubQueue, create_subscription,
    create_topic, seek,
};
use strait_testkit::{Capabilities, Channel, FOREIGN, Join, Member, Needs, Reshard, Rig, Shape, Starts};

use tokio::runtime::Runtime;

use crate::{
    again::again,
    emulators::{PubSub as Emulator, fresh},
    queues::{answered, member},
};

/// The shortest that there is.
const LEASE: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(1);
/// More than ten leases, since a slow handler is to take that long.
const LONGEST: Duration = Duration::from_secs(115);
/// Many share one emulator here.
const PATIENCE: Duration = Duration::from_secs(30);

/// The address of the emulator, which is started if need be.
pub fn endpoint() -> String {
    format!("http://{}", Emulator::get().address())
}

/// Stubs of the service at `endpoint`.
///
/// # Errors
///
/// As [`Client::connect`].
pub fn connect(endpoint: &str) -> Result<Client> {
    connect_within(endpoint, PATIENCE)
}

/// The same, whose calls take so long at most.
///
/// # Errors
///
/// As [`Client::connect`].
pub fn connect_within(endpoint: &str, timeout: Duration) -> Result<Client> {
    let mut access = Access::default();
    access.project = Some("strait".to_owned());
    access.endpoint = Some(endpoint.to_owned());
    access.timeout = timeout;
    Client::connect(&access)
}

/// Where what is not the test's runs.
fn apart() -> &'static Runtime {
    static APART: OnceLock<Runtime> = OnceLock::new();
    APART.get_or_init(|| Runtime::new().expect("a runtime"))
}

/// Stubs whose tasks are not those of the test, which counts its own: a connection ends with its stubs, not before.
fn connect_apart() -> Result<Client> {
    let _inside = apart().enter();
    connect(&endpoint())
}

/// How the rigs receive.
pub fn options() -> PubSubOptions {
    let mut options = PubSubOptions::default();
    (options.wait, options.longest) = (Some(WAIT), LONGEST);
    options
}

/// A topic and subscriptions.
#[derive(Clone, Copy, Debug)]
pub struct PubSubRig {
    ordered: bool,
    exactly_once: bool,
}

impl PubSubRig {
    /// Without order.
    pub const UNORDERED: Self = Self { ordered: false, exactly_once: false };
    /// In order of keys.
    pub const ORDERED: Self = Self { ordered: true, exactly_once: false };
    /// In order of keys, and acknowledged once and for all.
    pub const EXACTLY_ONCE: Self = Self { ordered: true, exactly_once: true };

    /// Deliveries are counted where the service is to move messages away.
    fn counts(self) -> bool {
        self.ordered && !self.exactly_once
    }

    async fn subscribe(self, client: &Client, topic: &str, group: &str) -> Result<String> {
        let mut new = NewSubscription::new(&fresh(group), topic);
        if self.counts() {
            let dead = fresh("dead");
            again(|| create_topic(client, &dead)).await?;
            new.dead_letter = Some((dead, 100));
        }
        (new.ordered, new.exactly_once, new.lease) = (self.ordered, self.exactly_once, LEASE);
        again(|| create_subscription(client, &new)).await?;
        Ok(new.name)
    }
}

#[async_trait]
impl Rig for PubSubRig {
    fn capabilities(&self) -> Capabilities {
        let can = Capabilities::new(Shape::Queue, LEASE).with_longest(LONGEST).without_bounds();
        let can = if self.counts() { can } else { can.without_counts() };
        let can = if self.exactly_once { can } else { can.with_repeats() };
        // The emulator does not seek where there is order.
        if self.ordered { can.in_order() } else { can.with_starts(Starts::Times) }
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        let client = connect_apart()?;
        let topic = fresh("orders");
        again(|| create_topic(&client, &topic)).await?;
        let mut groups = Vec::new();
        for group in needs.groups {
            groups.push((group, self.subscribe(&client, &topic, group).await?));
        }
        // Of its own, so that what a case does to it does not touch what counts.
        let out = connect_apart()?;
        let producer = again(|| PubSubProducer::open(&out, &topic)).await?;
        Ok(Box::new(PubSubChannel { rig: *self, client, topic, producer, groups: Mutex::new(groups) }))
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        let open = async {
            let queue = PubSubQueue::open(&connect(&endpoint())?, &fresh("missing"), options()).await?;
            Ok(Arc::new(queue.consumer(QueueSettings::default())) as Arc<dyn Consumer>)
        };
        Some(open.await)
    }

    fn configuration(&self) -> String {
        r#"
provider = "pubsub"
[connections.pubsub]
project = "strait"
endpoint = "http://127.0.0.1:8085"
[senders.out]
[senders.out.on.pubsub]
topic = "orders"
[receivers.app]
dead_letter = "discard"
[receivers.app.on.pubsub]
subscription = "billing"
"#
        .to_owned()
    }

    fn configure(&self, text: &str) -> Result<()> {
        Bus::builder(Registry::new().with(PubSub)).environment(|_| None).text("strait.toml", text).build().map(drop)
    }
}

#[derive(Debug)]
struct PubSubChannel {
    rig: PubSubRig,
    client: Client,
    topic: String,
    producer: PubSubProducer,
    /// The subscription of each group.
    groups: Mutex<Vec<(&'static str, String)>>,
}

impl PubSubChannel {
    fn known(&self, group: &str) -> Option<String> {
        let groups = self.groups.lock().expect("nothing panics while holding this");
        groups.iter().find(|(name, _)| *name == group).map(|(_, subscription)| subscription.clone())
    }

    /// The subscription of a group, made if the group is new and says where it starts.
    async fn subscription(&self, group: &'static str, start: Option<Start>) -> Result<String> {
        if let Some(known) = self.known(group) {
            return Ok(known);
        }
        let time = match start {
            Some(_) if self.rig.ordered => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "pubsub: the emulator does not seek where there is order",
                ));
            }
            None if self.rig.ordered => {
                return Err(Error::new(ErrorKind::NotFound, "pubsub: the group has no subscription"));
            }
            Some(Start::Earliest) | None => SystemTime::UNIX_EPOCH,
            Some(Start::At(time)) => time,
            Some(Start::Latest) => SystemTime::now(),
            Some(_) => {
                return Err(Error::new(ErrorKind::Unsupported, "pubsub: a subscription starts at a time"));
            }
        };
        let subscription = self.rig.subscribe(&self.client, &self.topic, group).await?;
        again(|| seek(&self.client, &subscription, time)).await?;
        self.groups.lock().expect("nothing panics while holding this").push((group, subscription.clone()));
        Ok(subscription)
    }
}

/// The emulator keeps in memory what nobody deletes.
impl Drop for PubSubChannel {
    fn drop(&mut self) {
        let groups = std::mem::take(&mut *self.groups.lock().unwrap_or_else(PoisonError::into_inner));
        let (client, topic) = (self.client.clone(), format!("projects/strait/topics/{}", self.topic));
        apart().spawn(async move {
            for (_, name) in groups {
                let subscription = format!("projects/strait/subscriptions/{name}");
                // What stays takes room, and nothing else.
                let _ = client.subscriber().delete_subscription(DeleteSubscriptionRequest { subscription }).await;
            }
            let _ = client.publisher().delete_topic(DeleteTopicRequest { topic }).await;
        });
    }
}

#[async_trait]
impl Channel for PubSubChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(self.producer.another())
    }

    async fn send_foreign(&self) -> Result<()> {
        let failed = |_| Error::new(ErrorKind::Other, "the message cannot be sent");
        let names = ["googclient_traceparent", "strait-id", "strait-foreign"];
        let message = PubsubMessage {
            data: FOREIGN.into(),
            attributes: names.map(|name| (name.to_owned(), "7".to_owned())).into(),
            ordering_key: if self.rig.ordered { "ключ".to_owned() } else { String::new() },
            ..PubsubMessage::default()
        };
        let topic = format!("projects/strait/topics/{}", self.topic);
        let request = PublishRequest { topic, messages: vec![message] };
        self.client.publisher().publish(request).await.map(drop).map_err(failed)
    }

    async fn join(&self, join: Join) -> Result<Member> {
        let subscription = self.subscription(join.group, join.start).await?;
        let client = connect(&endpoint())?;
        let queue = again(|| PubSubQueue::open(&client, &subscription, options())).await?;
        let settings = queue.settings(QueueSettings::default());
        Ok(member(queue, settings, join.faults))
    }

    async fn reshard(&self, _: Reshard) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "pubsub: a subscription has no partitions"))
    }

    async fn left(&self, group: &str) -> usize {
        let subscription = self.known(group).expect("the group is of this channel");
        answered(|| unsettled(&self.client, &subscription, &self.topic)).await
    }
}

/// How many messages a subscription has that nobody settled. What is leased to somebody is not seen by looking at it, but
/// in a snapshot of it: another subscription is moved there, and emptied.
///
/// # Errors
///
/// What the service says.
pub async fn unsettled(client: &Client, subscription: &str, topic: &str) -> Result<usize> {
    let full = |kind: &str, name: &str| format!("projects/strait/{kind}/{name}");
    let (snapshot, copy) = (full("snapshots", &fresh("snapshot")), fresh("copy"));
    let failed = |status: tonic::Status| Error::new(ErrorKind::Other, format!("{:?}", status.code()));
    let request = CreateSnapshotRequest {
        name: snapshot.clone(),
        subscription: full("subscriptions", subscription),
        ..CreateSnapshotRequest::default()
    };
    let mut stub = client.subscriber();
    stub.create_snapshot(request).await.map_err(failed)?;
    let mut new = NewSubscription::new(&copy, topic);
    (new.ordered, new.lease) = (false, Duration::from_mins(10));
    create_subscription(client, &new).await?;
    let copy = full("subscriptions", &copy);
    let request = SeekRequest { subscription: copy.clone(), target: Some(Target::Snapshot(snapshot.clone())) };
    stub.seek(request).await.map_err(failed)?;
    let mut names = HashSet::new();
    loop {
        #[allow(deprecated, reason = "there is no other way not to wait")]
        let request = PullRequest { subscription: copy.clone(), max_messages: 1000, return_immediately: true };
        let came = stub.pull(request).await.map_err(failed)?.into_inner().received_messages;
        if came.is_empty() {
            break;
        }
        names.extend(came.into_iter().filter_map(|received| received.message).map(|message| message.message_id));
    }
    stub.delete_subscription(DeleteSubscriptionRequest { subscription: copy }).await.map_err(failed)?;
    stub.delete_snapshot(DeleteSnapshotRequest { snapshot }).await.map_err(failed)?;
    Ok(names.len())
}
