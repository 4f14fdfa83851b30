//! What the adapter needs of AMQP: reading a partition from a place, sending a batch, and the properties of hub and partition.
//!
//! One connection reads, with a session for each partition; one sends; one asks for properties. Each opens at its first use,
//! and again after it broke. Nothing is retried here, except a request that never left this machine.

mod connection;
mod line;
mod management;
mod node;
mod read;
mod send;
pub(crate) mod undecoded;

use std::{sync::Arc, time::Duration};

use strait_core::{Error, Result};
use tokio::time::timeout;

pub(crate) use management::{HubProperties, PartitionProperties};
pub(crate) use read::{Events, Place, Read};
pub(crate) use send::{LARGEST, Target};

use crate::{Access, codec::Encoded, error::Failed};
use line::Line;
use management::Management;
use send::Senders;

/// A client of one hub.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) hub: Arc<str>,
    access: Arc<Access>,
    management: Management,
    reading: Line,
    senders: Senders,
}

impl Client {
    pub(crate) fn new(access: &Arc<Access>, hub: &str) -> Self {
        let line = || Line::new(Arc::clone(access));
        let hub: Arc<str> = hub.into();
        Self {
            management: Management::new(line(), Arc::clone(&hub)),
            reading: line(),
            senders: Senders::new(line(), Arc::clone(&hub)),
            access: Arc::clone(access),
            hub,
        }
    }

    /// The same hub, by connections of its own.
    pub(crate) fn apart(&self) -> Self {
        Self::new(&self.access, &self.hub)
    }

    /// The namespace, by its host.
    pub(crate) fn host(&self) -> &str {
        &self.access.host
    }

    /// The properties of the hub. Cancel-safe: the next call attaches to `$management` again.
    pub(crate) async fn hub_properties(&self) -> Result<HubProperties> {
        let what = || format!("cannot look at {:?}", self.hub);
        self.within(what, self.management.hub()).await
    }

    /// As [`hub_properties`](Self::hub_properties), of a partition.
    pub(crate) async fn partition_properties(&self, partition: &str) -> Result<PartitionProperties> {
        let what = || format!("cannot look at partition {partition:?} of {:?}", self.hub);
        self.within(what, self.management.partition(partition)).await
    }

    /// Attaches to a partition at this place. The inner error is that of the link, for the caller to interpret. Cancel-safe: a
    /// session that is dropped ends with its link.
    pub(crate) async fn open(
        &self,
        partition: &str,
        group: &str,
        place: Place,
        epoch: i64,
    ) -> Result<Result<Events, Failed>> {
        let what = || format!("cannot read partition {partition:?} of {:?}", self.hub);
        let address = format!("{}/ConsumerGroups/{group}/Partitions/{partition}", self.hub);
        let opened = async { Ok(Events::open(&self.reading, &address, place, epoch).await) };
        self.within(what, opened).await
    }

    /// Most bytes of a request to this target. Attaches to it.
    pub(crate) async fn largest(&self, target: Target) -> Result<usize> {
        self.within(|| self.sending(), self.senders.largest(target)).await
    }

    /// Sends events that fit into one request. It is stored whole or not at all.
    ///
    /// Not cancel-safe: the events of a dropped call may be stored.
    pub(crate) async fn send(&self, target: Target, key: Option<&str>, events: Vec<Encoded>) -> Result<(), Error> {
        let sent = timeout(self.access.timeout, self.senders.send(target, key, events)).await;
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(unsent)) => {
                let error = unsent.failed.into_error(&self.sending());
                Err(if unsent.may_be_stored { error.into_ambiguous() } else { error })
            }
            // The link may be in any state.
            Err(_) => {
                self.senders.forget(target).await;
                Err(Failed::here("no answer in time").into_error(&self.sending()).into_ambiguous())
            }
        }
    }

    fn sending(&self) -> String {
        format!("cannot send to {:?}", self.hub)
    }

    /// Disconnects.
    pub(crate) async fn close(&self) {
        let closed = async {
            self.senders.close().await;
            self.management.close().await;
            self.reading.close().await;
        };
        let _ = timeout(CLOSING, closed).await; // what does not answer is dropped
    }

    async fn within<T>(&self, what: impl Fn() -> String, call: impl Future<Output = Result<T, Failed>>) -> Result<T> {
        match timeout(self.access.timeout, call).await {
            Ok(done) => done.map_err(|failed| failed.into_error(&what())),
            Err(_) => Err(Failed::here("no answer in time").into_error(&what())),
        }
    }
}

/// How long a disconnection may take.
const CLOSING: Duration = Duration::from_secs(2);
