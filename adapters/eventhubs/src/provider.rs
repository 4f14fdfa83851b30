use std::sync::Arc;

use async_trait::async_trait;
use strait_config::{Connection, Fields, Needs, Provider};
use strait_core::{Consumer, Error, ErrorKind, Producer, Result};
use strait_kit::{LogConsumer, LogSettings};

use crate::{
    Access, EventHubsLog, EventHubsProducer,
    config::{ConnectionTable, ReceiverTable, SenderTable},
    error::wrong,
};

/// Azure Event Hubs, for configuration: `type = "eventhubs"`.
///
/// A connection names its namespace and key by a `connection_string`: `Endpoint=sb://..;SharedAccessKeyName=..;
/// SharedAccessKey=..`. With `UseDevelopmentEmulator=true` it is plaintext, to another machine only with `allow_insecure`. It
/// may say how long a call may take, `timeout` (10 s). A string with an `EntityPath` is for that hub alone.
///
/// With the feature `entra` it may name a `namespace`, such as `orders.servicebus.windows.net`, and a `credential` of Microsoft
/// Entra instead: `"workload-identity"` (what its `tenant`, `client_id` and `token_file` do not say is taken from the
/// environment of the pod), `"managed-identity"` (with the `client_id` of one that a user assigned), `"client-secret"` (with
/// `tenant`, `client_id` and `client_secret`) or, for developers, `"developer-tools"`: see `Entra`.
///
/// A sender names its `hub`, and may choose the `routing`: `"partition"` (the default) or `"service"`.
///
/// A receiver names its `hub`; its `group`, which is the consumer group of Event Hubs too: `$Default`, or one that exists; and
/// where that keeps its `leases`: a URL, such as `az://container/prefix`. It may say after how long a member is dead to the
/// others, `expiry` (10 s); where a new group is to `start`: `"earliest"` (the default), `"latest"` or a time; and what
/// happens when an event that was not read is no longer stored, `trimmed`: `"fail"` (the default) reports it, `"skip"` goes
/// on at the oldest event.
#[derive(Clone, Copy, Debug, Default)]
pub struct EventHubs;

#[async_trait]
impl Provider for EventHubs {
    fn name(&self) -> &'static str {
        "eventhubs"
    }

    fn check_connection(&self, fields: &mut Fields) {
        ConnectionTable::read(fields);
    }

    fn check_sender(&self, fields: &mut Fields) {
        SenderTable::read(fields);
    }

    fn check_receiver(&self, fields: &mut Fields) {
        ReceiverTable::read(fields);
    }

    async fn connect(&self, mut connection: Fields, _receivers: Vec<Fields>) -> Result<Arc<dyn Connection>> {
        let table = ConnectionTable::read(&mut connection);
        connection.finish()?;
        let access = table.access.ok_or_else(|| wrong("the connection cannot be used"))?;
        Ok(Arc::new(Open { access }))
    }
}

#[derive(Debug)]
struct Open {
    access: Arc<Access>,
}

impl Open {
    /// Checks that the connection string is for this hub.
    fn check(&self, fields: &Fields, hub: &str) -> Result<()> {
        match &self.access.hub {
            Some(only) if !only.eq_ignore_ascii_case(hub) => {
                let reason = format!("is not the EntityPath of the connection string, {only:?}");
                Err(Error::new(ErrorKind::Config, fields.sentence("hub", reason)))
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl Connection for Open {
    async fn producer(&self, mut fields: Fields) -> Result<Arc<dyn Producer>> {
        let table = SenderTable::read(&mut fields);
        self.check(&fields, &table.hub)?;
        fields.finish()?;
        Ok(Arc::new(EventHubsProducer::open(&self.access, &table.hub, table.routing).await?))
    }

    async fn consumer(&self, mut fields: Fields, needs: Needs) -> Result<Arc<dyn Consumer>> {
        let ReceiverTable { hub, mut group, trimmed } = ReceiverTable::read(&mut fields);
        self.check(&fields, &hub)?;
        fields.finish()?;
        let log = EventHubsLog::open(&self.access, &hub, &group.name).await?;
        group.start = log.start(&group.start).await?;
        let member = group.join(&log.source(), Arc::clone(&log) as _).await?;
        let mut settings = LogSettings::default();
        (settings.buffer, settings.buffer_bytes) = (needs.buffer, needs.buffer_bytes);
        (settings.observer, settings.trimmed) = (needs.observer, trimmed);
        Ok(Arc::new(LogConsumer::new(log, Arc::new(member), settings)))
    }
}
