//! A link that reads a partition.

use std::{
    collections::VecDeque,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use fe2o3_amqp::{
    Delivery, Receiver,
    connection::ConnectionStopReason,
    link::{
        LinkStateError, ReceiverAttachError, RecvError, SessionStopReason, delivery::DeliveryInfo, receiver::CreditMode,
    },
    session::SessionHandle,
};
use fe2o3_amqp_types::{
    definitions::{Fields, ReceiverSettleMode},
    messaging::{Body, FilterSet, Source},
    primitives::{Symbol, Value},
};
use futures_util::FutureExt as _;
use serde_amqp::{described::Described, descriptor::Descriptor};
use tokio::time::timeout;
use uuid::Uuid;

use super::{connection::Connection, line::Line, undecoded};
use crate::{
    codec::{Event, Undecodable, decode},
    error::Failed,
};

const SELECTOR: &str = "apache.org:selector-filter:string";
const SELECTOR_CODE: u64 = 0x0000_468C_0000_0004;
/// After how long without an event a draining link is taken for drained.
const QUIET: Duration = Duration::from_millis(50);
/// How many bytes an event is taken to have until some came.
const EVENT_BYTES: usize = 64 << 10;
/// Most events that are asked for at once. Credit cannot be taken back, so that so many may come after events grew.
const CREDIT: usize = 500;
/// Where reading starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the oldest event.
    Earliest,
    /// Behind the newest event.
    Latest,
    /// At the first event that was stored at this time or later.
    At(SystemTime),
    /// Behind the event of this number.
    After(u64),
}

impl Place {
    fn selector(self) -> String {
        match self {
            Self::Earliest => "amqp.annotation.x-opt-offset > '-1'".to_owned(),
            Self::Latest => "amqp.annotation.x-opt-offset > '@latest'".to_owned(),
            Self::At(time) => {
                let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
                // Whole milliseconds, rounded up, and less one: no client of Azure asks for >= a time.
                let millis = since.as_nanos().div_ceil(1_000_000);
                format!("amqp.annotation.x-opt-enqueued-time > '{}'", i128::try_from(millis).unwrap_or(i128::MAX) - 1)
            }
            Self::After(sequence) => format!("amqp.annotation.x-opt-sequence-number > '{sequence}'"),
        }
    }
}

/// What came.
#[derive(Debug)]
pub(crate) enum Read {
    /// An event.
    Event(Box<Event>),
    /// An event that cannot be decoded.
    Undecodable(Undecodable),
}

/// The events of a partition.
pub(crate) struct Events {
    /// None once it is being closed.
    link: Option<Link>,
    is_closed: bool,
    connection: Arc<Connection>,
    came: VecDeque<Read>,
    /// The deliveries that are not accepted yet.
    unaccepted: Vec<DeliveryInfo>,
    /// How many bytes an event has, as far as is known.
    event_bytes: usize,
    /// Why it is over, once all that came before is handed out.
    ended: Option<Failed>,
}

struct Link {
    receiver: Receiver,
    session: SessionHandle<()>,
}

impl Events {
    pub(crate) async fn open(line: &Line, address: &str, place: Place, epoch: i64) -> Result<Self, Failed> {
        let connection = line.get().await?;
        connection.claim(address).await?;
        let mut session = connection.session().await?;
        let mut filter = FilterSet::new();
        let selector =
            Described { descriptor: Descriptor::Code(SELECTOR_CODE), value: Value::String(place.selector()) };
        filter.insert(Symbol::from(SELECTOR), Value::Described(Box::new(selector)));
        let mut properties = Fields::new();
        properties.insert(Symbol::from("com.microsoft:epoch"), Value::Long(epoch));
        let receiver = Receiver::builder()
            .name(format!("strait-{}", Uuid::new_v4()))
            .source(Source::builder().address(address).filter(filter).build())
            .properties(properties)
            .receiver_settle_mode(ReceiverSettleMode::First)
            .credit_mode(CreditMode::Manual)
            .attach(&mut session)
            .await
            .map_err(|error| attach_failed(&error))?;
        Ok(Self {
            link: Some(Link { receiver, session }),
            is_closed: false,
            connection,
            came: VecDeque::new(),
            unaccepted: Vec::new(),
            event_bytes: EVENT_BYTES,
            ended: None,
        })
    }

    /// Waits for an event, for so long, and takes all that came, up to `most`. About `ahead` bytes may come meanwhile.
    /// Cancel-safe.
    pub(crate) async fn next(&mut self, most: usize, ahead: usize, patience: Duration) -> Result<Vec<Read>, Failed> {
        let Some(Link { receiver, .. }) = &mut self.link else { return Err(Failed::here("it is closed")) };
        if self.came.is_empty() {
            if let Some(failed) = &self.ended {
                return Err(failed.clone());
            }
            // As many as it may hold, once half of them came.
            let credit = u32::try_from((ahead / self.event_bytes).clamp(1, CREDIT)).unwrap_or(1);
            if receiver.credit() <= credit / 2 {
                let _ = receiver.set_credit(credit).await; // if it is over, what follows says why
            }
            if let Ok(event) = timeout(patience, receiver.recv::<Body<Value>>()).await {
                self.came.push_back(take_in(event, &mut self.unaccepted)?);
            }
        }
        while self.came.len() < most
            && self.ended.is_none()
            && let Some(event) = receiver.recv::<Body<Value>>().now_or_never()
        {
            match take_in(event, &mut self.unaccepted) {
                Ok(event) => self.came.push_back(event),
                Err(failed) => self.ended = Some(failed),
            }
        }
        if !self.unaccepted.is_empty() {
            let _ = receiver.accept_all(self.unaccepted.iter().cloned()).await; // the same
            self.unaccepted.clear();
        }
        let count = self.came.len().min(most);
        let events: Vec<_> = self.came.drain(..count).collect();
        for bytes in events.iter().filter_map(Read::bytes) {
            // Of what grows fewer are asked for at once, of what shrinks more by and by.
            self.event_bytes = bytes.max(usize::midpoint(bytes, self.event_bytes));
        }
        Ok(events)
    }

    /// Detaches. Events in flight are read first: a transfer to a link that is gone ends its session.
    pub(crate) async fn close(mut self) -> Result<(), Failed> {
        let here = |error: &dyn fmt::Display| Failed::here(error.to_string());
        let Some(Link { mut receiver, mut session }) = self.link.take() else { return Ok(()) };
        drain(&mut receiver).await;
        receiver.close().await.map_err(|error| here(&error))?;
        session.end().await.map_err(|error| here(&error))?;
        self.is_closed = true;
        Ok(())
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // An event that is in flight may end the connection: no new link is to be on it.
        if !self.is_closed {
            self.connection.give_up();
        }
    }
}

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Events").field("event_bytes", &self.event_bytes).finish_non_exhaustive()
    }
}

impl Read {
    fn bytes(&self) -> Option<usize> {
        match self {
            Self::Event(event) => Some(event.message.size().max(1)),
            Self::Undecodable(_) => None,
        }
    }
}

/// What is read of a delivery, which is to be accepted from then on.
fn take_in(
    delivery: Result<Delivery<Body<Value>>, RecvError>,
    unaccepted: &mut Vec<DeliveryInfo>,
) -> Result<Read, Failed> {
    match delivery {
        Ok(delivery) => {
            unaccepted.push(DeliveryInfo::from(&delivery));
            let bytes = undecoded::bytes(delivery.into_message().body).into();
            Ok(decode(&bytes).map_or_else(Read::Undecodable, |event| Read::Event(Box::new(event))))
        }
        Err(RecvError::MessageDecode(error)) => {
            unaccepted.push(error.info);
            Ok(Read::Undecodable(Undecodable { sequence: None }))
        }
        Err(error) => Err(failed(&error)),
    }
}

/// Drains the link: reads until nothing comes any more, or the link is over. The library does not tell when the peer has
/// answered the drain.
async fn drain(receiver: &mut Receiver) {
    if receiver.drain().await.is_err() {
        return;
    }
    while let Ok(came) = timeout(QUIET, receiver.recv::<Body<Value>>()).await {
        if came.is_err_and(|error| !matches!(error, RecvError::MessageDecode(_))) {
            return;
        }
    }
}

/// Why a link that reads is over.
pub(crate) fn failed(error: &RecvError) -> Failed {
    match error {
        RecvError::LinkStateError(error) => link_failed(error),
        other => Failed::here(other.to_string()),
    }
}

/// Why a link is over.
pub(crate) fn link_failed(error: &LinkStateError) -> Failed {
    match error {
        LinkStateError::RemoteDetachedWithError(error) | LinkStateError::RemoteClosedWithError(error) => {
            Failed::from(error)
        }
        LinkStateError::SessionStopped(reason) => stopped(reason),
        other => Failed::here(other.to_string()),
    }
}

/// Why a session is over.
pub(crate) fn stopped(reason: &SessionStopReason) -> Failed {
    match reason {
        SessionStopReason::RemoteEndedWithError(error)
        | SessionStopReason::ConnectionStopped(ConnectionStopReason::RemoteClosedWithError(error)) => {
            Failed::from(error)
        }
        SessionStopReason::ConnectionStopped(_) => Failed::here("the connection broke off"),
        _ => Failed::here("the session ended"),
    }
}

/// Why a link that reads was not attached.
pub(crate) fn attach_failed(error: &ReceiverAttachError) -> Failed {
    match error {
        ReceiverAttachError::RemoteClosedWithError(error) => Failed::from(error),
        ReceiverAttachError::SessionStopped(reason) => stopped(reason),
        other => Failed::here(other.to_string()),
    }
}
