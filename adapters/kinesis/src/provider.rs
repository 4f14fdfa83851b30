use std::sync::Arc;

use async_trait::async_trait;
use strait_aws::Access;
use strait_config::{Connection, Fields, Needs, Provider};
use strait_core::{Consumer, Producer, Result};
use strait_kit::{LogConsumer, LogSettings};

use crate::{
    Client, KinesisLog, KinesisProducer,
    config::{ConnectionTable, Read, ReceiverTable, SenderTable},
    create::create_stream,
};

/// Amazon Kinesis Data Streams, for configuration: `type = "kinesis"`.
///
/// A connection says how it is reached: `region`; `endpoint` of all services, or `kinesis_endpoint`, `dynamodb_endpoint`,
/// `s3_endpoint` and `sts_endpoint` (with `allow_insecure` for plain http to another machine); `profile`, `assume_role` with
/// `external_id`, or for tests `access_key_id`, `secret_access_key` and `session_token`; `timeout` of a call, 10 s; and
/// `create`, which makes streams that are missing, of so many `shards` (1), a missing table of leases, and registers missing
/// consumers, for tests.
///
/// A sender names its `stream`, by name or ARN, and may choose an `envelope`: `"kpl"` (the default) or `"plain"`.
///
/// A receiver names its `stream`, its `group`, and where that keeps its `leases`: a URL, `dynamodb://table/group` or
/// `s3://bucket/prefix`, reached as the connection says. It may say after how long a member is dead to the others, `expiry`
/// (10 s); where a new group is to `start`: `"earliest"` (the default), `"latest"` or a time; how it is to `read`; and what
/// happens when a record that was not read is no longer stored, `trimmed`: `"fail"` (the default) reports it, `"skip"` goes on
/// at the oldest record.
///
/// `read = "polling"` (the default) asks each shard for its records, one where nothing comes every `poll` (1 s, 200 ms to a
/// minute). `read = "fan_out"` has them pushed, to the `consumer` that is registered with the stream under this name (that of
/// the group); it is registered by `create` alone, and never deregistered.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kinesis;

#[async_trait]
impl Provider for Kinesis {
    fn name(&self) -> &'static str {
        "kinesis"
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
        let open = Open { client, access: table.access, create: table.create };
        for mut fields in receivers {
            let receiver = ReceiverTable::read(&mut fields);
            fields.finish()?;
            open.make(&receiver.stream).await?;
        }
        Ok(Arc::new(open))
    }
}

#[derive(Debug)]
struct Open {
    client: Client,
    /// How the store of leases is reached, too.
    access: Access,
    create: Option<usize>,
}

impl Open {
    /// Makes a stream if configuration says so. What is named by an ARN exists.
    async fn make(&self, stream: &str) -> Result<()> {
        match self.create {
            Some(shards) if !stream.starts_with("arn:") => create_stream(&self.client, stream, shards).await,
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Connection for Open {
    async fn producer(&self, mut fields: Fields) -> Result<Arc<dyn Producer>> {
        let table = SenderTable::read(&mut fields);
        fields.finish()?;
        self.make(&table.stream).await?;
        Ok(Arc::new(KinesisProducer::open(&self.client, &table.stream, table.envelope).await?))
    }

    async fn consumer(&self, mut fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>> {
        let ReceiverTable { stream, mut group, read, trimmed } = ReceiverTable::read(&mut fields);
        fields.finish()?;
        let log = match read {
            Read::Polling(poll) => KinesisLog::open(&self.client, &stream, &group.name, poll).await?,
            Read::FanOut(consumer) => {
                let create = self.create.is_some();
                KinesisLog::open_fan_out(&self.client, &stream, &group.name, &consumer, create).await?
            }
        };
        group.start = log.start(&group.start);
        group.options.aws = self.access.clone();
        group.options.create = self.create.is_some();
        let member = group.join(&log.source(), Arc::clone(&log) as _).await?;
        let mut settings = LogSettings::default();
        (settings.buffer, settings.buffer_bytes) = (needs.buffer, needs.buffer_bytes);
        (settings.observer, settings.trimmed) = (needs.observer, trimmed);
        Ok(Arc::new(LogConsumer::new(log, Arc::new(member), settings)))
    }
}
