//! A connection, and the claims that it has.

use std::{
    collections::HashSet,
    fmt,
    future::pending,
    io::{Error as IoError, Result as IoResult},
    sync::{
        Arc, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use fe2o3_amqp::{
    Connection as Amqp, Session,
    connection::{ConnectionHandle, OpenError},
    sasl_profile::SaslProfile,
    session::{BeginError, SessionHandle},
};
use fe2o3_amqp_types::{
    messaging::ApplicationProperties,
    primitives::{SimpleValue, Timestamp, Value},
};
use tokio::{
    net::TcpStream,
    sync::{Mutex, watch},
    task::AbortHandle,
    time::{Instant, sleep_until},
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::ServerName},
};
use uuid::Uuid;

use super::{
    node::Node,
    undecoded::{ENVELOPE, FRAME, Undecoded},
};
use crate::{Access, access::Token, error::Failed};

/// After how long without a frame the peer is dead: a frozen one shows within that, and the service closes what is silent for
/// four minutes.
const IDLE: Duration = Duration::from_mins(1);
/// A token is renewed when so much of what is left of its life is over, and tried again after the pause.
const RENEWED: (u32, u32) = (3, 4);
const PAUSE: Duration = Duration::from_secs(10);
/// A token is renewed no sooner.
const LEAST: Duration = Duration::from_secs(1);

/// A connection to the namespace.
pub(crate) struct Connection {
    access: Arc<Access>,
    handle: Mutex<ConnectionHandle<()>>,
    claims: Mutex<Claims>,
    /// Whether a link on it is in an unknown state.
    is_broken: AtomicBool,
    /// When claims are to be renewed, once there are some. Changed with `claims` locked.
    due: watch::Sender<Option<Instant>>,
    renewing: OnceLock<AbortHandle>,
}

/// The claims to use entities, and the node that grants them.
struct Claims {
    cbs: Node,
    entities: HashSet<String>,
}

impl Connection {
    /// Connects. Cancel-safe.
    pub(crate) async fn open(access: &Arc<Access>) -> Result<Arc<Self>, Failed> {
        let address = format!("{}:{}", access.host, access.port);
        let unreachable = |error: IoError| Failed::here(format!("cannot connect to {address}: {error}"));
        let host = access.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, access.port)).await.map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let refused = |error: OpenError| match &error {
            OpenError::RemoteClosedWithError(error) => Failed::from(error),
            other => Failed::here(format!("cannot connect to {address}: {other}")),
        };
        let builder = Amqp::builder()
            .container_id(format!("strait-{}", Uuid::new_v4()))
            .hostname(host)
            .channel_max(u16::MAX) // there is a session for each partition
            .max_frame_size(u32::try_from(FRAME + ENVELOPE).unwrap_or(u32::MAX))
            .idle_time_out(u32::try_from(IDLE.as_millis()).unwrap_or(u32::MAX))
            .sasl_profile(SaslProfile::Anonymous);
        let mut handle = if access.tls {
            let name = ServerName::try_from(host.to_owned()).map_err(|error| Failed::here(error.to_string()))?;
            let stream = TlsConnector::from(tls().map_err(unreachable)?).connect(name, stream).await;
            let stream = Undecoded::new(stream.map_err(unreachable)?);
            builder.scheme("amqps").open_with_stream(stream).await.map_err(refused)?
        } else {
            builder.scheme("amqp").open_with_stream(Undecoded::new(stream)).await.map_err(refused)?
        };
        let cbs = Node::attach(begin(&mut handle).await?, "$cbs").await?;
        let connection = Arc::new(Self {
            access: Arc::clone(access),
            handle: Mutex::new(handle),
            claims: Mutex::new(Claims { cbs, entities: HashSet::new() }),
            is_broken: AtomicBool::new(false),
            due: watch::Sender::default(),
            renewing: OnceLock::new(),
        });
        let renewing = tokio::spawn(renew(Arc::downgrade(&connection), connection.due.subscribe()));
        let _ = connection.renewing.set(renewing.abort_handle()); // it is the first
        Ok(connection)
    }

    /// Whether links may be attached to it.
    pub(crate) fn is_sound(&self) -> bool {
        // Who holds the handle begins a session, and will see.
        !self.is_broken.load(Relaxed) && self.handle.try_lock().map_or(true, |handle| !handle.is_closed())
    }

    /// Takes no new links. It ends with its last link.
    pub(crate) fn give_up(&self) {
        self.is_broken.store(true, Relaxed);
    }

    /// A new session. Cancel-safe: what was begun ends with the connection.
    pub(crate) async fn session(&self) -> Result<SessionHandle<()>, Failed> {
        begin(&mut *self.handle.lock().await).await
    }

    /// Asks for the claim to use an entity, which is renewed from then on.
    pub(crate) async fn claim(&self, entity: &str) -> Result<(), Failed> {
        let mut claims = self.claims.lock().await;
        if claims.entities.contains(entity) {
            return Ok(());
        }
        let due = self.put(&mut claims.cbs, entity).await?;
        claims.entities.insert(entity.to_owned());
        self.due.send_if_modified(|earliest| {
            let is_earlier = earliest.is_none_or(|earliest| due < earliest);
            if is_earlier {
                *earliest = Some(due);
            }
            is_earlier
        });
        Ok(())
    }

    /// Puts a token, and says when it is to be renewed.
    async fn put(&self, cbs: &mut Node, entity: &str) -> Result<Instant, Failed> {
        let Token { kind, text, expiry } = self.access.token(entity).await?;
        let left = expiry.duration_since(SystemTime::now()).unwrap_or(Duration::ZERO);
        let due = Instant::now() + (left * RENEWED.0 / RENEWED.1).max(LEAST);
        let millis = expiry.duration_since(std::time::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_millis();
        let expiry = Timestamp::from_milliseconds(i64::try_from(millis).unwrap_or(i64::MAX));
        let mut properties = ApplicationProperties::default();
        for (name, value) in [
            ("operation", SimpleValue::String("put-token".to_owned())),
            ("type", SimpleValue::String(kind.to_owned())),
            ("name", SimpleValue::String(self.access.audience(entity))),
            ("expiration", SimpleValue::Timestamp(expiry)),
        ] {
            properties.0.insert(name.to_owned(), value);
        }
        // A call that is dropped here leaves an answer behind, which the next one passes over.
        cbs.ask(properties, Value::String(text)).await?;
        Ok(due)
    }

    /// Renews all claims, and plans when to do it again.
    async fn renew(&self) -> Result<(), Failed> {
        let mut claims = self.claims.lock().await;
        self.due.send_replace(Some(Instant::now() + PAUSE)); // if it fails
        let entities: Vec<_> = claims.entities.iter().cloned().collect();
        let mut earliest = None;
        for entity in entities {
            let due = self.put(&mut claims.cbs, &entity).await?;
            earliest = Some(earliest.map_or(due, |earliest: Instant| earliest.min(due)));
        }
        self.due.send_replace(earliest);
        Ok(())
    }

    fn stop_renewing(&self) {
        if let Some(renewing) = self.renewing.get() {
            renewing.abort();
        }
    }

    /// Closes it, and all that is on it.
    pub(crate) async fn close(&self) {
        self.give_up();
        self.stop_renewing();
        let _ = self.handle.lock().await.close().await; // it may be closed
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.stop_renewing();
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("host", &self.access.host).finish_non_exhaustive()
    }
}

async fn begin(handle: &mut ConnectionHandle<()>) -> Result<SessionHandle<()>, Failed> {
    // Frames wait in windows of links, which are bounded in messages.
    let window = u32::from(u16::MAX);
    let begun = Session::builder().incoming_window(window).outgoing_window(window).begin(handle).await;
    begun.map_err(|error| match &error {
        BeginError::RemoteEndedWithError(error) => Failed::from(error),
        other => Failed::here(other.to_string()),
    })
}

/// Renews the claims of a connection for as long as there is one.
async fn renew(connection: Weak<Connection>, mut due: watch::Receiver<Option<Instant>>) {
    loop {
        let now = *due.borrow_and_update();
        let until = async {
            match now {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = until => {}
            changed = due.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        }
        let Some(connection) = connection.upgrade().filter(|connection| connection.is_sound()) else { return };
        if let Err(failed) = connection.renew().await {
            let error = failed.into_error("cannot renew a token");
            tracing::warn!(%error, "a token cannot be renewed, and is tried again");
        }
    }
}

/// The certificates of the machine, as they were at the first connection.
fn tls() -> IoResult<Arc<ClientConfig>> {
    static CONFIG: std::sync::Mutex<Option<Arc<ClientConfig>>> = std::sync::Mutex::new(None);
    let mut config = CONFIG.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = &*config {
        return Ok(Arc::clone(config));
    }
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(IoError::other("this machine has no certificates of authorities"));
    }
    let made = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(IoError::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::clone(config.insert(Arc::new(made))))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strait_eventhubs_emulator::{Config, Emulator, HubSettings, Recorded};
    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::client::{Client, Target};

    /// azure-sdk-for-rust#4931: what is closed stays connected.
    #[tokio::test]
    async fn tokens_are_renewed_before_they_expire() {
        let emulator = Emulator::start(Config::default().hub(HubSettings::new("orders", 1))).await.unwrap();
        let mut access = Access::parse(&emulator.connection_string("orders")).unwrap();
        access.token_life = Duration::from_secs(6); // a token says it in whole seconds
        let client = Client::new(&Arc::new(access), "orders");
        client.largest(Target::Hub).await.unwrap();
        let puts =
            || emulator.records().iter().filter(|record| matches!(record.sent, Recorded::PutToken { .. })).count();
        let links = emulator.open().borrow().links;
        let renewed = async {
            while puts() < 3 {
                sleep(Duration::from_millis(50)).await;
            }
        };
        timeout(Duration::from_secs(30), renewed).await.expect("it is renewed");
        assert_eq!(emulator.open().borrow().links, links, "no link was detached for its token");
        client.close().await;
        emulator.open().wait_for(|open| open.connections == 0).await.unwrap();
    }
}
