use std::{
    collections::{BTreeMap, HashMap},
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use strait_core::{Error, ErrorKind, Observer, Result, Unobserved};
use strait_runtime::{DeadLetter, Meter, Receiver, ReceiverSettings, Sender, WeakReceiver, Worker};
use tokio::sync::Mutex;

use crate::{
    document::Document,
    expand::Environment,
    fields::{Fields, near, report},
    provider::{Connection, Needs, Registry},
    schema::{self, Link, Schema},
};

/// The channels that configuration names, opened when they are asked for.
///
/// Clones are handles of the same bus.
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

#[derive(Debug, Default)]
struct Open {
    connections: HashMap<String, Arc<dyn Connection>>,
    senders: HashMap<String, Sender>,
    /// Whoever drops a receiver closes it: the bus must not keep it open.
    receivers: Vec<WeakReceiver>,
}

/// One file, or several of which later ones win.
pub trait IntoFiles {
    /// Their paths.
    fn into_files(self) -> Vec<PathBuf>;
}

/// Each of these is one path.
macro_rules! one_file {
    ($($path:ty),*) => {
        $(impl IntoFiles for $path {
            fn into_files(self) -> Vec<PathBuf> {
                vec![self.into()]
            }
        })*
    };
}

one_file!(&str, String, &String, &Path, PathBuf, &PathBuf);

impl<P: AsRef<Path>, const N: usize> IntoFiles for [P; N] {
    fn into_files(self) -> Vec<PathBuf> {
        self.as_slice().into_files()
    }
}

impl<P: AsRef<Path>> IntoFiles for Vec<P> {
    fn into_files(self) -> Vec<PathBuf> {
        self.as_slice().into_files()
    }
}

impl<P: AsRef<Path>> IntoFiles for &[P] {
    fn into_files(self) -> Vec<PathBuf> {
        self.iter().map(|path| path.as_ref().into()).collect()
    }
}

/// Makes a [`Bus`] in code.
pub struct Builder {
    registry: Registry,
    document: Document,
    environment: Box<Environment>,
    observer: Arc<dyn Observer>,
    problems: Vec<String>,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("registry", &self.registry).finish_non_exhaustive()
    }
}

impl Builder {
    /// Adds files; later ones win by key.
    pub fn files(mut self, files: impl IntoFiles) -> Self {
        for file in files.into_files() {
            self.document.add_file(&file, &mut self.problems);
        }
        self
    }

    /// Adds the text of a file, called `name` in errors.
    pub fn text(mut self, name: &str, text: &str) -> Self {
        self.document.add_text(name, text, &mut self.problems);
        self
    }

    /// Takes variables from here instead of the process's environment.
    pub fn environment(mut self, environment: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        self.environment = Box::new(environment);
        self
    }

    /// Tells this observer what every channel measures.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = observer;
        self
    }

    /// Reads and checks everything. Nothing is opened yet.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] with a line for each thing that is wrong.
    pub fn build(mut self) -> Result<Bus> {
        if let Some(settings) = (self.environment)("STRAIT_SET") {
            self.document.add_settings(&settings, &mut self.problems);
        }
        self.document.expand(&*self.environment, &mut self.problems);
        report(&self.problems)?;
        let schema = schema::read(&self.document, &self.registry, &mut self.problems);
        report(&self.problems)?;
        let Self { registry, observer, .. } = self;
        Ok(Bus { shared: Arc::new(Shared { schema, registry, observer, open: Mutex::default() }) })
    }
}

impl Bus {
    /// Begins a bus with these providers.
    pub fn builder(registry: Registry) -> Builder {
        Builder {
            registry,
            document: Document::default(),
            environment: Box::new(|name| env::var(name).ok()),
            observer: Arc::new(Unobserved),
            problems: Vec::new(),
        }
    }

    /// The sender of this name; later calls return handles of the same one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if no sender is called so; what the provider says that cannot open it.
    pub async fn sender(&self, name: &str) -> Result<Sender> {
        let mut open = self.shared.open.lock().await;
        self.open_sender(&mut open, name).await
    }

    async fn open_sender(&self, open: &mut Open, name: &str) -> Result<Sender> {
        if let Some(sender) = open.senders.get(name) {
            return Ok(sender.clone());
        }
        let senders = &self.shared.schema.senders;
        let table = senders.get(name).ok_or_else(|| unknown("sender", name, senders))?;
        let connection = self.connect(open, &table.connection).await?;
        let mut settings = table.settings.clone();
        settings.observer = Arc::clone(&self.shared.observer);
        let producer = connection.producer(table.on.clone()).await?;
        let sender = Sender::new(producer, settings).map_err(|error| of_table(&table.fields, name, error))?;
        open.senders.insert(name.to_owned(), sender.clone());
        Ok(sender)
    }

    /// A receiver of this name; each call opens another member of its group.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if no receiver is called so, [`ErrorKind::Unsupported`] if the provider cannot keep what is
    /// asked for; what the provider says that cannot open it.
    pub async fn receiver(&self, name: &str) -> Result<Receiver> {
        let mut open = self.shared.open.lock().await;
        let receivers = &self.shared.schema.receivers;
        let table = receivers.get(name).ok_or_else(|| unknown("receiver", name, receivers))?;
        let connection = self.connect(&mut open, &table.connection).await?;
        let dead_letter = match table.dead_letter.as_str() {
            "discard" => DeadLetter::Discard,
            "block" => DeadLetter::Block,
            sender => DeadLetter::Channel(self.open_sender(&mut open, sender).await?),
        };
        let meter = Meter::over(Arc::clone(&self.shared.observer));
        let mut settings = ReceiverSettings::new(dead_letter).named(name);
        (settings.ordering, settings.retry, settings.oversize) = (table.ordering, table.retry, table.oversize);
        (settings.in_flight, settings.buffer, settings.buffer_bytes) =
            (table.in_flight, table.buffer, table.buffer_bytes);
        (settings.drain, settings.meter) = (table.drain, meter.clone());
        let needs = Needs::new(table.ordering, table.buffer, table.buffer_bytes, Arc::new(meter));
        let consumer = connection.consumer(table.on.clone(), needs).await?;
        let guarantees = consumer.guarantees();
        if table.ordering > guarantees.ordering {
            let reason =
                format!("\"key\" is asked for, but {} keeps no order on {:?}", guarantees.provider, guarantees.source);
            return Err(Error::new(ErrorKind::Unsupported, table.fields.sentence("ordering", reason)));
        }
        let receiver = Receiver::new(consumer, settings).map_err(|error| of_table(&table.fields, name, error))?;
        open.receivers.retain(|receiver| receiver.upgrade().is_some());
        open.receivers.push(receiver.downgrade());
        Ok(receiver)
    }

    /// A worker on a receiver of this name.
    ///
    /// # Errors
    ///
    /// As [`receiver`](Self::receiver).
    pub async fn worker(&self, name: &str) -> Result<Worker> {
        Ok(Worker::new(self.receiver(name).await?))
    }

    /// The key paths of tables that were left alone, since their provider is known and not compiled in.
    pub fn left_alone(&self) -> &[String] {
        &self.shared.schema.left_alone
    }

    async fn connect(&self, open: &mut Open, name: &str) -> Result<Arc<dyn Connection>> {
        if let Some(connection) = open.connections.get(name) {
            return Ok(Arc::clone(connection));
        }
        let Schema { connections, receivers, .. } = &self.shared.schema;
        let link = connections.get(name).cloned();
        let (provider, fields) = match link {
            Some(Link { provider, fields }) => (provider, fields),
            None => (name.to_owned(), Document::default().fields()),
        };
        let provider =
            self.shared.registry.get(&provider).ok_or_else(|| {
                Error::new(ErrorKind::Config, format!("the provider {provider:?} is not compiled in"))
            })?;
        let receivers = receivers.values().filter(|receiver| receiver.connection == name);
        let connection = provider.connect(fields, receivers.map(|receiver| receiver.on.clone()).collect()).await?;
        open.connections.insert(name.to_owned(), Arc::clone(&connection));
        Ok(connection)
    }

    /// Closes every receiver, drained, and then every sender, flushed. Idempotent.
    ///
    /// # Errors
    ///
    /// The first that a provider reported; everything is closed all the same.
    pub async fn close(&self) -> Result<()> {
        let (receivers, senders) = {
            let mut open = self.shared.open.lock().await;
            (std::mem::take(&mut open.receivers), std::mem::take(&mut open.senders))
        };
        let mut outcome = Ok(());
        let receivers: Vec<_> = receivers.iter().filter_map(WeakReceiver::upgrade).collect();
        for receiver in &receivers {
            receiver.stop();
        }
        for receiver in receivers {
            outcome = outcome.and(receiver.close().await);
        }
        for sender in senders.into_values() {
            outcome = outcome.and(sender.close().await);
        }
        outcome
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
