use std::{fmt::Debug, sync::Arc};

use async_trait::async_trait;
use strait_core::{Consumer, Observer, Ordering, Producer, Result};

use crate::{Described, Fields, describe::describe};

/// What the names of providers are, compiled in or not: a table of one that is not is accepted, and left alone.
pub(crate) const KNOWN: [&str; 5] = ["memory", "kinesis", "sqs", "eventhubs", "pubsub"];

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

/// The providers that an application has.
#[derive(Clone, Debug, Default)]
pub struct Registry(Vec<Arc<dyn Provider>>);

impl Registry {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// And this one.
    pub fn with(mut self, provider: impl Provider + 'static) -> Self {
        self.0.push(Arc::new(provider));
        self
    }

    /// The tables that a configuration may have with these providers, and their fields: what `docs/configuration.md` lists.
    pub fn tables(&self) -> Vec<Described> {
        describe(self)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &dyn Provider> {
        self.0.iter().map(|provider| &**provider)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Arc<dyn Provider>> {
        self.0.iter().find(|provider| provider.name() == name)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|provider| provider.name()).chain(KNOWN)
    }
}

impl Needs {
    pub(crate) fn new(ordering: Ordering, buffer: usize, buffer_bytes: usize, observer: Arc<dyn Observer>) -> Self {
        Self { ordering, buffer, buffer_bytes, observer }
    }
}
