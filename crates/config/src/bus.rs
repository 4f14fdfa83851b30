use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::future::join_all;
use strait_core::{Error, ErrorKind, Observer, Result};
use strait_runtime::{DeadLetter, Meter, Receiver, ReceiverSettings, Redrive, Sender, WeakReceiver, Worker};
use tokio::{sync::OnceCell, time::Instant};

use crate::{
    Builder, BusHealth,
    document::Document,
    fields::{Fields, near},
    provider::{Connection, Needs, Registry},
    schema::{Link, ReceiverTable, Schema, SenderTable},
    tries::try_until,
};

/// The channels that configuration names, opened when they are asked for.
///
/// Clones are handles of the same bus. Each channel is opened for itself: a service that does not answer holds up those that
/// ask for the same channel, and nobody else.
#[derive(Clone, Debug)]
pub struct Bus {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    schema: Schema,
    registry: Registry,
    observer: Arc<dyn Observer>,
    open: Mutex<Open>,
}

/// What is open. Of each name it is opened by who asks first, and the others wait for that.
#[derive(Debug, Default)]
struct Open {
    connections: HashMap<String, Arc<OnceCell<Arc<dyn Connection>>>>,
    senders: HashMap<String, Arc<OnceCell<Sender>>>,
    receivers: Vec<Opened>,
    closed: bool,
}

/// A receiver that was opened, and the time that it has to drain. Dropping a receiver closes it: the bus must not keep it
/// open.
#[derive(Debug)]
struct Opened {
    name: String,
    receiver: WeakReceiver,
    drain: Duration,
}

/// How long a close takes without receivers, and how long senders have at least once the receivers are closed.
const CLOSE: Duration = Duration::from_secs(30);
const SENDERS: Duration = Duration::from_secs(5);

impl Bus {
    /// Begins a bus with these providers.
    pub fn builder(registry: Registry) -> Builder {
        Builder::new(registry)
    }

    pub(crate) fn new(schema: Schema, registry: Registry, observer: Arc<dyn Observer>) -> Self {
        Self { shared: Arc::new(Shared { schema, registry, observer, open: Mutex::default() }) }
    }

    /// The sender of this name; later calls return handles of the same one. Cancel-safe: the next call opens it then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if no sender is called so, [`ErrorKind::Closed`] once the bus is closed; what the provider says
    /// that cannot open it.
    pub async fn sender(&self, name: &str) -> Result<Sender> {
        self.sender_by(name, self.open_by()).await
    }

    async fn sender_by(&self, name: &str, end: Instant) -> Result<Sender> {
        let senders = &self.shared.schema.senders;
        let table = senders.get(name).ok_or_else(|| unknown("sender", name, senders))?;
        let cell = Arc::clone(self.open()?.senders.entry(name.to_owned()).or_default());
        let open = || try_until(name, end, || self.open_sender(name, table));
        let sender = cell.get_or_try_init(open).await?.clone();
        // What opened while the bus closed is closed with its last handle, which is here.
        self.open().map(|_| sender)
    }

    async fn open_sender(&self, name: &str, table: &SenderTable) -> Result<Sender> {
        let connection = self.connect(&table.connection).await?;
        let mut settings = table.settings.clone();
        settings.observer = Arc::clone(&self.shared.observer);
        let producer = connection.producer(table.on.clone()).await?;
        Sender::new(producer, settings).map_err(|error| of_table(&table.fields, name, error))
    }

    /// A receiver of this name; each call opens another member of its group. Cancel-safe: what was opened is closed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if no receiver is called so, [`ErrorKind::Unsupported`] if the provider cannot keep what is
    /// asked for, [`ErrorKind::Closed`] once the bus is closed; what the provider says that cannot open it.
    pub async fn receiver(&self, name: &str) -> Result<Receiver> {
        let table = self.receiver_table(name)?;
        let end = self.open_by();
        let dead_letter = match table.dead_letter.as_str() {
            "discard" => DeadLetter::Discard,
            "block" => DeadLetter::Block,
            sender => DeadLetter::Channel(self.sender_by(sender, end).await?),
        };
        self.receiver_by(name, table, dead_letter, end).await
    }

    async fn receiver_by(
        &self,
        name: &str,
        table: &ReceiverTable,
        dead_letter: DeadLetter,
        end: Instant,
    ) -> Result<Receiver> {
        let receiver = try_until(name, end, || self.open_receiver(name, table, dead_letter.clone())).await?;
        let mut open = self.open()?;
        open.receivers.retain(|opened| opened.receiver.upgrade().is_some());
        open.receivers.push(Opened { name: name.to_owned(), receiver: receiver.downgrade(), drain: table.drain });
        Ok(receiver)
    }

    fn receiver_table(&self, name: &str) -> Result<&ReceiverTable> {
        let receivers = &self.shared.schema.receivers;
        receivers.get(name).ok_or_else(|| unknown("receiver", name, receivers))
    }

    async fn open_receiver(&self, name: &str, table: &ReceiverTable, dead_letter: DeadLetter) -> Result<Receiver> {
        let connection = self.connect(&table.connection).await?;
        let meter = Meter::over(Arc::clone(&self.shared.observer));
        let mut settings = ReceiverSettings::new(dead_letter).named(name);
        (settings.ordering, settings.retry, settings.oversize) = (table.ordering, table.retry, table.oversize);
        (settings.in_flight, settings.buffer, settings.buffer_bytes) =
            (table.in_flight, table.buffer, table.buffer_bytes);
        settings.prefetch = table.prefetch;
        (settings.drain, settings.meter) = (table.drain, meter.clone());
        let needs = Needs::new(table.ordering, table.buffer, table.buffer_bytes, Arc::new(meter));
        let consumer = connection.consumer(table.on.clone(), needs).await?;
        let guarantees = consumer.guarantees();
        if table.ordering > guarantees.ordering {
            let reason =
                format!("\"key\" is asked for, but {} keeps no order on {:?}", guarantees.provider, guarantees.source);
            return Err(Error::new(ErrorKind::Unsupported, table.fields.sentence("ordering", reason)));
        }
        Receiver::new(consumer, settings).map_err(|error| of_table(&table.fields, name, error))
    }

    /// A worker on a receiver of this name.
    ///
    /// # Errors
    ///
    /// As [`receiver`](Self::receiver).
    pub async fn worker(&self, name: &str) -> Result<Worker> {
        Ok(Worker::new(self.receiver(name).await?))
    }

    /// Sends dead letters again: what the receiver `from` receives goes by the sender `to`, as it was before it died. It
    /// begins with [`Redrive::run`]. The receiver's own `retry` and `dead_letter` do not count: a letter that cannot be
    /// sent stays where it is.
    ///
    /// ```no_run
    /// # async fn example(bus: strait_config::Bus) -> strait_core::Result<()> {
    /// let redriven = bus.redrive("failed", "orders").await?.limit(1000).run().await?;
    /// println!("{} sent again, {} died again meanwhile", redriven.sent, redriven.left);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`receiver`](Self::receiver) and [`sender`](Self::sender).
    pub async fn redrive(&self, from: &str, to: &str) -> Result<Redrive> {
        let to = self.sender(to).await?;
        let mut table = self.receiver_table(from)?.clone();
        table.retry.attempts = u32::MAX;
        Ok(Redrive::new(self.receiver_by(from, &table, DeadLetter::Block, self.open_by()).await?, to))
    }

    /// The key paths of tables that were left alone, since their provider is known and not compiled in.
    pub fn left_alone(&self) -> &[String] {
        &self.shared.schema.left_alone
    }

    async fn connect(&self, name: &str) -> Result<Arc<dyn Connection>> {
        let cell = Arc::clone(self.open()?.connections.entry(name.to_owned()).or_default());
        let open = async || {
            let Schema { connections, receivers, .. } = &self.shared.schema;
            let (provider, fields) = match connections.get(name).cloned() {
                Some(Link { provider, fields }) => (provider, fields),
                None => (name.to_owned(), Document::default().fields()),
            };
            let registry = &self.shared.registry;
            let provider = registry.get(&provider).ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("the provider {provider:?} is not compiled in"))
            })?;
            let receivers = receivers.values().filter(|receiver| receiver.connection == name);
            provider.connect(fields, receivers.map(|receiver| receiver.on.clone()).collect()).await
        };
        cell.get_or_try_init(open).await.cloned()
    }

    /// Closes every receiver, drained, and then every sender, flushed, and opens nothing more.
    ///
    /// It takes at most the longest `drain` of the receivers that are open, or 30 s without one, and 6 s: senders have what
    /// the receivers leave of the time to drain, and 5 s at least. What they have not sent by then is ended as not sent, or
    /// as unknown. Idempotent. Cancel-safe: a later call goes on.
    ///
    /// # Errors
    ///
    /// The first that a provider reported; [`ErrorKind::Unavailable`] if something was not sent in time. Everything is closed
    /// all the same.
    pub async fn close(&self) -> Result<()> {
        let start = Instant::now();
        let (receivers, senders) = {
            let mut open = self.lock();
            open.closed = true;
            let receivers = open.receivers.iter().filter_map(|opened| Some((opened.receiver.upgrade()?, opened.drain)));
            let senders = open.senders.values().filter_map(|sender| sender.get().cloned());
            (receivers.collect::<Vec<_>>(), senders.collect::<Vec<_>>())
        };
        let drain = receivers.iter().map(|(_, drain)| *drain).max().unwrap_or(CLOSE);
        let drained = join_all(receivers.iter().map(|(receiver, _)| receiver.close())).await;
        let left = drain.saturating_sub(start.elapsed()).max(SENDERS);
        let flushed = join_all(senders.iter().map(|sender| sender.close_within(left))).await;
        drained.into_iter().chain(flushed).collect()
    }

    /// How the open channels are: senders, and receivers that are not dropped.
    pub fn health(&self) -> BusHealth {
        let open = self.lock();
        let mut health = BusHealth::default();
        for (name, sender) in &open.senders {
            if let Some(sender) = sender.get() {
                health.senders.insert(name.clone(), sender.health());
            }
        }
        for opened in &open.receivers {
            if let Some(receiver) = opened.receiver.upgrade() {
                health.receivers.entry(opened.name.clone()).or_default().push(receiver.health());
            }
        }
        health
    }

    /// Until when a channel that is opened now is tried.
    fn open_by(&self) -> Instant {
        Instant::now() + self.shared.schema.open_within
    }

    fn open(&self) -> Result<MutexGuard<'_, Open>> {
        let open = self.lock();
        if open.closed {
            return Err(Error::new(ErrorKind::Closed, "the bus is closed"));
        }
        Ok(open)
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.shared.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a channel says of its settings, as of the table that they come from: `{name}: {field}: {reason}`.
fn of_table(fields: &Fields, name: &str, error: Error) -> Error {
    let text = error.to_string();
    let text = text.strip_prefix(name).and_then(|text| text.strip_prefix(": ")).unwrap_or(&text);
    let sentence = match text.split_once(": ") {
        Some((field, reason)) => fields.sentence(field, reason),
        None => fields.sentence("", text),
    };
    Error::new(error.kind(), sentence).with_source(error)
}

fn unknown<T>(what: &str, name: &str, all: &BTreeMap<String, T>) -> Error {
    let hint =
        near(name, all.keys().map(String::as_str)).map_or_else(String::new, |near| format!("; did you mean {near:?}?"));
    Error::new(ErrorKind::Config, format!("no {what} is called {name:?} in the configuration{hint}"))
}
