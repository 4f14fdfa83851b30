//! The channels of Strait, with what their settings are by themselves.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use strait_benches::{Gauge, call, enqueue};
use strait_config::{Bus, Registry};
use strait_core::Result;
use strait_kinesis::{Client, Envelope, Kinesis, KinesisProducer};
use strait_runtime::{Delivery, Sender, SenderSettings};

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

/// Enqueues messages of so many keys, or of none, without waiting for outcomes.
pub(crate) async fn send(client: Client, gauge: Arc<Gauge>, load: Load, envelope: Envelope, of: usize) -> Result<()> {
    let (sender, keys) = (sender(&client, envelope, load.requests).await?, keys(of));
    let mut keys = keys.iter().cycle();
    let message = || {
        let mut message = load.message();
        message.key = keys.next().cloned();
        message
    };
    enqueue(sender, gauge, load.open, message).await
}

/// Sends from concurrent callers, each of which waits for the receipt of its message.
pub(crate) async fn send_single(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let sender = sender(&client, Envelope::Kpl, load.requests).await?;
    call(sender, gauge, load.callers, move || load.message()).await
}
