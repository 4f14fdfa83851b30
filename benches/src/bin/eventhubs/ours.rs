//! The channels of Strait, with what their settings are by themselves.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_benches::{Gauge, call, enqueue};
use strait_core::{Key, Limits, Message, Plan, Producer, Receipt, Result};
use strait_eventhubs::{Access, EventHubsLog, EventHubsProducer, Routing};
use strait_kit::{Log as _, LogConsumer, LogSettings, Start, Static};
use strait_runtime::{DeadLetter, Delivery, Receiver, ReceiverSettings, Sender, SenderSettings, Worker};

use crate::{HUB, Load};

/// How many outcomes are open before the oldest is waited for, in requests' worth.
const OPEN: usize = 8;

/// How many requests there were, and how many messages they had.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pub(crate) calls: AtomicU64,
    pub(crate) messages: AtomicU64,
}

/// Reads all partitions from the beginning. Progress is kept in memory.
pub(crate) async fn work(access: &Arc<Access>, gauge: Arc<Gauge>) -> Result<()> {
    let log = EventHubsLog::open(access, HUB, "$Default").await?;
    let partitions = log.partitions().await?.into_iter().map(|partition| (partition, Start::Earliest));
    let consumer = LogConsumer::new(log, Arc::new(Static::new(partitions)), LogSettings::default());
    let receiver = Receiver::new(Arc::new(consumer), ReceiverSettings::new(DeadLetter::Block))?;
    let worker = Worker::new(receiver).stop_on(gauge.done.clone().cancelled_owned());
    let handler = move |delivery: Delivery, _| {
        black_box(delivery.message().payload.len());
        gauge.hit(1);
        std::future::ready(Ok(()))
    };
    worker.run(handler).await
}

/// A producer that counts requests and their messages.
#[derive(Debug)]
struct Counted {
    producer: EventHubsProducer,
    requests: Arc<Requests>,
}

#[async_trait]
impl Producer for Counted {
    fn limits(&self) -> Limits {
        self.producer.limits()
    }

    fn destinations(&self) -> Vec<String> {
        self.producer.destinations()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        self.producer.plan(message)
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        self.requests.calls.fetch_add(1, Relaxed);
        self.requests.messages.fetch_add(batch.len() as u64, Relaxed);
        self.producer.send(batch).await
    }

    async fn close(&self) -> Result<()> {
        self.producer.close().await
    }
}

async fn sender(access: &Arc<Access>, routing: Routing, requests: &Arc<Requests>) -> Result<Sender> {
    let producer = EventHubsProducer::open(access, HUB, routing).await?;
    let producer = Counted { producer, requests: Arc::clone(requests) };
    Sender::new(Arc::new(producer), SenderSettings::default())
}

fn message(load: Load) -> Message {
    Message::new(Bytes::from_static(load.payload))
}

/// Enqueues as much as `OPEN` requests of a batch hold, of so many keys, or of none.
pub(crate) async fn send(
    access: &Arc<Access>,
    gauge: Arc<Gauge>,
    load: Load,
    requests: &Arc<Requests>,
    routing: Routing,
    keys: usize,
) -> Result<()> {
    let sender = sender(access, routing, requests).await?;
    let keys: Vec<Key> = (0..keys).map(|number| Key::new(&format!("customer-{number}"))).collect::<Result<_, _>>()?;
    let mut keys = keys.iter().cycle();
    let message = || {
        let mut message = message(load);
        message.key = keys.next().cloned();
        message
    };
    enqueue(sender, gauge, OPEN * load.batch, message).await
}

/// Sends from concurrent callers, each of which waits for the receipt of its message.
pub(crate) async fn send_single(
    access: &Arc<Access>,
    gauge: Arc<Gauge>,
    load: Load,
    requests: &Arc<Requests>,
) -> Result<()> {
    let sender = sender(access, Routing::Partition, requests).await?;
    call(sender, gauge, load.callers, move || message(load)).await
}
