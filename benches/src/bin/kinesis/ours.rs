//! The channels of Strait, with what their settings are by themselves.

use std::{
    collections::VecDeque,
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use strait_benches::Gauge;
use strait_config::{Bus, Registry};
use strait_core::Result;
use strait_kinesis::{Client, Envelope, Kinesis, KinesisProducer};
use strait_runtime::{Delivery, Pending, Sender, SenderSettings};
use tokio::task::JoinSet;

use crate::load::{Load, STREAM, keys};

/// A group of its own that consumes the stream, from configuration.
pub(crate) fn bus(endpoint: &str) -> Result<Bus> {
    static GROUPS: AtomicUsize = AtomicUsize::new(0);
    let text = format!(
        r#"
provider = "kinesis"
[connections.kinesis]
region = "us-east-1"
endpoint = "{endpoint}"
access_key_id = "test"
secret_access_key = "test"
[receivers.app]
dead_letter = "discard"
[receivers.app.on.kinesis]
stream = "{STREAM}"
group = "app"
leases = "memory:{}"
"#,
        GROUPS.fetch_add(1, Relaxed)
    );
    Bus::builder(Registry::new().with(Kinesis)).environment(|_| None).text("strait.toml", &text).build()
}

pub(crate) async fn work(endpoint: &str, gauge: Arc<Gauge>) -> Result<()> {
    let bus = bus(endpoint)?;
    let worker = bus.worker("app").await?.stop_on(gauge.done.clone().cancelled_owned());
    let handler = move |delivery: Delivery, _| {
        let message = delivery.message();
        black_box((message.payload.len(), message.id));
        gauge.hit(1);
        std::future::ready(Ok(()))
    };
    worker.run(handler).await?;
    bus.close().await
}

pub(crate) async fn sender(client: &Client, envelope: Envelope, requests: usize) -> Result<Sender> {
    let mut settings = SenderSettings::default();
    settings.requests = requests;
    Sender::new(Arc::new(KinesisProducer::open(client, STREAM, envelope).await?), settings)
}

/// As whoever has much to send does it. No keys: messages have none.
pub(crate) async fn send(client: Client, gauge: Arc<Gauge>, load: Load, envelope: Envelope, of: usize) -> Result<()> {
    let (sender, keys) = (sender(&client, envelope, load.requests).await?, keys(of));
    let mut open: VecDeque<Pending> = VecDeque::with_capacity(load.open);
    let mut keys = keys.iter().cycle();
    while !gauge.is_done() {
        if open.len() == load.open
            && let Some(oldest) = open.pop_front()
        {
            oldest.await.into_result()?;
            gauge.hit(1);
        }
        let mut message = load.message();
        message.key = keys.next().cloned();
        open.push_back(sender.enqueue(message).await?);
    }
    sender.close().await
}

/// As many callers do it, of which each has one message and waits for its receipt.
pub(crate) async fn send_single(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let sender = sender(&client, Envelope::Kpl, load.requests).await?;
    let mut callers = JoinSet::new();
    for _ in 0..load.callers {
        let (sender, gauge) = (sender.clone(), Arc::clone(&gauge));
        callers.spawn(async move {
            while !gauge.is_done() {
                sender.send(load.message()).await?;
                gauge.hit(1);
            }
            Ok(())
        });
    }
    callers.join_all().await.into_iter().collect::<Result<()>>()?;
    sender.close().await
}
