use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use strait_core::{Consumer, Observer, Ordering, Producer, Result};

use crate::{Described, Fields, describe::describe};

/// The providers of this library, each a feature of the facade. A table of one that is not compiled in is left alone.
const OWN: [&str; 5] = ["memory", "kinesis", "sqs", "eventhubs", "pubsub"];

/// Opens channels of one kind of service. Registered as a value: nothing happens at link time.
#[async_trait]
pub trait Provider: Debug + Send + Sync {
    /// What it is called in configuration.
    fn name(&self) -> &'static str;

    /// Reads the table of a connection, to find what is wrong with it.
    fn check_connection(&self, fields: &mut Fields);

    /// Reads the table of a sender.
    fn check_sender(&self, fields: &mut Fields);

    /// Reads the table of a receiver.
    fn check_receiver(&self, fields: &mut Fields);

    /// Opens a connection. `receivers` are all that configuration has on it, so that what they need exists before the
    /// first message is sent.
    async fn connect(&self, connection: Fields, receivers: Vec<Fields>) -> Result<Arc<dyn Connection>>;
}

/// An open connection.
#[async_trait]
pub trait Connection: Debug + Send + Sync {
    /// Opens where a sender sends to.
    async fn producer(&self, fields: Fields) -> Result<Arc<dyn Producer>>;

    /// Opens where a receiver receives from. What it needs and the service cannot keep is refused.
    async fn consumer(&self, fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>>;
}

/// What a receiver needs of its consumer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Needs {
    /// The order to deliver in.
    pub ordering: Ordering,
    /// Most messages held.
    pub buffer: usize,
    /// Most bytes held.
    pub buffer_bytes: usize,
    /// What hears of what is measured.
    pub observer: Arc<dyn Observer>,
}

/// The providers that an application has, and the names of those that it may have in another build.
#[derive(Clone, Debug)]
pub struct Registry {
    providers: Vec<Arc<dyn Provider>>,
    /// Those that are known by name, and how an application gets each.
    known: Vec<(String, String)>,
}

impl Default for Registry {
    fn default() -> Self {
        let feature = |name: &str| (name.to_owned(), format!("enable the feature {name:?} of strait"));
        Self { providers: Vec::new(), known: OWN.iter().copied().map(feature).collect() }
    }
}

impl Registry {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this one.
    pub fn with(mut self, provider: impl Provider + 'static) -> Self {
        self.providers.push(Arc::new(provider));
        self
    }

    /// And the name of one that this build may lack: its tables in a configuration are left alone then, so that one file
    /// serves several builds. `how` completes the error where a channel is on it: how the application gets it.
    ///
    /// ```
    /// use strait_config::{Bus, Registry};
    ///
    /// let registry = Registry::new().knowing("kafka", "build with the feature \"kafka\"");
    /// let error = Bus::builder(registry).text("app.toml", "provider = \"kafka\"\n[senders.orders.on.kafka]").build();
    /// assert_eq!(
    ///     error.unwrap_err().to_string(),
    ///     "app.toml: provider: the provider \"kafka\" is not compiled in: build with the feature \"kafka\"",
    /// );
    /// ```
    pub fn knowing(mut self, name: impl Into<String>, how: impl Into<String>) -> Self {
        self.known.push((name.into(), how.into()));
        self
    }

    /// The tables that a configuration may have with these providers, and their fields: what `docs/configuration.md` lists.
    pub fn tables(&self) -> Vec<Described> {
        describe(self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Provider> {
        self.providers.iter().map(|provider| &**provider)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.providers.iter().find(|provider| provider.name() == name)
    }

    /// How an application gets the provider `name`, if it is one that is known and not compiled in.
    pub(crate) fn missing(&self, name: &str) -> Option<&str> {
        let known = self.known.iter().find(|(known, _)| known == name);
        known.filter(|_| self.get(name).is_none()).map(|(_, how)| how.as_str())
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let known = self.known.iter().map(|(name, _)| name.as_str());
        self.providers.iter().map(|provider| provider.name()).chain(known)
    }
}

impl Needs {
    pub(crate) fn new(ordering: Ordering, buffer: usize, buffer_bytes: usize, observer: Arc<dyn Observer>) -> Self {
        Self { ordering, buffer, buffer_bytes, observer }
    }
}
