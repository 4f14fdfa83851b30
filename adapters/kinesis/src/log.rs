//! A stream as a log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use strait_core::{Guarantees, Ordering, Result};
use strait_kit::{Identity, Log, Partition, Reader, Start};
use tokio::sync::OnceCell;

use crate::{
    Client,
    consumer::{RegisteredConsumer, check_name as check_consumer},
    error::wrong,
    listing,
    place::Place,
    reader::{FanOut, Polling, Shard, ShardReader},
    stream::Stream,
};

/// A stream, as a group reads it. Its readers ask for records; its list of shards has connections of its own, so that it may
/// be asked for on another runtime.
#[derive(Debug)]
pub struct KinesisLog {
    client: Client,
    stream: Stream,
    source: Arc<str>,
    read: Read,
    /// By which shards are listed.
    listing: OnceCell<Stream>,
}

/// How its shards are read.
#[derive(Clone, Debug)]
enum Read {
    /// They are asked, where nothing comes this often.
    Polling(Duration),
    /// They are subscribed to.
    FanOut(Arc<RegisteredConsumer>),
}

impl KinesisLog {
    /// Opens a stream by its name or its ARN, for this group, which asks its shards for their records. A shard where nothing comes is asked every `poll`. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`](strait_core::ErrorKind::NotFound) if there is none; otherwise what the service says. A caller
    /// that may not look at the stream opens it all the same.
    pub async fn open(client: &Client, stream: &str, group: &str, poll: Duration) -> Result<Arc<Self>> {
        let stream = Stream::find(client, stream).await?;
        Ok(Self::new(client, stream, group, Read::Polling(poll)))
    }

    /// Opens a stream by its name or its ARN, for this group, which has the records of its shards pushed: enhanced fan-out.
    /// That has a quota of its own, 2 MiB a second and shard, and costs by the shard and hour. `consumer` is the name that it
    /// is registered under with the stream, by one group; it is never deregistered here. `create` registers it if it is
    /// missing, and waits until it can be used. Cancel-safe: what is dropped may have registered it.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if the consumer is missing, or the stream was given by its name
    /// and may not be looked at; otherwise as [`open`](Self::open).
    pub async fn open_fan_out(
        client: &Client,
        stream: &str,
        group: &str,
        consumer: &str,
        create: bool,
    ) -> Result<Arc<Self>> {
        check_consumer(consumer).map_err(|reason| wrong(&format!("consumer: {reason}")))?;
        let stream = Stream::find(client, stream).await?;
        let consumer = RegisteredConsumer::find(&stream, consumer, create).await?;
        Ok(Self::new(client, stream, group, Read::FanOut(Arc::new(consumer))))
    }

    fn new(client: &Client, stream: Stream, group: &str, read: Read) -> Arc<Self> {
        let source = format!("{}/{group}", stream.name).into();
        Arc::new(Self { client: client.clone(), stream, source, read, listing: OnceCell::new() })
    }

    /// What tells the stream from others whose groups keep rows in the same store: the same in every process, however the
    /// stream is named there and whatever may be looked at. Streams of one name in other accounts and regions are told apart
    /// by [`identity`](Log::identity).
    pub fn source(&self) -> String {
        format!("kinesis-{}", self.stream.name)
    }

    /// Where a new group starts. The latest record is that by the time of the service when the stream was opened, whatever
    /// this machine's clock says: what is sent from then on is read.
    pub fn start(&self, start: &Start) -> Start {
        match (start, self.stream.opened) {
            (Start::Latest, Some(opened)) => Start::At(opened),
            _ => start.clone(),
        }
    }

    /// The SDK's own client.
    pub fn client(&self) -> &aws_sdk_kinesis::Client {
        &self.stream.client
    }
}

#[async_trait]
impl Log for KinesisLog {
    fn guarantees(&self) -> Guarantees {
        let ordering = if self.stream.by_key { Ordering::Key } else { Ordering::None };
        Guarantees::new("kinesis", Arc::clone(&self.source))
            .with_ordering(ordering)
            .with_message_bytes(self.stream.record_bytes)
            .with_fed_by(self.stream.destination())
    }

    fn identity(&self) -> Option<Identity> {
        let identity = Identity::new(Arc::clone(self.stream.arn.as_ref()?));
        let made = self.stream.created.and_then(|created| created.duration_since(SystemTime::UNIX_EPOCH).ok());
        Some(match made {
            Some(made) => identity.with_made(made.as_millis().to_string()),
            None => identity,
        })
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        let connect = async || {
            let client = self.client.apart().await?;
            self.stream.by(&client).await
        };
        let stream = self.listing.get_or_try_init(connect).await?;
        stream.check().await?;
        listing::list(stream).await
    }

    async fn open(&self, partition: &str, start: &Start, _epoch: u64, ahead: usize) -> Result<Box<dyn Reader>> {
        let shard = Shard::new(&self.stream, partition, Place::of(start)?);
        Ok(match &self.read {
            Read::Polling(idle) => {
                let fetch = Polling::new(&shard, *idle, ahead);
                Box::new(ShardReader::new(shard, fetch))
            }
            Read::FanOut(consumer) => {
                let fetch = FanOut::new(&shard, consumer, ahead);
                Box::new(ShardReader::new(shard, fetch))
            }
        })
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
