use std::{
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use async_trait::async_trait;
use futures_util::{StreamExt as _, stream};
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{PublishRequest, PublishResponse, PubsubMessage};
use strait_core::{Error, ErrorKind, Key, Limits, Message, Plan, Position, Producer, Receipt, Result};

use crate::{
    Client, admin,
    codec::{self, REQUEST_BYTES, REQUEST_MESSAGES},
    error, name,
    operation::{Operation, permission},
};

/// How many requests of one batch are under way at once. A batch of a sender is one request.
const REQUESTS: usize = 8;

/// Publishes to a topic.
///
/// A request holds messages of one ordering key, or of none, and is stored or fails as a whole. The key of a message is
/// its route, so that a sender fills requests for each key apart. Nothing is kept for a key between requests.
pub struct PubSubProducer {
    client: Client,
    topic: Arc<str>,
    closed: AtomicBool,
}

impl PubSubProducer {
    /// Opens a topic by its full name, or a short one of the connection's project.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none; otherwise what the service says. Whoever may only publish need not be
    /// allowed to look: then it is opened all the same.
    pub async fn open(client: &Client, topic: &str) -> Result<Self> {
        let topic = client.topic(topic)?;
        let operation = client.operation("open topic", &topic, permission::GET_TOPIC);
        if admin::if_allowed(operation, client.look_at_topic(operation, &topic).await?)?.is_none() {
            let missing = permission::GET_TOPIC;
            tracing::warn!(
                topic = name::short(&topic),
                missing,
                "it may not be looked at: whether it exists is not known"
            );
        }
        Ok(Self { client: client.clone(), topic: topic.into(), closed: AtomicBool::new(false) })
    }

    /// Another producer to the same topic, open as long as it is not closed itself.
    pub fn another(&self) -> Self {
        Self { client: self.client.clone(), topic: Arc::clone(&self.topic), closed: AtomicBool::new(false) }
    }

    /// The stubs beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn operation(&self) -> Operation<'_> {
        self.client.operation("publish to", &self.topic, permission::PUBLISH)
    }

    /// Publishes messages of one key, or of none.
    async fn publish(&self, messages: Vec<PubsubMessage>) -> Vec<Result<Receipt>> {
        let (count, operation) = (messages.len(), self.operation());
        let request = PublishRequest { topic: self.topic.to_string(), messages };
        let reply =
            self.client.call(operation, request, async |request| self.client.publisher().publish(request).await).await;
        match reply {
            Ok(PublishResponse { message_ids }) if message_ids.len() == count => {
                message_ids.iter().map(|id| Ok(Receipt::new(position(id)))).collect()
            }
            // Who knows what else it has wrong.
            Ok(_) => {
                let text = format!("{operation}: the answer does not have one id for each message");
                failures(count, &error::unavailable(text).into_ambiguous())
            }
            Err(error) => failures(count, &error),
        }
    }
}

/// A message's name. They are numbers, as far as anybody has seen.
pub(crate) fn position(id: &str) -> Position {
    match id.parse::<u64>() {
        Ok(number) if number.to_string() == id => Position::Number(number),
        _ => Position::from(id),
    }
}

fn failures<T>(count: usize, error: &Error) -> Vec<Result<T>> {
    vec![error; count].into_iter().map(|error| Err(error.clone())).collect()
}

/// Those of a batch that share a request, by their places in the batch.
#[derive(Debug, Default)]
struct Group {
    places: Vec<usize>,
    messages: Vec<PubsubMessage>,
}

/// Brings what can be carried in groups of a key. After a refused message, those of its key are refused too.
fn groups(batch: &[Message], outcomes: &mut [Option<Result<Receipt>>]) -> Vec<Group> {
    let mut groups: Vec<(Option<&Key>, Result<Group>)> = Vec::new();
    for (place, message) in batch.iter().enumerate() {
        let key = message.key.as_ref();
        // A sender's batches have one key, or a few: of a route.
        let found = groups.iter().rposition(|(other, _)| *other == key);
        let index = found.unwrap_or_else(|| {
            groups.push((key, Ok(Group::default())));
            groups.len() - 1
        });
        let group = &mut groups[index].1;
        match (codec::encode(message), &mut *group) {
            (Ok(wire), Ok(group)) => {
                group.places.push(place);
                group.messages.push(wire);
            }
            (Ok(_), Err(before)) => outcomes[place] = Some(Err(before.clone())),
            (Err(error), _) => {
                outcomes[place] = Some(Err(error.clone()));
                if let (Some(_), Ok(before)) = (key, &mut *group) {
                    let before = std::mem::take(before);
                    *group = Err(error);
                    // What was before it goes on by itself.
                    groups.push((key, Ok(before)));
                    let last = groups.len() - 1;
                    groups.swap(index, last);
                }
            }
        }
    }
    groups.into_iter().filter_map(|(_, group)| group.ok()).filter(|group| !group.places.is_empty()).collect()
}

impl fmt::Debug for PubSubProducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubProducer").field("topic", &self.topic).finish_non_exhaustive()
    }
}

#[async_trait]
impl Producer for PubSubProducer {
    fn limits(&self) -> Limits {
        Limits::new(REQUEST_MESSAGES, REQUEST_BYTES)
    }

    fn destinations(&self) -> Vec<String> {
        vec![name::destination(&self.topic)]
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        let plan = Plan::new(codec::measure(message)?);
        Ok(match &message.key {
            None => plan,
            Some(key) => {
                let mut hasher = DefaultHasher::new();
                key.hash(&mut hasher);
                plan.on_route(hasher.finish().max(1))
            }
        })
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(Relaxed) {
            return failures(
                batch.len(),
                &Error::new(ErrorKind::Closed, format!("{}: it is closed", self.operation())),
            );
        }
        let mut outcomes: Vec<Option<Result<Receipt>>> = Vec::new();
        outcomes.resize_with(batch.len(), || None);
        let requests: Vec<_> = groups(batch, &mut outcomes)
            .into_iter()
            .map(|group| async move { (group.places, self.publish(group.messages).await) })
            .collect();
        let mut replies = stream::iter(requests).buffer_unordered(REQUESTS);
        while let Some((places, replies)) = replies.next().await {
            for (place, reply) in places.into_iter().zip(replies) {
                outcomes[place] = Some(reply);
            }
        }
        let missing =
            || Err(error::unavailable(format!("{}: nothing is known of it", self.operation())).into_ambiguous());
        outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(missing)).collect()
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Relaxed);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, text: &str) -> Message {
        let message = Message::new(text.to_owned());
        if key.is_empty() { message } else { message.with_key(Key::new(key).unwrap()) }
    }

    #[test]
    fn a_request_has_one_key_and_what_is_behind_a_refused_one_is_refused() {
        let wrong = |key: &str| message(key, "x").with_header("bin", vec![0xff]);
        let batch = [
            message("a", "0"),
            message("", "1"),
            message("b", "2"),
            message("a", "3"),
            wrong("a"),
            wrong(""),
            message("a", "6"),
            message("", "7"),
            message("b", "8"),
        ];
        let mut outcomes: Vec<_> = std::iter::repeat_with(|| None).take(batch.len()).collect();
        let mut groups: Vec<_> = groups(&batch, &mut outcomes).into_iter().map(|group| group.places).collect();
        groups.sort();
        assert_eq!(groups, [vec![0, 3], vec![1, 7], vec![2, 8]]);
        let refused: Vec<_> = (0..batch.len()).filter(|place| outcomes[*place].is_some()).collect();
        assert_eq!(refused, [4, 5, 6]);
    }

    #[test]
    fn positions_are_numbers_where_that_is_the_same() {
        assert_eq!(position("17"), Position::Number(17));
        for text in ["017", "", "x", "18446744073709551616"] {
            assert_eq!(position(text), Position::from(text));
        }
    }
}
