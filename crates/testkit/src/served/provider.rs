use std::{net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use strait_config::{Connection, Fields, Needs, Provider};
use strait_core::{Consumer, Producer, Result};
use strait_kit::{LogConsumer, LogSettings};
use strait_leases::Group;

use super::ServedLog;

/// Topics of a [`LogServer`](super::LogServer), for configuration: `type = "served"`.
///
/// A connection says the server's `address`. A sender names its `topic`; a receiver its `topic`, and of its [`Group`] the
/// `group`, `leases`, `expiry` and `start`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Served;

#[derive(Clone, Debug)]
struct Place {
    address: SocketAddr,
}

impl Place {
    fn read(fields: &mut Fields) -> Self {
        let address = fields.required("address").parse().unwrap_or_else(|_| {
            fields.problem("address", "expected a socket address, such as 127.0.0.1:4000");
            SocketAddr::from(([127, 0, 0, 1], 0))
        });
        Self { address }
    }
}

#[derive(Clone, Debug)]
struct Table {
    topic: String,
    group: Group,
}

impl Table {
    fn read(fields: &mut Fields) -> Self {
        Self { topic: fields.required("topic"), group: Group::read(fields) }
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
            let Table { topic, group } = Table::read(&mut fields);
            ServedLog::connect(place.address, topic).await?.join(&group.name, &group.start).await?;
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
        let Table { topic, group } = Table::read(&mut fields);
        fields.finish()?;
        let log = ServedLog::connect(self.address, &*topic).await?.seen_by(&group.name);
        let member = group.join(&topic, Arc::new(log.apart())).await?;
        let ownership = log.told(group.name, Arc::new(member));
        let mut settings = LogSettings::default();
        (settings.buffer, settings.buffer_bytes) = (needs.buffer, needs.buffer_bytes);
        settings.observer = needs.observer;
        Ok(Arc::new(LogConsumer::new(Arc::new(log), ownership, settings)))
    }
}
