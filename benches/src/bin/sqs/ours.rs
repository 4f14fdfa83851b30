//! The channels of Strait, with what their settings are by themselves.

use std::{collections::VecDeque, hint::black_box, sync::Arc};

use bytes::Bytes;
use strait_benches::Gauge;
use strait_core::{Message, Result};
use strait_kit::QueueSettings;
use strait_runtime::{DeadLetter, Pending, Receiver, ReceiverSettings, Sender, SenderSettings, Worker};
use strait_sqs::{Client, SqsOptions, SqsProducer, SqsQueue};
use tokio::task::JoinSet;

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

/// As whoever has much to send does it.
pub(crate) async fn send(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let sender = sender(&client).await?;
    let mut open: VecDeque<Pending> = VecDeque::with_capacity(OPEN);
    while !gauge.is_done() {
        if open.len() == OPEN
            && let Some(oldest) = open.pop_front()
        {
            oldest.await.into_result()?;
            gauge.hit(1);
        }
        open.push_back(sender.enqueue(message(load)).await?);
    }
    sender.close().await
}

/// As many callers do it, of which each has one message and waits for its receipt.
pub(crate) async fn send_single(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let sender = sender(&client).await?;
    let mut callers = JoinSet::new();
    for _ in 0..load.callers {
        let (sender, gauge) = (sender.clone(), Arc::clone(&gauge));
        callers.spawn(async move {
            while !gauge.is_done() {
                sender.send(message(load)).await?;
                gauge.hit(1);
            }
            Ok(())
        });
    }
    callers.join_all().await.into_iter().collect::<Result<()>>()?;
    sender.close().await
}
