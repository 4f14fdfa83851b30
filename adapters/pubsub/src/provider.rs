use std::sync::Arc;

use async_trait::async_trait;
use strait_config::{Connection, Fields, Needs, Provider};
use strait_core::{Consumer, Error, ErrorKind, Producer, Result};
use strait_kit::QueueSettings;

use crate::{
    Client, NewSubscription, PubSubProducer, PubSubQueue,
    config::{self, ConnectionTable, MadeTable, ReceiverTable},
    create,
};

/// Google Cloud Pub/Sub, for configuration: `type = "pubsub"`.
///
/// A connection says how it is reached: the `project` of short names, `endpoint` (with `allow_insecure` for plain http to
/// another machine; else `PUBSUB_EMULATOR_HOST`, else the service), `credentials_file` or `anonymous`; `timeout` of a call,
/// 10 s; and `create`, which makes what is missing, for tests. A sender names a `topic`. A receiver names its
/// `subscription`, and may say how long a pull is to `wait`, its `lease`, the `longest` that a message may be held, and how
/// many `pollers` there are at most; with `create` also which `topic` is to feed it, whether it is `ordered` (yes) and
/// `exactly_once` (no), and where it is to `start` if it is new: `"earliest"`, `"latest"` or a time.
#[derive(Clone, Copy, Debug, Default)]
pub struct PubSub;

#[async_trait]
impl Provider for PubSub {
    fn name(&self) -> &'static str {
        "pubsub"
    }

    fn check_connection(&self, fields: &mut Fields) {
        ConnectionTable::read(fields);
    }

    fn check_sender(&self, fields: &mut Fields) {
        config::sender(fields);
    }

    fn check_receiver(&self, fields: &mut Fields) {
        ReceiverTable::read(fields);
    }

    async fn connect(&self, mut connection: Fields, receivers: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        let table = ConnectionTable::read(&mut connection);
        connection.finish()?;
        let client = Client::connect(&table.access)?;
        for mut fields in receivers {
            let receiver = ReceiverTable::read(&mut fields);
            if let (Some(field), false) = (receiver.made.first(), table.create) {
                let text = fields.sentence(field, "is for create = true: otherwise the subscription is what it is");
                return Err(Error::new(ErrorKind::Config, text));
            }
            fields.finish()?;
            if table.create {
                make(&client, &receiver.subscription, &receiver.made, receiver.options.lease).await?;
            }
        }
        Ok(Arc::new(Open { client, create: table.create }))
    }
}

/// Makes a subscription and the topic that feeds it. One without a topic exists.
async fn make(client: &Client, subscription: &str, made: &MadeTable, lease: Option<std::time::Duration>) -> Result<()> {
    let Some(topic) = &made.topic else { return Ok(()) };
    create::create_topic(client, topic).await?;
    let mut new = NewSubscription::new(subscription, topic);
    new.ordered = made.ordered.unwrap_or(new.ordered);
    new.exactly_once = made.exactly_once.unwrap_or(new.exactly_once);
    new.lease = lease.unwrap_or(new.lease);
    let is_new = create::create_subscription(client, &new).await?;
    match made.start {
        Some(start) if is_new => create::seek(client, subscription, start).await,
        _ => Ok(()),
    }
}

#[derive(Debug)]
struct Open {
    client: Client,
    create: bool,
}

#[async_trait]
impl Connection for Open {
    async fn producer(&self, mut fields: Fields) -> Result<Arc<dyn Producer>> {
        let topic = config::sender(&mut fields);
        fields.finish()?;
        if self.create {
            create::create_topic(&self.client, &topic).await?;
        }
        Ok(Arc::new(PubSubProducer::open(&self.client, &topic).await?))
    }

    async fn consumer(&self, mut fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>> {
        let table = ReceiverTable::read(&mut fields);
        fields.finish()?;
        let queue = PubSubQueue::open(&self.client, &table.subscription, table.options).await?;
        let mut settings = QueueSettings::default();
        settings.observer = needs.observer;
        Ok(Arc::new(queue.consumer(settings)))
    }
}
