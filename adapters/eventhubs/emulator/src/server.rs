//! The emulator: what listens, and what all connections share.

use std::{fmt, io, net::SocketAddr, sync::Arc, time::Duration};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    connection,
    faults::{Faults, control},
    hub::{HubError, Namespace},
    open::{Gauge, Open},
    record::{Record, Records},
    tls,
};

/// How many connections there may be at once: as many as to a standard namespace.
const CONNECTIONS: usize = 5000;
/// The segments of TCP. On loopback they would be so large that Azure's client for Python, which halves what it finds,
/// asks the system for more than that allows.
const SEGMENT: u32 = 16_384;
/// How long a TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(30);

/// What all connections share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) namespace: Namespace,
    pub(crate) faults: Faults,
    pub(crate) records: Records,
    pub(crate) gauge: Gauge,
}

/// A running emulator. It stops when it is shut down or dropped.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    address: SocketAddr,
    control: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

/// Why an emulator does not start.
#[derive(Debug)]
#[non_exhaustive]
pub enum StartError {
    /// Plaintext was to be served to other machines, without `plaintext_anywhere`.
    Plaintext(SocketAddr),
    /// The certificate or the key cannot be used.
    Tls(String),
    /// A hub cannot be created.
    Hub(HubError),
    /// The address cannot be listened at.
    Listen(SocketAddr, io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plaintext(address) => {
                write!(f, "{address} is not a loopback address: plaintext_anywhere allows that, or name a certificate")
            }
            Self::Tls(reason) => write!(f, "TLS cannot be served: {reason}"),
            Self::Hub(error) => error.fmt(f),
            Self::Listen(address, error) => write!(f, "cannot listen at {address}: {error}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Hub(error) => Some(error),
            Self::Listen(_, error) => Some(error),
            _ => None,
        }
    }
}

impl Emulator {
    /// Starts to serve on the current tokio runtime.
    ///
    /// # Errors
    ///
    /// A setting is invalid, or an address cannot be listened at.
    #[allow(clippy::unused_async, reason = "it needs a runtime, which an async function has")]
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let allowed = |address: SocketAddr| address.ip().is_loopback() || config.plaintext_anywhere;
        let plain = [config.tls.is_none().then_some(config.listen), config.control];
        if let Some(address) = plain.into_iter().flatten().find(|address| !allowed(*address)) {
            return Err(StartError::Plaintext(address));
        }
        let tls = config.tls.as_ref().map(tls::acceptor).transpose().map_err(StartError::Tls)?;
        let namespace = Namespace::new(config.clock.clone());
        for hub in &config.hubs {
            namespace.create(hub.clone()).map_err(StartError::Hub)?;
        }
        let (listener, address) = listen(config.listen)?;
        let control = config.control.map(listen).transpose()?;
        let control_address = control.as_ref().map(|(_, address)| *address);
        let (faults, records, gauge) = (Faults::default(), Records::default(), Gauge::default());
        let shared = Arc::new(Shared { config, namespace, faults, records, gauge });
        let stop = CancellationToken::new();
        let mut tasks = vec![tokio::spawn(serve(listener, tls, Arc::clone(&shared), stop.clone()))];
        if let Some((listener, _)) = control {
            tasks.push(tokio::spawn(control::serve(listener, Arc::clone(&shared), stop.clone())));
        }
        Ok(Self { shared, address, control: control_address, stop, tasks })
    }

    /// The address that AMQP is served at.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the HTTP control port, if there is one.
    pub fn control(&self) -> Option<SocketAddr> {
        self.control
    }

    /// The connection string of a hub for Azure's clients, with the first of the keys.
    pub fn connection_string(&self, hub: &str) -> String {
        let (name, key) = self.shared.config.access.keys.first_key_value().map_or(("", ""), |(name, key)| (name, key));
        let local = if self.shared.config.tls.is_none() { "UseDevelopmentEmulator=true;" } else { "" };
        let port = self.address.port();
        format!(
            "Endpoint=sb://localhost:{port};SharedAccessKeyName={name};SharedAccessKey={key};{local}EntityPath={hub}"
        )
    }

    /// Creates, grows and deletes hubs.
    pub fn namespace(&self) -> &Namespace {
        &self.shared.namespace
    }

    /// Injects faults.
    pub fn faults(&self) -> &Faults {
        &self.shared.faults
    }

    /// The numbers of open connections and links, to look at and to wait for.
    pub fn open(&self) -> watch::Receiver<Open> {
        self.shared.gauge.follow()
    }

    /// The newest thousand records of what clients sent.
    pub fn records(&self) -> Vec<Record> {
        self.shared.records.all()
    }

    /// Closes all connections, and returns once every task has ended: within about 10 seconds.
    ///
    /// Not cancel-safe: once dropped, the rest is closed in the background.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        self.shared.faults.freeze(false);
        for task in self.tasks.drain(..) {
            let _ = task.await; // what panicked is over too
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr), StartError> {
    let bound = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_tcp_mss(SEGMENT)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        let listener = TcpListener::from_std(socket.into())?;
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    bound().map_err(|error| StartError::Listen(address, error))
}

async fn serve(listener: TcpListener, tls: Option<TlsAcceptor>, shared: Arc<Shared>, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    let mut number = 0;
    loop {
        tokio::select! {
            () = stop.cancelled() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS => match accepted {
                Ok((socket, _)) => {
                    connections.spawn(handle(socket, tls.clone(), Arc::clone(&shared), number, stop.clone()));
                    number += 1;
                }
                Err(error) => {
                    // Too many files are open, or the peer has gone already.
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn handle(
    socket: TcpStream,
    tls: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    number: u64,
    stop: CancellationToken,
) {
    let _counted = shared.gauge.connection();
    let _ = socket.set_nodelay(true); // it may be gone
    let Some(tls) = tls else { return connection::serve(socket, shared, number, stop).await };
    tokio::select! {
        accepted = timeout(HANDSHAKE, tls.accept(socket)) => match accepted {
            Ok(Ok(socket)) => connection::serve(socket, shared, number, stop.clone()).await,
            Ok(Err(error)) => tracing::debug!(connection = number, %error, "a TLS handshake failed"),
            Err(_) => tracing::debug!(connection = number, "a TLS handshake took too long"),
        },
        () = stop.cancelled() => {}
    }
}
