//! A link that a client sends events by.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use fe2o3_amqp::{
    Receiver,
    link::{RecvError, delivery::DeliveryInfo, receiver::TerminalDeliveryState},
    types::{
        definitions::Error,
        messaging::{Accepted, Modified, Rejected, Released},
    },
};
use tokio::time::{Instant, sleep_until};

use super::{Received, end_receiver, receive};
use crate::{
    connection::Connection,
    error,
    faults::{Disruption, Disruptions, SendFault},
    hub::{Hub, Partition},
    wire::message::{BATCH, Message},
};

/// A link that a client sends events by.
pub(super) struct Publish {
    path: String,
    hub: Arc<Hub>,
    /// `None`: to the hub.
    partition: Option<Arc<Partition>>,
    disruptions: Disruptions,
}

impl Publish {
    pub(super) fn new(connection: &Connection, path: &str, hub: Arc<Hub>, partition: Option<Arc<Partition>>) -> Self {
        Self { path: path.to_owned(), hub, partition, disruptions: connection.shared.faults.disruptions() }
    }

    /// Serves it until either side ends it.
    pub(super) async fn serve(self, connection: &Arc<Connection>, receiver: Receiver) {
        let Self { path, hub, partition, mut disruptions } = self;
        let name = receiver.name().to_owned();
        let idle = connection.shared.config.idle.sender;
        let mut publisher =
            Publisher { connection, hub: Arc::clone(&hub), partition, receiver, due: BTreeMap::new(), count: 0 };
        let end = async {
            let concerns = |disruption: &Disruption| match disruption {
                Disruption::DetachSenders { hub: of } => hub.is(of.as_deref()),
                _ => false,
            };
            tokio::select! {
                () = hub.deleted.cancelled() => error::not_found(&hub.settings.name),
                () = connection.claims.expired(&path) => error::no_claim(&path),
                _ = disruptions.matching(concerns) => error::detached(),
            }
        };
        tokio::pin!(end);
        let mut last = Instant::now();
        let reason = loop {
            let due = publisher.due.first_key_value().map(|((at, _), _)| *at);
            let settle = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                reason = &mut end => Next::End(reason),
                () = settle => Next::Settle,
                request = receive(&mut publisher.receiver) => Next::Request(request),
                () = sleep_until(last + idle) => Next::End(error::idle_link(&name, idle.as_millis())),
            };
            match next {
                Next::End(reason) => break Some(reason),
                Next::Settle => {
                    if publisher.settle_first().await.is_none() {
                        break None;
                    }
                }
                Next::Request(Ok(request)) => {
                    last = Instant::now();
                    if let Err(reason) = publisher.take(request).await {
                        break reason;
                    }
                }
                // What arrives is in the form that we gave it, so that this cannot be the client's doing.
                Next::Request(Err(RecvError::MessageDecode(_))) => break Some(error::malformed()),
                Next::Request(Err(_)) => break None,
            }
        };
        match reason {
            Some(reason) => end_receiver(publisher.receiver, reason).await,
            None => drop(publisher.receiver.close().await),
        }
    }
}

enum Next {
    End(Error),
    Settle,
    Request(Result<Received, RecvError>),
}

struct Publisher<'a> {
    connection: &'a Arc<Connection>,
    hub: Arc<Hub>,
    partition: Option<Arc<Partition>>,
    receiver: Receiver,
    /// What is to be settled later, in the order of its time.
    due: BTreeMap<(Instant, u64), (DeliveryInfo, TerminalDeliveryState)>,
    count: u64,
}

impl Publisher<'_> {
    /// Takes a request. An error ends the link: with a reason, or because it is over.
    async fn take(&mut self, request: Received) -> Result<(), Option<Error>> {
        let Received { info, format, payload } = request;
        let fault = self.connection.shared.faults.next_send();
        let outcome = match fault {
            Some(SendFault::Release) => TerminalDeliveryState::Released(Released {}),
            Some(SendFault::Modify) => TerminalDeliveryState::Modified(Modified {
                delivery_failed: Some(true),
                undeliverable_here: None,
                message_annotations: None,
            }),
            Some(SendFault::Busy) => rejected(error::busy()),
            _ => match self.store(&payload, format) {
                Ok(()) => TerminalDeliveryState::Accepted(Accepted {}),
                Err(reason) => rejected(reason),
            },
        };
        match fault {
            Some(SendFault::NeverSettle) => return Ok(()),
            Some(SendFault::LoseAnswer) => {
                self.connection.broken.cancel();
                return Err(None);
            }
            _ => {}
        }
        let delay = self.connection.shared.faults.settle_delay();
        if delay == Duration::ZERO {
            return self.receiver.dispose(info, outcome).await.map_err(|_| None);
        }
        self.count += 1;
        self.due.insert((Instant::now() + delay, self.count), (info, outcome));
        Ok(())
    }

    fn store(&self, payload: &Bytes, format: u32) -> Result<(), Error> {
        let (size, limit) = (payload.len() as u64, self.connection.shared.config.largest_message);
        if size > limit {
            return Err(error::too_large(size, limit)); // the link itself ends a little above that
        }
        let message = &Message::parse(payload).map_err(|_| error::malformed())?;
        let unpacked = if format == BATCH { message.unpack().map_err(|_| error::malformed())? } else { Vec::new() };
        let events = if format == BATCH { &unpacked[..] } else { std::slice::from_ref(message) };
        let hub = &self.hub;
        if !hub.admit(self.connection.shared.config.quota, events.len(), payload.len()) {
            return Err(error::busy());
        }
        if let Some(partition) = &self.partition {
            partition.append(events);
        } else {
            let key = message.partition_key().or_else(|| events.first()?.partition_key());
            let partition = hub.partition(hub.route(key)).ok_or_else(|| error::no_partition("", hub.count()))?;
            partition.append(events);
        }
        Ok(())
    }

    async fn settle_first(&mut self) -> Option<()> {
        let (_, (info, outcome)) = self.due.pop_first()?;
        self.receiver.dispose(info, outcome).await.ok()
    }
}

fn rejected(reason: Error) -> TerminalDeliveryState {
    TerminalDeliveryState::Rejected(Rejected { error: Some(reason) })
}
