//! Answers to requests: of `$cbs` and `$management`.

use std::sync::Arc;

use fe2o3_amqp::{
    Sendable, Sender,
    types::{
        messaging::{AmqpValue, ApplicationProperties, Body, Message, Properties},
        primitives::{SimpleValue, Value},
    },
};
use tokio::sync::mpsc;

use crate::connection::{Connection, Named};

/// A request or its answer.
pub(crate) type Answer = Message<Body<Value>>;

/// How many answers may wait for a client that takes none: then it is not heard any more either.
const WAITING: usize = 64;

/// A link that answers go out by.
pub(super) struct Answers {
    answers: mpsc::Receiver<Answer>,
    _named: Named,
}

impl Answers {
    /// Takes answers of that node, or for that address, from now on.
    pub(super) fn new(connection: &Arc<Connection>, node: &str, address: &str) -> Self {
        let (link, answers) = mpsc::channel(WAITING);
        Self { answers, _named: connection.answer_by(vec![node.to_owned(), address.to_owned()], &link) }
    }

    /// Sends answers until the client detaches.
    pub(super) async fn serve(mut self, mut sender: Sender) {
        loop {
            tokio::select! {
                answer = self.answers.recv() => {
                    let Some(answer) = answer else { return };
                    let sendable = Sendable::builder().message(answer).settled(true).build();
                    if sender.send_batchable(sendable).await.is_err() {
                        return;
                    }
                }
                _ = sender.on_detach() => {
                    let _ = sender.close().await; // it is closed
                    return;
                }
            }
        }
    }
}

/// An answer to a request.
pub(crate) fn answer(request: &Answer, code: i32, words: &str, condition: Option<&str>, body: Value) -> Answer {
    let asked = request.properties.as_ref();
    let properties = Properties {
        correlation_id: asked.and_then(|properties| properties.message_id.clone()),
        to: asked.and_then(|properties| properties.reply_to.clone()),
        ..Properties::default()
    };
    let mut status = ApplicationProperties::builder().insert("status-code", code).insert("status-description", words);
    if let Some(condition) = condition {
        status = status.insert("error-condition", SimpleValue::Symbol(condition.into()));
    }
    Message {
        header: None,
        delivery_annotations: None,
        message_annotations: None,
        properties: Some(properties),
        application_properties: Some(status.build()),
        body: Body::Value(AmqpValue(body)),
        footer: None,
    }
}
