//! `$management`: the properties of hubs and partitions.

use std::sync::Arc;

use fe2o3_amqp::{
    Receiver,
    types::primitives::{Array, OrderedMap, Timestamp, Value},
};

use crate::{
    cbs::{self, text},
    connection::Connection,
    hub::Hub,
    link::{Answer, answer},
    token,
};

pub(crate) const NAME: &str = "$management";

const HUB: &str = "com.microsoft:eventhub";
const PARTITION: &str = "com.microsoft:partition";

/// Serves a link that a client asks by, until it detaches.
pub(crate) async fn serve(connection: &Arc<Connection>, receiver: Receiver) {
    cbs::requests(connection, NAME, receiver, read).await;
}

fn read(connection: &Connection, request: &Answer) -> Answer {
    let text = |name| text(request, name).unwrap_or_default();
    let (name, kind) = (text("name"), text("type"));
    if text("operation") != "READ" || !matches!(kind, HUB | PARTITION) {
        let words = "The operation is not READ of an event hub or a partition.";
        return answer(request, 400, words, Some("com.microsoft:argument-error"), Value::Null);
    }
    if let Err(words) = allowed(connection, text("security_token"), name) {
        return answer(request, 401, words, Some("amqp:unauthorized-access"), Value::Null);
    }
    let missing = |what: &str| {
        let words = format!("The messaging entity '{what}' could not be found.");
        answer(request, 404, &words, Some("amqp:not-found"), Value::Null)
    };
    let Some(hub) = connection.shared.namespace.hub(name) else { return missing(name) };
    let body = match kind {
        HUB => Some(hub_properties(&hub)),
        _ => partition_properties(&hub, text("partition")),
    };
    match body {
        Some(body) => answer(request, 200, "OK", None, Value::Map(body)),
        None => missing(&format!("{name}/Partitions/{}", text("partition"))),
    }
}

/// By the token of the request, if it has one, else by those of the connection.
fn allowed(connection: &Connection, security_token: &str, name: &str) -> Result<(), &'static str> {
    let config = &connection.shared.config;
    if config.access.open {
        return Ok(());
    }
    if security_token.is_empty() {
        let claimed = connection.claims.allow(name);
        return if claimed { Ok(()) } else { Err("Unauthorized access: a token is required.") };
    }
    let checked = token::check(token::kind(security_token), security_token, name, &config.access, config.clock.now());
    checked.map(drop).map_err(crate::sas::Refused::words)
}

type Properties = OrderedMap<Value, Value>;

fn put(properties: &mut Properties, name: &str, value: Value) {
    properties.insert(Value::String(name.to_owned()), value);
}

fn time(millis: i64) -> Value {
    Value::Timestamp(Timestamp::from(millis))
}

fn hub_properties(hub: &Hub) -> Properties {
    let ids = (0..hub.count()).map(|index| Value::String(index.to_string())).collect::<Vec<_>>();
    let mut properties = Properties::new();
    put(&mut properties, "name", Value::String(hub.settings.name.clone()));
    put(&mut properties, "type", Value::String(HUB.to_owned()));
    put(&mut properties, "created_at", time(hub.created));
    put(&mut properties, "partition_count", Value::Int(i32::try_from(ids.len()).unwrap_or(i32::MAX)));
    put(&mut properties, "partition_ids", Value::Array(Array::from(ids)));
    put(&mut properties, "georeplication_factor", Value::Int(hub.settings.georeplication_factor));
    properties
}

fn partition_properties(hub: &Hub, id: &str) -> Option<Properties> {
    let state = hub.partition(id.parse().ok()?)?.state();
    // Where nothing is replicated, there are no epochs of a primary.
    let epoch = if hub.settings.georeplication_factor > 1 { 1 } else { -1 };
    let offset = state.last_offset.map_or_else(|| "-1".to_owned(), |offset| offset.to_string());
    let mut properties = Properties::new();
    put(&mut properties, "name", Value::String(hub.settings.name.clone()));
    put(&mut properties, "type", Value::String(PARTITION.to_owned()));
    put(&mut properties, "partition", Value::String(id.to_owned()));
    put(&mut properties, "begin_sequence_number", Value::Long(state.begin));
    put(&mut properties, "begin_sequence_number_epoch", Value::Long(epoch));
    put(&mut properties, "last_enqueued_sequence_number", Value::Long(state.last));
    put(&mut properties, "last_enqueued_sequence_number_epoch", Value::Long(epoch));
    put(&mut properties, "last_enqueued_offset", Value::String(offset));
    put(&mut properties, "last_enqueued_time_utc", time(state.last_enqueued));
    put(&mut properties, "is_partition_empty", Value::Bool(state.empty));
    Some(properties)
}
