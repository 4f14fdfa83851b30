//! A connection: who is let in, which sessions it has, and when it ends.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use fe2o3_amqp::{
    acceptor::{
        ConnectionAcceptor, ListenerConnectionHandle, SaslAcceptor, SessionAcceptor, sasl_acceptor::SaslServerFrame,
    },
    types::{
        definitions::{Error, Fields},
        primitives::{Array, Symbol, Value},
        sasl::{SaslCode, SaslInit, SaslOutcome, SaslResponse},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, duplex},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    claims::Claims,
    error,
    faults::Disruption,
    hub::LEAVING,
    link::Answer,
    open::Counted,
    record::Recorder,
    server::Shared,
    session,
    wire::{
        frame::{ENVELOPE, MOST},
        pump::Pump,
    },
};

/// How much may be between the socket and the library.
const PIPE: usize = 256 << 10;
/// How long a peer may take to answer a Close.
const CLOSE: Duration = Duration::from_secs(2);
/// How many sessions a connection may have, and how many links a session.
const SESSIONS: u16 = 255;
const LINKS: u32 = 255;
/// How many frames a session takes before it says that it takes more.
const WINDOW: u32 = 2048;

/// What the sessions and links of a connection share.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) shared: Arc<Shared>,
    pub(crate) claims: Claims,
    pub(crate) recorder: Recorder,
    /// One permit: for the only link to `$cbs`.
    cbs: Arc<Semaphore>,
    /// Cancelled to break the connection off.
    pub(crate) broken: CancellationToken,
    /// How many links there are, and whether there ever was one.
    links: watch::Sender<(usize, bool)>,
    answers: Mutex<HashMap<String, mpsc::Sender<Answer>>>,
}

/// Counts a link until it is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Arc<Connection>,
    _of_the_emulator: Counted,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.links.send_modify(|(count, _)| *count = count.saturating_sub(1));
    }
}

/// Serves a client until it leaves, idles too long, or the emulator stops.
pub(crate) async fn serve(
    socket: impl AsyncRead + AsyncWrite,
    shared: Arc<Shared>,
    number: u64,
    stop: CancellationToken,
) {
    let recorder = shared.records.of(number);
    let pump = Pump {
        largest_message: shared.config.largest_message,
        faults: shared.faults.clone(),
        recorder: recorder.clone(),
    };
    let connection = Arc::new(Connection {
        claims: Claims::new(shared.config.clock.clone(), shared.config.access.open),
        recorder,
        cbs: Arc::new(Semaphore::new(1)),
        broken: CancellationToken::new(),
        links: watch::Sender::default(),
        answers: Mutex::default(),
        shared,
    });
    let mut disruptions = connection.shared.faults.disruptions();
    let (library, ours) = duplex(PIPE);
    let pump = pump.run(socket, ours);
    tokio::pin!(pump);
    tokio::select! {
        outcome = &mut pump => if let Err(reason) = outcome {
            tracing::debug!(connection = number, %reason, "a connection broke off");
        },
        () = connection.amqp(library, stop) => {
            // The last frames of the library are still in flight.
            let _ = timeout(CLOSE, pump).await;
        }
        () = connection.broken.cancelled() => {}
        _ = disruptions.matching(|disruption| *disruption == Disruption::DropConnections) => {}
    }
}

impl Connection {
    async fn amqp(self: &Arc<Self>, library: DuplexStream, stop: CancellationToken) {
        let acceptor = ConnectionAcceptor::builder()
            .container_id("strait-eventhubs-emulator")
            .max_frame_size(u32::try_from(MOST + ENVELOPE).unwrap_or(u32::MAX))
            .channel_max(SESSIONS)
            .idle_time_out(240_000_u32)
            .sasl_acceptor(Sasl)
            .properties(fields("product", "strait-eventhubs-emulator"))
            .build();
        // A peer that says nothing has no link either.
        let opened = tokio::select! {
            opened = timeout(self.shared.config.idle.first_link, acceptor.accept(library)) => opened,
            () = stop.cancelled() => return,
        };
        let Ok(Ok(mut handle)) = opened else { return };
        if let Some(reason) = self.sessions(&mut handle, stop).await {
            let _ = timeout(CLOSE, handle.close_with_error(reason)).await;
        }
    }

    /// Serves sessions until the peer closes, or there is a reason for us to.
    async fn sessions(
        self: &Arc<Self>,
        handle: &mut ListenerConnectionHandle,
        stop: CancellationToken,
    ) -> Option<Error> {
        // The clients for Python read the last field of each Begin.
        let acceptor = SessionAcceptor::builder()
            .incoming_window(WINDOW)
            .outgoing_window(WINDOW)
            .handle_max(LINKS)
            .properties(fields("product", "strait-eventhubs-emulator"))
            .build();
        let mut disruptions = self.shared.faults.disruptions();
        let mut sessions = JoinSet::new();
        let end = async {
            tokio::select! {
                () = self.idle() => error::forced("The connection was inactive for longer than is allowed."),
                () = stop.cancelled() => error::forced("The emulator is shutting down."),
                _ = disruptions.matching(|disruption| *disruption == Disruption::CloseConnections) => {
                    error::forced("The connection was closed by the emulator, as it was asked to.")
                }
            }
        };
        tokio::pin!(end);
        loop {
            tokio::select! {
                reason = &mut end => return Some(reason),
                incoming = handle.next_incoming_session() => {
                    let session = acceptor.accept_incoming_session(incoming?, handle).await.ok()?;
                    sessions.spawn(session::serve(Arc::clone(self), session));
                }
                Some(_) = sessions.join_next(), if !sessions.is_empty() => {}
            }
        }
    }

    /// Counts a link.
    pub(crate) fn counted(self: &Arc<Self>) -> Link {
        self.links.send_modify(|(count, ever)| (*count, *ever) = (*count + 1, true));
        Link { connection: Arc::clone(self), _of_the_emulator: self.shared.gauge.link() }
    }

    /// Waits until the connection has had no link for too long.
    async fn idle(&self) {
        let mut links = self.links.subscribe();
        loop {
            let (count, ever) = *links.borrow_and_update();
            let idle = &self.shared.config.idle;
            let rule = if ever { idle.connection } else { idle.first_link };
            tokio::select! {
                _ = links.changed() => {} // the sender is ours
                () = sleep(rule), if count == 0 => return,
            }
        }
    }

    /// Names a link by which answers go out, until the guard is dropped.
    pub(crate) fn answer_by(self: &Arc<Self>, names: Vec<String>, link: &mpsc::Sender<Answer>) -> Named {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &names {
            answers.insert(name.clone(), link.clone());
        }
        Named { connection: Arc::clone(self), names, link: link.clone() }
    }

    /// The link of the first of these names that there is.
    pub(crate) fn answering(&self, names: [&str; 2]) -> Option<mpsc::Sender<Answer>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        names.into_iter().find_map(|name| answers.get(name).cloned())
    }

    /// Takes the place of the only link to `$cbs`, if it gets free in a moment: a client that detaches the link and attaches
    /// another hears of the first Detach before this side has forgotten it.
    pub(crate) async fn take_cbs(&self) -> Option<OwnedSemaphorePermit> {
        timeout(LEAVING, Arc::clone(&self.cbs).acquire_owned()).await.ok()?.ok()
    }
}

/// The names of a link by which answers go out.
#[derive(Debug)]
pub(crate) struct Named {
    connection: Arc<Connection>,
    names: Vec<String>,
    link: mpsc::Sender<Answer>,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut answers = self.connection.answers.lock().unwrap_or_else(PoisonError::into_inner);
        for name in &self.names {
            if answers.get(name).is_some_and(|link| link.same_channel(&self.link)) {
                answers.remove(name);
            }
        }
    }
}

pub(crate) fn fields(name: &str, value: &str) -> Fields {
    let mut fields = Fields::new();
    fields.insert(Symbol::from(name), Value::String(value.to_owned()));
    fields
}

/// Lets everybody in: what they may do is up to their tokens.
#[derive(Clone, Debug)]
struct Sasl;

impl SaslAcceptor for Sasl {
    fn mechanisms(&self) -> Array<Symbol> {
        Array::from(["ANONYMOUS", "MSSBCBS", "EXTERNAL"].map(Symbol::from).to_vec())
    }

    fn on_init(&mut self, _: SaslInit) -> SaslServerFrame {
        SaslServerFrame::Outcome(SaslOutcome { code: SaslCode::Ok, additional_data: None })
    }

    fn on_response(&mut self, _: SaslResponse) -> SaslServerFrame {
        SaslServerFrame::Outcome(SaslOutcome { code: SaslCode::Auth, additional_data: None })
    }
}
