//! `$cbs`: clients put tokens, for what they then may do.

use std::sync::Arc;

use fe2o3_amqp::{
    Receiver,
    types::{
        messaging::{AmqpValue, Body, message::DecodeIntoMessage as _},
        primitives::{SimpleValue, Value},
    },
};
use serde_amqp::read::SliceReader;

use crate::{
    connection::Connection,
    error,
    link::{Answer, answer, receive},
    record::Recorded,
    sas::Refused,
    token,
};

pub(crate) const NAME: &str = "$cbs";

/// Serves the link that a client puts tokens by, until it detaches.
pub(crate) async fn serve(connection: &Arc<Connection>, receiver: Receiver) {
    requests(connection, NAME, receiver, put).await;
}

/// Answers the requests of a link, until it ends.
pub(crate) async fn requests(
    connection: &Arc<Connection>,
    node: &str,
    mut receiver: Receiver,
    serve: impl Fn(&Connection, &Answer) -> Answer,
) {
    while let Ok(received) = receive(&mut receiver).await {
        let Ok(request) = <Body<Value>>::decode_message_from_reader(SliceReader::new(&received.payload)) else {
            if receiver.reject(received.info, error::malformed()).await.is_err() {
                break;
            }
            continue;
        };
        if receiver.accept(received.info).await.is_err() {
            break;
        }
        let reply_to = request.properties.as_ref().and_then(|properties| properties.reply_to.clone());
        // Some name the link that they want the answer by, others have one.
        if let Some(link) = connection.answering([reply_to.as_deref().unwrap_or_default(), node])
            && link.send(serve(connection, &request)).await.is_err()
        {
            tracing::debug!(node, "the link for answers is gone");
        }
    }
    let _ = receiver.close().await; // it may be closed
}

/// A text among the application properties of a request.
pub(crate) fn text<'a>(request: &'a Answer, name: &str) -> Option<&'a str> {
    match request.application_properties.as_ref()?.0.get(name)? {
        SimpleValue::String(text) => Some(text),
        SimpleValue::Symbol(text) => Some(text.as_str()),
        _ => None,
    }
}

fn put(connection: &Connection, request: &Answer) -> Answer {
    let text = |name| text(request, name).unwrap_or_default();
    let (operation, kind, name) = (text("operation"), text("type"), text("name"));
    if operation != "put-token" {
        return answer(
            request,
            400,
            "The operation is not put-token.",
            Some("com.microsoft:argument-error"),
            Value::Null,
        );
    }
    let outcome = match &request.body {
        Body::Value(AmqpValue(Value::String(token))) => {
            let access = &connection.shared.config.access;
            token::check(kind, token, name, access, connection.shared.config.clock.now())
        }
        _ => Err(Refused::Malformed),
    };
    let granted = outcome.map(|grant| connection.claims.grant(&grant.resource, grant.until));
    connection.recorder.keep(Recorded::PutToken {
        kind: kind.to_owned(),
        name: name.to_owned(),
        properties: properties(request),
        accepted: granted == Ok(true),
    });
    match granted {
        Ok(true) => answer(request, 202, "Accepted", None, Value::Null),
        Ok(false) => {
            let words = "The connection has too many tokens.";
            answer(request, 403, words, Some("amqp:resource-limit-exceeded"), Value::Null)
        }
        Err(why) => answer(request, 401, why.words(), Some("amqp:unauthorized-access"), Value::Null),
    }
}

fn properties(request: &Answer) -> Vec<(String, &'static str)> {
    let kind = |value: &SimpleValue| match value {
        SimpleValue::String(_) => "string",
        SimpleValue::Symbol(_) => "symbol",
        SimpleValue::Timestamp(_) => "timestamp",
        SimpleValue::Int(_) => "int",
        SimpleValue::Long(_) => "long",
        SimpleValue::Uint(_) => "uint",
        SimpleValue::Ulong(_) => "ulong",
        SimpleValue::Null => "null",
        _ => "other",
    };
    let properties = request.application_properties.as_ref().into_iter().flat_map(|properties| properties.0.iter());
    properties.map(|(name, value)| (name.clone(), kind(value))).collect()
}
