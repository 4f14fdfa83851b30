//! Links: what they are to, and who may have them.

mod answers;
mod deliver;
mod publish;

use std::{sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use fe2o3_amqp::{
    Receiver, Sender,
    acceptor::{
        LinkAcceptor, LinkEndpoint, ListenerSessionHandle, SupportedReceiverSettleModes, SupportedSenderSettleModes,
    },
    link::{RecvError, delivery::DeliveryInfo},
    types::{
        definitions::{Error, ReceiverSettleMode, Role, SenderSettleMode},
        messaging::{Batch, Data, Source, Target, TargetArchetype},
        performatives::Attach,
    },
};
use tokio::{sync::OwnedSemaphorePermit, task::JoinSet, time::timeout};

pub(crate) use self::answers::{Answer, answer};
use self::{answers::Answers, deliver::Deliver, publish::Publish};
use crate::{
    address::{self, Node},
    cbs,
    connection::{Connection, fields},
    error,
    hub::{Hub, Partition},
    management,
    wire::frame::slack,
};

/// How long a peer may take to answer a Detach.
const DETACH: Duration = Duration::from_secs(5);

type Acceptor = LinkAcceptor<fn(Source) -> Option<Source>, fn(Target) -> Option<Target>>;

/// Attaches links.
pub(crate) struct Acceptors {
    /// Of what clients send by.
    receiving: Acceptor,
    /// Of what clients receive by.
    sending: Acceptor,
}

impl Acceptors {
    pub(crate) fn new(largest_message: u64) -> Self {
        // The clients for Python ask for the second settle mode and do not keep to it, and read the last field of an Attach.
        let acceptor = LinkAcceptor::builder()
            .max_message_size(largest_message.saturating_add(slack(largest_message)))
            .supported_receiver_settle_modes(SupportedReceiverSettleModes::First)
            .fallback_receiver_settle_mode(ReceiverSettleMode::First)
            .properties(fields("com.microsoft:tracking-id", "strait"))
            .build();
        // Events are settled as they are sent: nothing of them is kept.
        let sending = acceptor
            .clone()
            .into_builder()
            .supported_sender_settle_modes(SupportedSenderSettleModes::SettledAndMixed)
            .fallback_sender_settle_mode(SenderSettleMode::Mixed)
            .build();
        Self { receiving: acceptor, sending }
    }

    pub(crate) async fn attach(
        &self,
        connection: &Arc<Connection>,
        attach: Attach,
        session: &mut ListenerSessionHandle,
        links: &mut JoinSet<()>,
    ) {
        // Before the client hears that the link is attached: what is sent after that is after its position, readers are in
        // the order of their attaches, and a fault finds the link.
        let service = Service::of(connection, &attach).await;
        let acceptor = if matches!(attach.role, Role::Sender) { &self.receiving } else { &self.sending };
        let link = match acceptor.accept_incoming_attach(attach, session).await {
            Ok(link) => link,
            Err(reason) => {
                tracing::debug!(%reason, "a link was not attached");
                return;
            }
        };
        let connection = Arc::clone(connection);
        links.spawn(async move {
            let _counted = connection.counted();
            match link {
                LinkEndpoint::Receiver(receiver) => service.receive(&connection, receiver).await,
                LinkEndpoint::Sender(sender) => service.send(&connection, sender).await,
            }
        });
    }
}

/// What a link is for.
enum Service {
    Tokens(OwnedSemaphorePermit),
    Properties,
    Answers(Answers),
    Publish(Publish),
    Deliver(Deliver),
    Refused(Error),
}

impl Service {
    async fn of(connection: &Arc<Connection>, attach: &Attach) -> Self {
        let source = attach.source.as_ref().and_then(|source| source.address.as_deref()).unwrap_or_default();
        let target = match attach.target.as_deref() {
            Some(TargetArchetype::Target(target)) => target.address.as_deref().unwrap_or_default(),
            _ => "",
        };
        let service = match attach.role {
            Role::Sender => Self::requests(connection, address::path(target)).await,
            Role::Receiver => Self::responses(connection, address::path(source), target, attach).await,
        };
        service.unwrap_or_else(Self::Refused)
    }

    /// Of a link that a client sends by.
    async fn requests(connection: &Arc<Connection>, path: &str) -> Result<Self, Error> {
        let (hub, partition) = match Node::parse(path) {
            Some(Node::Cbs) => return connection.take_cbs().await.map(Self::Tokens).ok_or_else(error::second_cbs),
            Some(Node::Management) => return Ok(Self::Properties),
            Some(Node::Hub(hub)) => (hub, None),
            Some(Node::Partition(hub, partition)) => (hub, Some(partition)),
            _ => return Err(error::not_found(path)),
        };
        let hub = find_hub(connection, path, hub)?;
        let partition = partition.map(|partition| find_partition(&hub, partition)).transpose()?;
        Ok(Self::Publish(Publish::new(connection, path, hub, partition.map(|(_, partition)| partition))))
    }

    /// Of a link that a client receives by.
    async fn responses(connection: &Arc<Connection>, path: &str, target: &str, attach: &Attach) -> Result<Self, Error> {
        match Node::parse(path) {
            Some(Node::Cbs) => Ok(Self::Answers(Answers::new(connection, cbs::NAME, target))),
            Some(Node::Management) => Ok(Self::Answers(Answers::new(connection, management::NAME, target))),
            Some(Node::Group(name, group, partition)) => {
                let hub = find_hub(connection, path, name)?;
                if !hub.has_group(group) {
                    return Err(error::not_found(&format!("{name}~{group}")));
                }
                let partition = find_partition(&hub, partition)?;
                Deliver::new(connection, path, hub, partition, group, attach).await.map(Self::Deliver)
            }
            _ => Err(error::not_found(path)),
        }
    }

    async fn receive(self, connection: &Arc<Connection>, receiver: Receiver) {
        match self {
            Self::Tokens(only) => {
                cbs::serve(connection, receiver).await;
                drop(only);
            }
            Self::Properties => management::serve(connection, receiver).await,
            Self::Publish(publish) => publish.serve(connection, receiver).await,
            Self::Refused(reason) => end_receiver(receiver, reason).await,
            Self::Answers(_) | Self::Deliver(_) => {} // of links in the other direction
        }
    }

    async fn send(self, connection: &Arc<Connection>, sender: Sender) {
        match self {
            Self::Answers(answers) => answers.serve(sender).await,
            Self::Deliver(deliver) => deliver.serve(connection, sender).await,
            Self::Refused(reason) => end_sender(sender, reason).await,
            Self::Tokens(_) | Self::Properties | Self::Publish(_) => {} // of links in the other direction
        }
    }
}

fn find_hub(connection: &Connection, path: &str, name: &str) -> Result<Arc<Hub>, Error> {
    if !connection.claims.allow(path) {
        return Err(error::no_claim(path));
    }
    connection.shared.namespace.hub(name).ok_or_else(|| error::not_found(name))
}

fn find_partition(hub: &Hub, id: &str) -> Result<(usize, Arc<Partition>), Error> {
    let found = id.parse().ok().and_then(|index| Some((index, hub.partition(index)?)));
    found.ok_or_else(|| error::no_partition(id, hub.count()))
}

/// A delivery, with its payload as it was sent.
pub(crate) struct Received {
    pub(crate) info: DeliveryInfo,
    pub(crate) format: u32,
    pub(crate) payload: Bytes,
}

/// Receives a delivery. Cancel-safe.
pub(crate) async fn receive(receiver: &mut Receiver) -> Result<Received, RecvError> {
    let delivery = receiver.recv::<Batch<Data>>().await?;
    let (info, format) = (DeliveryInfo::from(&delivery), delivery.message_format().unwrap_or(0));
    let mut sections = delivery.into_body().into_inner();
    let payload = if let [Data(only)] = &mut sections[..] {
        Bytes::from(std::mem::take(only).into_vec())
    } else {
        let mut payload = BytesMut::with_capacity(sections.iter().map(|Data(section)| section.len()).sum());
        for Data(section) in &sections {
            payload.extend_from_slice(section);
        }
        payload.freeze()
    };
    Ok(Received { info, format, payload })
}

pub(crate) async fn end_receiver(receiver: Receiver, reason: Error) {
    // Who does not answer is told all the same.
    let _ = timeout(DETACH, receiver.close_with_error(reason)).await;
}

pub(crate) async fn end_sender(sender: Sender, reason: Error) {
    let _ = timeout(DETACH, sender.close_with_error(reason)).await;
}
