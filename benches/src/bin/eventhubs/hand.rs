//! The same by hand: loops on the AMQP library that the adapter is on, with events that carry the same.

use std::{collections::VecDeque, hint::black_box, sync::Arc};

use fe2o3_amqp::{
    Connection, Receiver, Sendable, Sender, Session,
    connection::ConnectionHandle,
    link::{RecvError, SendError, delivery::DeliveryInfo, receiver::CreditMode},
    sasl_profile::SaslProfile,
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    definitions::ReceiverSettleMode,
    messaging::{
        Batch, Body, Data, Message, Outcome, Properties, annotations::OwnedKey, message::__private::Serializable,
    },
    primitives::{Binary, Symbol, Value},
};
use futures_util::FutureExt as _;
use strait_benches::Gauge;
use tokio::{net::TcpStream, task::JoinSet};

use crate::{HUB, Load, PARTITIONS, Result};

/// How many events a link may bring before it is told that it may bring more.
const CREDIT: u32 = 500;
/// How many events are accepted at once.
const ACCEPTED: usize = 100;
/// How many requests are under way, as with a `Sender`.
const IN_FLIGHT: usize = 8;
/// The message format of a batch.
const BATCH: u32 = 0x8001_3700;

async fn connect(address: &str) -> Result<ConnectionHandle<()>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let connection = Connection::builder()
        .container_id("by-hand")
        .hostname("localhost")
        .scheme("amqp")
        .max_frame_size(65_536_u32)
        .sasl_profile(SaslProfile::Anonymous);
    Ok(connection.open_with_stream(stream).await?)
}

async fn session(connection: &mut ConnectionHandle<()>) -> Result<SessionHandle<()>> {
    let window = u32::from(u16::MAX);
    Ok(Session::builder().incoming_window(window).outgoing_window(window).begin(connection).await?)
}

/// Reads all partitions from the beginning, each by a session and a task of its own.
pub(crate) async fn work(address: &str, gauge: Arc<Gauge>, messages: usize) -> Result<()> {
    let mut connection = connect(address).await?;
    let mut tasks = JoinSet::new();
    for partition in 0..PARTITIONS {
        let mut session = session(&mut connection).await?;
        let receiver = Receiver::builder()
            .name(format!("by-hand-{partition}"))
            .source(format!("{HUB}/ConsumerGroups/$Default/Partitions/{partition}"))
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Auto(CREDIT))
            .attach(&mut session)
            .await?;
        let gauge = Arc::clone(&gauge);
        tasks.spawn(async move {
            let read = read(receiver, gauge, messages / PARTITIONS).await;
            session.end().await?;
            read
        });
    }
    tasks.join_all().await.into_iter().collect::<Result<()>>()?;
    let _ = connection.close().await; // all is settled; it may be closed
    Ok(())
}

async fn read(mut receiver: Receiver, gauge: Arc<Gauge>, messages: usize) -> Result<()> {
    let sequence = OwnedKey::from(Symbol::from("x-opt-sequence-number"));
    let mut unaccepted = Vec::with_capacity(ACCEPTED);
    let mut count = 0;
    while count < messages {
        let mut came: Option<Result<_, RecvError>> = Some(receiver.recv::<Body<Value>>().await);
        while let Some(delivery) = came {
            let delivery = delivery?;
            unaccepted.push(DeliveryInfo::from(&delivery));
            let message = delivery.into_message();
            let position = message.message_annotations.as_ref().and_then(|annotations| annotations.0.get(&sequence));
            let Body::Data(data) = &message.body else { return Err("an event without data".into()) };
            black_box((position, data.iter().map(|data| data.0.len()).sum::<usize>()));
            gauge.hit(1);
            count += 1;
            came = if unaccepted.len() < ACCEPTED && count < messages {
                receiver.recv::<Body<Value>>().now_or_never()
            } else {
                None
            };
        }
        receiver.accept_all(unaccepted.drain(..)).await?;
    }
    Ok(receiver.close().await?)
}

/// Sends in batches to the hub. `bare`, the events have no id, and are put together as bytes.
pub(crate) async fn send(address: &str, gauge: Arc<Gauge>, load: Load, bare: bool) -> Result<()> {
    let mut connection = connect(address).await?;
    let mut session = session(&mut connection).await?;
    let mut sender = Sender::attach(&mut session, "by-hand", HUB).await?;
    let (mut in_flight, mut number) = (VecDeque::new(), 0);
    while !gauge.is_done() {
        if in_flight.len() == IN_FLIGHT
            && let Some(oldest) = in_flight.pop_front()
        {
            settle(oldest).await?;
            gauge.hit(load.batch);
        }
        let request = request(load, load.batch, bare, &mut number)?;
        in_flight.push_back(sender.send_batchable(request).await?);
    }
    for request in in_flight {
        settle(request).await?;
    }
    let _ = connection.close().await; // all is settled; it may be closed
    Ok(())
}

/// Sends one by one, as `send_event` of Azure's clients does.
pub(crate) async fn send_single(address: &str, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let mut connection = connect(address).await?;
    let mut session = session(&mut connection).await?;
    let mut sender = Sender::attach(&mut session, "by-hand", HUB).await?;
    let mut number = 0;
    while !gauge.is_done() {
        settle(sender.send_batchable(request(load, 1, false, &mut number)?).await?).await?;
        gauge.hit(1);
    }
    let _ = connection.close().await; // all is settled; it may be closed
    Ok(())
}

/// Stores so many events, the same number in each partition.
pub(crate) async fn fill(address: &str, load: Load, messages: usize) -> Result<()> {
    let mut connection = connect(address).await?;
    let mut number = 0;
    for partition in 0..PARTITIONS {
        let mut session = session(&mut connection).await?;
        let target = format!("{HUB}/Partitions/{partition}");
        let mut sender = Sender::attach(&mut session, target.clone(), target).await?;
        let mut rest = messages / PARTITIONS;
        while rest > 0 {
            let count = rest.min(ACCEPTED);
            settle(sender.send_batchable(request(load, count, false, &mut number)?).await?).await?;
            rest -= count;
        }
    }
    let _ = connection.close().await; // all is settled; it may be closed
    Ok(())
}

async fn settle(request: impl Future<Output = Result<Outcome, SendError>>) -> Result<()> {
    match request.await? {
        Outcome::Accepted(_) => Ok(()),
        outcome => Err(format!("{outcome:?}").into()),
    }
}

fn request(load: Load, count: usize, bare: bool, number: &mut u64) -> Result<Sendable<Batch<Data>>> {
    let event = |_| {
        *number += 1;
        if bare { Ok(bare_event(load.payload)) } else { event(load.payload, *number) }
    };
    let data = |event: Vec<u8>| Data(Binary::from(event));
    let events: Vec<_> = (0..count).map(event).map(|event| event.map(data)).collect::<Result<_>>()?;
    let body = Batch::new(events);
    Ok(Sendable { message: Message::builder().body(body).build(), message_format: BATCH, settled: None })
}

/// An event with an id, as the library encodes it.
fn event(payload: &[u8], number: u64) -> Result<Vec<u8>> {
    let id = format!("00000000-0000-4000-8000-{number:012x}");
    let properties = Properties::builder().message_id(id).build();
    let message = Message::builder().properties(properties).data(Binary::from(payload.to_vec())).build();
    Ok(serde_amqp::to_vec(&Serializable(message))?)
}

/// The section of its data alone.
fn bare_event(payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&[0, 0x53, 0x75, 0xb0][..], &length, payload].concat()
}
