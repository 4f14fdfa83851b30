//! SQS under test: a standard queue, a FIFO queue, and each of them fed by an SNS topic.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use strait_config::{Bus, Registry};
use strait_core::{Consumer, Error, ErrorKind, Producer, Result};
use strait_kit::QueueSettings;
use strait_sqs::{Client, SnsProducer, Sqs, SqsOptions, SqsProducer, SqsQueue, create_queue, create_topic, subscribe};
use strait_testkit::{Capabilities, Channel, Join, Member, Needs, Reshard, Rig, Shape};

use crate::{
    again::again,
    emulators::{LocalStack, fresh},
    queues::{answered, member},
};

/// So long that a busy machine, or emulator, keeps it.
const LEASE: Duration = Duration::from_secs(10);
const WAIT: Duration = Duration::from_secs(1);
/// More than ten leases, since a slow handler is to take that long.
const LONGEST: Duration = Duration::from_secs(115);
/// How long FIFO queues and topics remember ids.
const WINDOW: Duration = Duration::from_mins(5);

/// The address of LocalStack, which is started if need be.
pub fn endpoint() -> String {
    LocalStack::get().endpoint()
}

/// Clients of the service at `endpoint`, which takes any key.
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect(endpoint: &str) -> Result<Client> {
    connect_within(endpoint, Duration::from_secs(30)).await // many share one server here
}

/// The same, whose calls take so long at most.
///
/// # Errors
///
/// As [`Client::connect`].
pub async fn connect_within(endpoint: &str, timeout: Duration) -> Result<Client> {
    Client::connect(&LocalStack::access(endpoint, timeout)).await
}

/// How the rigs receive.
pub fn options() -> SqsOptions {
    let mut options = SqsOptions::default();
    (options.wait, options.lease, options.longest) = (WAIT, Some(LEASE), Some(LONGEST));
    options
}

/// A queue, or queues behind a topic.
#[derive(Clone, Copy, Debug)]
pub struct SqsRig {
    fifo: bool,
    topic: bool,
}

impl SqsRig {
    /// A standard queue.
    pub const STANDARD: Self = Self { fifo: false, topic: false };
    /// A FIFO queue.
    pub const FIFO: Self = Self { fifo: true, topic: false };
    /// A standard queue behind a topic.
    pub const SNS: Self = Self { fifo: false, topic: true };
    /// A FIFO queue behind a FIFO topic.
    pub const SNS_FIFO: Self = Self { fifo: true, topic: true };

    /// How it is received from. Of a FIFO queue one poll at a time: between taking messages and answering LocalStack does
    /// not know that they are in flight, and another poll then has what is behind them of their group.
    fn options(self) -> SqsOptions {
        let mut options = options();
        options.pollers = if self.fifo { 1 } else { options.pollers };
        options
    }

    fn name(self, what: &str) -> String {
        format!("{}{}", fresh(what), if self.fifo { ".fifo" } else { "" })
    }
}

#[async_trait]
impl Rig for SqsRig {
    fn capabilities(&self) -> Capabilities {
        let mut can = Capabilities::new(Shape::Queue, LEASE).with_longest(LONGEST).without_bounds();
        can = if self.fifo { can.in_order().with_dedup(WINDOW) } else { can.with_repeats() };
        if self.topic { can.with_receipts_apart() } else { can }
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        let client = connect(&endpoint()).await?;
        // A topic takes less than a queue.
        let bytes = needs.message_bytes.unwrap_or(usize::MAX).min(if self.topic { 256 << 10 } else { 1 << 20 });
        let attributes = [("MaximumMessageSize", &*bytes.max(1024).to_string())];
        let several = self.topic || needs.groups.len() > 1;
        let name = self.name("orders");
        let topic = if several { Some(again(|| create_topic(&client, &name)).await?) } else { None };
        let mut queues = Vec::new();
        for group in needs.groups {
            let name = self.name(group);
            let url = again(|| create_queue(&client, &name, &attributes)).await?;
            if let Some(topic) = &topic {
                again(|| subscribe(&client, topic, &url)).await?;
            }
            queues.push((group, url));
        }
        // Of its own, so that what a case does to it does not touch what counts.
        let out = connect(&endpoint()).await?;
        let producer = match topic {
            Some(topic) => Out::Topic(again(|| SnsProducer::open(&out, &topic)).await?),
            None => Out::Queue(again(|| SqsProducer::open(&out, &queues[0].1)).await?),
        };
        Ok(Box::new(SqsChannel { rig: *self, client, producer, queues }))
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        let open = async {
            let client = connect(&endpoint()).await?;
            let queue = SqsQueue::open(&client, &self.name("missing"), options()).await?;
            Ok(Arc::new(queue.consumer(QueueSettings::default())) as Arc<dyn Consumer>)
        };
        Some(open.await)
    }

    fn configuration(&self) -> String {
        let to = if self.topic { "topic" } else { "queue" };
        let suffix = if self.fifo { ".fifo" } else { "" };
        format!(
            r#"
provider = "sqs"
[connections.sqs]
region = "us-east-1"
endpoint = "http://127.0.0.1:4566"
[senders.out]
[senders.out.on.sqs]
{to} = "orders{suffix}"
[receivers.app]
dead_letter = "discard"
[receivers.app.on.sqs]
queue = "billing{suffix}"
"#
        )
    }

    fn configure(&self, text: &str) -> Result<()> {
        Bus::builder(Registry::new().with(Sqs)).environment(|_| None).text("strait.toml", text).build().map(drop)
    }
}

#[derive(Debug)]
enum Out {
    Queue(SqsProducer),
    Topic(SnsProducer),
}

#[derive(Debug)]
struct SqsChannel {
    rig: SqsRig,
    client: Client,
    producer: Out,
    /// The URL of the queue of each group.
    queues: Vec<(&'static str, String)>,
}

impl SqsChannel {
    fn url(&self, group: &str) -> Result<&str> {
        let found = self.queues.iter().find(|(name, _)| *name == group).map(|(_, url)| url.as_str());
        found.ok_or_else(|| Error::new(ErrorKind::NotFound, format!("sqs: no queue is fed for group {group:?}")))
    }
}

#[async_trait]
impl Channel for SqsChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        match &self.producer {
            Out::Queue(producer) => Arc::new(producer.another()),
            Out::Topic(producer) => Arc::new(producer.another()),
        }
    }

    async fn send_foreign(&self) -> Result<()> {
        strait_testkit::send_foreign(&*self.producer()).await
    }

    async fn join(&self, join: Join) -> Result<Member> {
        if join.start.is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "sqs: a queue has no start to choose"));
        }
        let client = connect(&endpoint()).await?;
        let url = self.url(join.group)?;
        let queue = again(|| SqsQueue::open(&client, url, self.rig.options())).await?;
        let settings = queue.settings(QueueSettings::default());
        Ok(member(queue, settings, join.faults))
    }

    async fn reshard(&self, _: Reshard) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "sqs: a queue has no partitions"))
    }

    async fn left(&self, group: &str) -> usize {
        let url = self.url(group).expect("the group is of this channel");
        answered(|| unsettled(&self.client, url)).await
    }
}

/// How many messages a queue has that nobody settled, whoever holds them.
///
/// # Errors
///
/// What the service says.
pub async fn unsettled(client: &Client, url: &str) -> Result<usize> {
    let request = client.sqs().get_queue_attributes().queue_url(url).attribute_names("All".into());
    let failed = |_| Error::new(ErrorKind::Other, "the attributes cannot be had");
    let attributes = request.send().await.map_err(failed)?.attributes.unwrap_or_default();
    let count = |name: &str| attributes.get(&name.into()).and_then(|count| count.parse().ok()).unwrap_or(0);
    Ok(count("ApproximateNumberOfMessages")
        + count("ApproximateNumberOfMessagesNotVisible")
        + count("ApproximateNumberOfMessagesDelayed"))
}
