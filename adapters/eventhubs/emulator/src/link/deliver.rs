//! A link that a client receives events by.

use std::sync::Arc;

use bytes::Bytes;
use fe2o3_amqp::{
    Sendable, Sender,
    types::{
        definitions::Error,
        messaging::AmqpValue,
        performatives::Attach,
        primitives::{Symbol, Value},
    },
};
use serde::{Serialize, Serializer};

use super::end_sender;
use crate::{
    connection::Connection,
    error,
    faults::{Disruption, Disruptions},
    hub::{Hub, Partition, Position, Registration},
};

/// How much is read from a partition at once.
const CHUNK: usize = 256 << 10;

/// A link that a client receives events by.
pub(super) struct Deliver {
    path: String,
    hub: Arc<Hub>,
    index: usize,
    partition: Arc<Partition>,
    next: i64,
    registration: Registration,
    disruptions: Disruptions,
}

impl Deliver {
    /// Finds where the client begins, and registers it as a reader.
    pub(super) async fn new(
        connection: &Connection,
        path: &str,
        hub: Arc<Hub>,
        (index, partition): (usize, Arc<Partition>),
        group: &str,
        attach: &Attach,
    ) -> Result<Self, Error> {
        let (position, epoch) = (position(attach)?, epoch(attach)?);
        let next = partition.find(&position).map_err(|position| error::invalid(&position))?;
        let disruptions = connection.shared.faults.disruptions();
        let registered = partition.readers.register(&group.to_lowercase(), epoch).await;
        let registration = registered.map_err(|why| error::refused(why, epoch))?;
        Ok(Self { path: path.to_owned(), hub, index, partition, next, registration, disruptions })
    }

    /// Serves it until either side ends it, or another reader steals the partition.
    pub(super) async fn serve(mut self, connection: &Arc<Connection>, mut sender: Sender) {
        let (hub, index, faults) = (&self.hub, self.index, &connection.shared.faults);
        let end = async {
            let concerns = |disruption: &Disruption| match disruption {
                Disruption::DetachReceivers { hub: of } => hub.is(of.as_deref()),
                Disruption::Steal { hub: of, partition } => {
                    hub.is(of.as_deref()) && partition.is_none_or(|it| it == index)
                }
                _ => false,
            };
            tokio::select! {
                () = hub.deleted.cancelled() => error::not_found(&hub.settings.name),
                () = connection.claims.expired(&self.path) => error::no_claim(&self.path),
                epoch = self.registration.stolen() => error::stolen(epoch),
                disruption = self.disruptions.matching(concerns) => match disruption {
                    Disruption::Steal { .. } => error::stolen(None),
                    _ => error::detached(),
                },
            }
        };
        let outcome = tokio::select! {
            biased;
            reason = end => Some(reason),
            () = deliver(&self.partition, self.next, &mut sender, || faults.resumed(&hub.settings.name, index)) => None,
        };
        drop(self.registration);
        match outcome {
            Some(reason) => end_sender(sender, reason).await,
            None => drop(sender.close().await), // it may be closed
        }
    }
}

/// Sends events as they come and as the client gives credit, until the link is over. Cancel-safe between events.
async fn deliver<F: Future<Output = ()>>(
    partition: &Partition,
    from: i64,
    sender: &mut Sender,
    resumed: impl Fn() -> F,
) {
    let mut next = from;
    let mut end = partition.follow();
    loop {
        let known = *end.borrow_and_update();
        let events = partition.read(next, CHUNK);
        if events.is_empty() {
            next = next.max(known); // what was before that is gone
            tokio::select! {
                _ = end.changed() => {} // the sender is the partition's
                _ = sender.on_detach() => return,
            }
        }
        for event in events {
            tokio::select! {
                biased;
                () = resumed() => {}
                _ = sender.on_detach() => return,
            }
            let sendable = Sendable::builder().message(AmqpValue(Stored(event.message))).settled(true).build();
            if sender.send_batchable(sendable).await.is_err() {
                return;
            }
            next = event.sequence + 1;
        }
    }
}

fn epoch(attach: &Attach) -> Result<Option<i64>, Error> {
    let properties = attach.properties.as_ref();
    match properties.and_then(|properties| properties.get(&Symbol::from("com.microsoft:epoch"))) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => integer(value).map(Some).ok_or_else(|| error::argument("The epoch is not an integer.")),
    }
}

/// Where a client begins: by default at the oldest event.
fn position(attach: &Attach) -> Result<Position, Error> {
    let filter = attach.source.as_ref().and_then(|source| source.filter.as_ref());
    let mut position = Position::Earliest;
    for (_, value) in filter.into_iter().flat_map(|filter| filter.iter()) {
        let value = if let Value::Described(described) = value { &described.value } else { value };
        let (Value::String(selector) | Value::Symbol(Symbol(selector))) = value else { continue };
        position =
            Position::parse(selector).ok_or_else(|| error::argument("The selector of the filter is invalid."))?;
    }
    Ok(position)
}

fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Byte(value) => Some(i64::from(*value)),
        Value::Short(value) => Some(i64::from(*value)),
        Value::Int(value) => Some(i64::from(*value)),
        Value::Long(value) => Some(*value),
        Value::Ubyte(value) => Some(i64::from(*value)),
        Value::Ushort(value) => Some(i64::from(*value)),
        Value::Uint(value) => Some(i64::from(*value)),
        Value::Ulong(value) => i64::try_from(*value).ok(),
        _ => None,
    }
}

/// A whole encoded message. The library encodes it into a value section, which `wire::frame::outward` removes.
struct Stored(Bytes);

impl Serialize for Stored {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}
