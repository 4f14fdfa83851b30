use std::{net::SocketAddr, sync::Arc, time::Duration};

use async_trait::async_trait;
use strait_config::{Connection, Fields, Needs, Provider};
use strait_core::{Consumer, Error, ErrorKind, Producer, Result};
use strait_kit::{
    LogConsumer, LogSettings, Start,
    coordination::{Coordinator, CoordinatorSettings},
};
use strait_leases::{Options, open};

use super::ServedLog;

/// Topics of a [`LogServer`](super::LogServer), for configuration: `type = "served"`.
///
/// A connection says the server's `address`, where the rows of its groups are, as the URL `leases`, and after how long a
/// process is given up, `expiry` (10 s). A sender names its `topic`; a receiver its `topic` and `group`, and where a new
/// group is to `start`: `"earliest"` or `"latest"`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served;

#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
    leases: String,
    expiry: Duration,
}

impl Place {
    fn read(fields: &mut Fields) -> Self {
        let (address, leases) = (fields.required("address"), fields.required("leases"));
        let address = address.parse().unwrap_or_else(|_| {
            fields.problem("address", "expected a socket address, such as 127.0.0.1:4000");
            SocketAddr::from(([127, 0, 0, 1], 0))
        });
        let expiry = fields.duration("expiry").unwrap_or(Duration::from_secs(10));
        if let Err(error) = CoordinatorSettings::with_expiry(expiry) {
            fields.problem("expiry", error);
        }
        Self { address, leases, expiry }
    }
}

#[derive(Clone, Debug)]
struct Table {
    topic: String,
    group: String,
    start: Start,
}

impl Table {
    fn read(fields: &mut Fields) -> Self {
        let (topic, group) = (fields.required("topic"), fields.required("group"));
        let latest = fields.choice("start", &[("earliest", false), ("latest", true)]).unwrap_or(false);
        Self { topic, group, start: if latest { Start::Latest } else { Start::Earliest } }
    }
}

#[async_trait]
impl Provider for Served {
    fn name(&self) -> &'static str {
        "served"
    }

    fn check_connection(&self, fields: &mut Fields) {
        Place::read(fields);
    }

    fn check_sender(&self, fields: &mut Fields) {
        fields.required("topic");
    }

    fn check_receiver(&self, fields: &mut Fields) {
        Table::read(fields);
    }

    async fn connect(&self, mut connection: Fields, receivers: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        let place = Place::read(&mut connection);
        connection.finish()?;
        for mut fields in receivers {
            let Table { topic, group, start } = Table::read(&mut fields);
            ServedLog::connect(place.address, topic).await?.join(&group, &start).await?;
        }
        Ok(Arc::new(place))
    }
}

#[async_trait]
impl Connection for Place {
    async fn producer(&self, mut fields: Fields) -> Result<Arc<dyn Producer>> {
        let topic = fields.required("topic");
        fields.finish()?;
        Ok(ServedLog::connect(self.address, topic).await?.producer())
    }

    async fn consumer(&self, mut fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>> {
        let Table { topic, group, start } = Table::read(&mut fields);
        fields.finish()?;
        let rows = open(&format!("{}/{topic}.{group}", self.leases), &Options::default()).await?;
        let log = ServedLog::connect(self.address, topic).await?;
        let mut settings = CoordinatorSettings::with_expiry(self.expiry)
            .map_err(|error| Error::new(ErrorKind::Config, "served: expiry").with_source(error))?;
        settings.start = start;
        let coordinator = Coordinator::start(rows, Arc::new(log.apart()), settings)?;
        let ownership = log.told(group, Arc::new(coordinator));
        let mut settings = LogSettings::default();
        (settings.buffer, settings.buffer_bytes) = (needs.buffer, needs.buffer_bytes);
        settings.observer = needs.observer;
        Ok(Arc::new(LogConsumer::new(Arc::new(log), ownership, settings)))
    }
}
