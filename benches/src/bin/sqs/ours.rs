//! The channels of Strait, with what their settings are by themselves.

use std::{hint::black_box, sync::Arc};

use bytes::Bytes;
use strait_benches::{Gauge, call, enqueue};
use strait_core::{Message, Result};
use strait_kit::QueueSettings;
use strait_runtime::{DeadLetter, Receiver, ReceiverSettings, Sender, SenderSettings, Worker};
use strait_sqs::{Client, SqsOptions, SqsProducer, SqsQueue};

use crate::{Load, QUEUE};

/// How many outcomes are open before the oldest is waited for.
const OPEN: usize = 1000;

pub(crate) async fn work(client: Client, gauge: Arc<Gauge>) -> Result<()> {
    let queue = SqsQueue::open(&client, QUEUE, SqsOptions::default()).await?;
    let consumer = Arc::new(queue.consumer(QueueSettings::default()));
    let mut settings = ReceiverSettings::new(DeadLetter::Block);
    settings.prefetch = Some(settings.buffer); // nobody else is to have a share
    let receiver = Receiver::new(consumer, settings)?;
    let worker = Worker::new(receiver).stop_on(gauge.done.clone().cancelled_owned());
    let handler = move |delivery: strait_runtime::Delivery, _| {
        black_box(delivery.message().payload.len());
        gauge.hit(1);
        std::future::ready(Ok(()))
    };
    worker.run(handler).await
}

async fn sender(client: &Client) -> Result<Sender> {
    Sender::new(Arc::new(SqsProducer::open(client, QUEUE).await?), SenderSettings::default())
}

fn message(load: Load) -> Message {
    Message::new(Bytes::from_static(load.payload.as_bytes()))
}

/// Enqueues without waiting for outcomes.
pub(crate) async fn send(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    enqueue(sender(&client).await?, gauge, OPEN, || message(load)).await
}

/// Sends from concurrent callers, each of which waits for the receipt of its message.
pub(crate) async fn send_single(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    call(sender(&client).await?, gauge, load.callers, move || message(load)).await
}
