//! A hub as a log.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Guarantees, Ordering, Result};
use strait_kit::{Identity, Log, Partition, Reader, Start};
use tokio::time::sleep;

use crate::{
    Access,
    client::{Client, HubProperties, LARGEST, Target},
    error::wrong,
    producer,
    reader::PartitionReader,
};

/// A hub, as a consumer group of Event Hubs reads it. Its list of partitions has a connection of its own, so that it may be
/// asked for on another runtime.
#[derive(Debug)]
pub struct EventHubsLog {
    client: Arc<Client>,
    listing: Client,
    group: Arc<str>,
    source: Arc<str>,
    properties: HubProperties,
    message_bytes: usize,
}

impl EventHubsLog {
    /// Opens a hub for a consumer group of Event Hubs: `$Default`, or one that exists. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such hub, [`ErrorKind::Unsupported`] if it is replicated over regions;
    /// otherwise what the service says. A consumer group that there is not shows when a partition is read.
    pub async fn open(access: &Arc<Access>, hub: &str, group: &str) -> Result<Arc<Self>> {
        let client = Client::new(access, hub);
        let properties = client.hub_properties().await?;
        if properties.regions > 1 {
            // Sequence numbers may repeat after a failover, and offsets have no order.
            let text = format!("eventhubs: {hub:?} is replicated over regions, which is not supported");
            return Err(Error::new(ErrorKind::Unsupported, text));
        }
        // A sender link tells the largest event; it needs the right to send, which a receiver may not have.
        let message_bytes = match client.largest(Target::Hub).await {
            Ok(largest) => producer::message_bytes(largest),
            Err(error) if error.kind() == ErrorKind::Denied => producer::message_bytes(LARGEST),
            Err(error) => return Err(error),
        };
        let (source, group) = (format!("{hub}/{group}").into(), group.into());
        Ok(Arc::new(Self {
            listing: client.apart(),
            client: Arc::new(client),
            group,
            source,
            properties,
            message_bytes,
        }))
    }

    /// What tells the hub from others whose groups keep rows in the same store: the same in every process.
    pub fn source(&self) -> String {
        format!("eventhubs-{}-{}", self.client.host(), self.client.hub).to_lowercase()
    }

    /// Where a new group starts. The latest event is the newest of all partitions by the time of the service, so that what is
    /// sent from now on is read: all members start there, in every partition.
    ///
    /// # Errors
    ///
    /// What the service says.
    pub async fn start(&self, start: &Start) -> Result<Start> {
        if *start != Start::Latest {
            return Ok(start.clone());
        }
        let mut newest = 0;
        for partition in &self.properties.partitions {
            let properties = self.client.partition_properties(partition).await?;
            newest = newest.max(properties.last_enqueued);
        }
        // An event that is stored in the same millisecond would be skipped: wait until that is over.
        sleep(Duration::from_millis(2)).await;
        let newest = u64::try_from(newest).unwrap_or(0) + 1;
        Ok(Start::At(SystemTime::UNIX_EPOCH + Duration::from_millis(newest)))
    }
}

/// As destinations and sources are called.
pub(crate) fn destination(client: &Client) -> String {
    format!("eventhubs:sb://{}/{}", client.host(), client.hub).to_lowercase()
}

#[async_trait]
impl Log for EventHubsLog {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("eventhubs", Arc::clone(&self.source))
            .with_ordering(Ordering::Key)
            .with_message_bytes(self.message_bytes)
            .with_fed_by([destination(&self.client)])
    }

    fn identity(&self) -> Option<Identity> {
        let name = format!("sb://{}/{}", self.client.host(), self.client.hub).to_lowercase();
        Some(Identity::new(name).with_made(self.properties.created.to_string()))
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        let now = self.listing.hub_properties().await?;
        if now.created != self.properties.created {
            let text = format!("eventhubs: {:?} was deleted, and another one of its name was made", self.client.hub);
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        Ok(now.partitions.into_iter().map(Partition::new).collect())
    }

    async fn open(&self, partition: &str, start: &Start, epoch: u64, ahead: usize) -> Result<Box<dyn Reader>> {
        let epoch = i64::try_from(epoch).map_err(|_| wrong("an epoch is too large for the service"))?;
        let reader = PartitionReader::open(&self.client, &self.group, partition, start, epoch, ahead).await?;
        Ok(Box::new(reader))
    }

    async fn close(&self) -> Result<()> {
        self.client.close().await;
        self.listing.close().await;
        Ok(())
    }
}
