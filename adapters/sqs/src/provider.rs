use std::sync::Arc;

use async_trait::async_trait;
use strait_config::{Connection, Fields, Needs, Provider};
use strait_core::{Consumer, Error, ErrorKind, Ordering, Producer, Result};
use strait_kit::QueueSettings;

use crate::{
    Client, SnsProducer, SqsProducer, SqsQueue,
    config::{ConnectionTable, ReceiverTable, SenderTable},
    create,
};

/// Amazon SQS, for configuration: `type = "sqs"`.
///
/// A connection says how it is reached: `region`; `endpoint` of all services, or `sqs_endpoint`, `sns_endpoint` and
/// `sts_endpoint` (with `allow_insecure` for plain http to another machine); `profile`, `assume_role` with `external_id`,
/// or for tests `access_key_id`, `secret_access_key` and `session_token`; `timeout` of a call, 10 s; and `create`, which
/// makes what is missing, for tests. A sender names a `queue` or an SNS `topic`. A receiver names its `queue`, and may say
/// how long a poll is to `wait`, its `lease`, the `longest` that a message may be held, and how many `pollers` there are
/// at most; with `create` also which `topic` is to feed its queue. Queues and topics are named by their name or ARN,
/// queues also by their URL.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sqs;

#[async_trait]
impl Provider for Sqs {
    fn name(&self) -> &'static str {
        "sqs"
    }

    fn check_connection(&self, fields: &mut Fields) {
        ConnectionTable::read(fields);
    }

    fn check_sender(&self, fields: &mut Fields) {
        SenderTable::read(fields);
    }

    fn check_receiver(&self, fields: &mut Fields) {
        ReceiverTable::read(fields);
    }

    async fn connect(&self, mut connection: Fields, receivers: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        let table = ConnectionTable::read(&mut connection);
        connection.finish()?;
        let client = Client::connect(&table.access).await?;
        for mut fields in receivers {
            let receiver = ReceiverTable::read(&mut fields);
            let refusal = fields.sentence("topic", "is for create = true: otherwise the queue is subscribed already");
            fields.finish()?;
            match (&receiver.topic, table.create) {
                (Some(_), false) => return Err(Error::new(ErrorKind::Config, refusal)),
                (topic, true) => create::make(&client, &receiver.queue, topic.as_deref()).await?,
                (None, false) => {}
            }
        }
        Ok(Arc::new(Open { client, create: table.create }))
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
        let table = SenderTable::read(&mut fields);
        fields.finish()?;
        Ok(match table {
            SenderTable::Queue(queue) => {
                if self.create {
                    create::make(&self.client, &queue, None).await?;
                }
                Arc::new(SqsProducer::open(&self.client, &queue).await?)
            }
            SenderTable::Topic(topic) => {
                if self.create && !topic.starts_with("arn:") {
                    create::create_topic(&self.client, &topic).await?;
                }
                Arc::new(SnsProducer::open(&self.client, &topic).await?)
            }
        })
    }

    async fn consumer(&self, mut fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>> {
        let table = ReceiverTable::read(&mut fields);
        fields.finish()?;
        let queue = SqsQueue::open(&self.client, &table.queue, table.options).await?;
        if queue.keeps_order() && needs.ordering == Ordering::None {
            tracing::warn!(
                queue = table.queue,
                "the queue keeps order, and this receiver does not: it works on several messages of a group at once; \
                 ordering = \"key\" would keep it"
            );
        }
        let mut settings = QueueSettings::default();
        settings.observer = needs.observer;
        Ok(Arc::new(queue.consumer(settings)))
    }
}
