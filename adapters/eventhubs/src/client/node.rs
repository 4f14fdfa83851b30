//! Requests to a node of the service, and their answers.

use fe2o3_amqp::{Receiver, Sender, session::SessionHandle};
use fe2o3_amqp_types::{
    messaging::{
        AmqpValue, ApplicationProperties, Body, Message, MessageId, Outcome, Properties,
        message::DecodeIntoMessage as _,
    },
    primitives::{OrderedMap, SimpleValue, Value},
};
use serde_amqp::read::SliceReader;
use uuid::Uuid;

use super::{read, send, undecoded};
use crate::error::Failed;

/// The body of an answer.
pub(crate) type Map = OrderedMap<Value, Value>;

/// A pair of links to a node that answers requests.
#[derive(Debug)]
pub(crate) struct Node {
    sender: Sender,
    receiver: Receiver,
    address: String,
    count: u64,
    _session: SessionHandle<()>,
}

impl Node {
    /// Attaches to the node of this name.
    pub(crate) async fn attach(mut session: SessionHandle<()>, name: &str) -> Result<Self, Failed> {
        let address = format!("{name}-{}", Uuid::new_v4());
        let sender = Sender::attach(&mut session, format!("{address}-out"), name).await;
        let sender = sender.map_err(|error| send::attach_failed(&error))?;
        let receiver = Receiver::builder().name(format!("{address}-in")).source(name).target(address.clone());
        let receiver = receiver.auto_accept(true).attach(&mut session).await;
        let receiver = receiver.map_err(|error| read::attach_failed(&error))?;
        Ok(Self { sender, receiver, address, count: 0, _session: session })
    }

    /// Asks, and waits for the answer. A dropped call leaves its answer behind, which the next one passes over.
    pub(crate) async fn ask(&mut self, properties: ApplicationProperties, body: Value) -> Result<Map, Failed> {
        self.count += 1;
        let id = format!("{}", self.count);
        let message = Message::builder()
            .properties(Properties::builder().message_id(id.clone()).reply_to(self.address.clone()).build())
            .application_properties(properties)
            .body(Body::Value(AmqpValue(body)))
            .build();
        match self.sender.send(message).await {
            Ok(Outcome::Accepted(_)) => {}
            Ok(outcome) => return Err(send::not_accepted(&outcome)),
            Err(error) => return Err(send::failed(&error)),
        }
        loop {
            let answer = self.receiver.recv::<Body<Value>>().await.map_err(|error| read::failed(&error))?;
            let bytes = undecoded::bytes(answer.into_message().body);
            let answer = Body::<Value>::decode_message_from_reader(SliceReader::new(&bytes));
            let answer = answer.map_err(|error| Failed::here(error.to_string()))?;
            let is_ours = answer.properties.as_ref().and_then(|properties| properties.correlation_id.as_ref());
            if is_ours == Some(&MessageId::String(id.clone())) {
                return read_answer(answer);
            }
        }
    }
}

fn read_answer(answer: Message<Body<Value>>) -> Result<Map, Failed> {
    let properties = answer.application_properties.unwrap_or_default().0;
    // `$cbs` and `$management` spell the names in other ways.
    let find = |names: [&str; 2]| names.into_iter().find_map(|name| properties.get(name));
    let text = |names| match find(names) {
        Some(SimpleValue::String(text)) => Some(text.clone()),
        Some(SimpleValue::Symbol(symbol)) => Some(symbol.0.clone()),
        _ => None,
    };
    let status = match find(["status-code", "statusCode"]) {
        Some(SimpleValue::Int(status)) => *status,
        _ => 0,
    };
    if !(200..300).contains(&status) {
        let words = text(["status-description", "statusDescription"]).unwrap_or_default();
        let condition = text(["error-condition", "errorCondition"]);
        return Err(Failed::status(status, condition, &words));
    }
    match answer.body {
        Body::Value(AmqpValue(Value::Map(map))) => Ok(map),
        _ => Ok(Map::new()),
    }
}
