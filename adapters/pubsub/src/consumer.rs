use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream};
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{
    AcknowledgeRequest, ModifyAckDeadlineRequest, PullRequest, PullResponse, ReceivedMessage,
};
use strait_core::{Budget, Error, ErrorKind, Guarantees, Ordering, Origin, Result};
use strait_kit::{LeaseTerms, Leased, Pause, Queue, QueueConsumer, QueueSettings};
use tokio::time::Instant;
use tonic::Code;

use crate::{
    Client,
    ask::{Ask, MOST},
    codec::{self, REQUEST_BYTES},
    error, name,
    operation::{Operation, permission},
    patience::Patience,
    producer::position,
    settle::{self, IDS},
    subscription::Place,
};

/// The shortest and the longest lease there are.
const LEASES: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));
/// The longest that a message is kept.
const KEPT: Duration = Duration::from_hours(31 * 24);
/// How many requests that settle or extend are under way at once.
const REQUESTS: usize = 8;

/// How a subscription is received from. All durations are whole seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PubSubOptions {
    /// How long a pull waits for the first message. Default: 20 s, or half of the lease if that is shorter.
    pub wait: Option<Duration>,
    /// The acknowledgement deadline: after that long a message comes again when its process died. It counts from when a
    /// pull was sent, so that it is at least twice `wait`. 10 s to 600 s. Default: the subscription's own. Another costs a
    /// call more for each pull, which asks for it.
    pub lease: Option<Duration>,
    /// How long a message may be held in all, at least as long as the lease. The service knows no limit but that of keeping
    /// messages, 31 days. Default: 12 h.
    pub longest: Duration,
    /// Most pulls at once, 1 to 1,000. There are as few as keep the budget full. Default: 8.
    pub pollers: usize,
}

impl Default for PubSubOptions {
    fn default() -> Self {
        Self { wait: None, lease: None, longest: Duration::from_hours(12), pollers: 8 }
    }
}

impl PubSubOptions {
    /// Which field cannot be used, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, &'static str)> {
        let whole = |duration: Option<Duration>| duration.is_none_or(|duration| duration.subsec_nanos() == 0);
        if !whole(self.wait) || self.wait.is_some_and(|wait| wait.is_zero() || wait > LEASES.1 / 2) {
            return Err(("wait", "must be whole seconds, 1 to 300"));
        }
        if !whole(self.lease) || self.lease.is_some_and(|lease| lease < LEASES.0 || lease > LEASES.1) {
            return Err(("lease", "must be whole seconds, 10 to 600"));
        }
        if self.longest < LEASES.0 || self.longest > KEPT {
            return Err(("longest", "must be 10s to 31 days"));
        }
        if self.lease.is_some_and(|lease| lease > self.longest) {
            return Err(("longest", "must be at least as long as the lease"));
        }
        if self.pollers == 0 || self.pollers > 1000 {
            return Err(("pollers", "must be 1 to 1000"));
        }
        Ok(())
    }
}

/// What the options come to on a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Terms {
    wait: Duration,
    lease: Duration,
    /// Whether the service is to be asked for the lease after each pull, since it gives another by itself.
    asked: bool,
}

impl Terms {
    fn new(options: &PubSubOptions, native: Option<Duration>) -> Result<Self> {
        let wrong = |field, rule| Error::new(ErrorKind::Config, format!("pubsub: {field}: {rule}"));
        options.check().map_err(|(field, rule)| wrong(field, rule))?;
        let lease = options.lease.or(native).unwrap_or(LEASES.0);
        let wait = options.wait.unwrap_or(Duration::from_secs((lease.as_secs() / 2).min(20)));
        if lease < 2 * wait {
            return Err(wrong("wait", "must be at most half of the lease, or of the subscription's deadline"));
        }
        if options.longest < lease {
            return Err(wrong("longest", "must be at least as long as the lease, or the subscription's deadline"));
        }
        Ok(Self { wait, lease, asked: native != Some(lease) })
    }
}

/// A subscription, for the engine that keeps leases.
pub struct PubSubQueue {
    client: Client,
    place: Place,
    options: PubSubOptions,
    terms: Terms,
    ask: Ask,
    patience: Patience,
}

/// What a delivery is acknowledged by. Never shown: whoever has it can settle the message.
#[derive(Clone)]
pub struct AckId(Arc<str>);

impl fmt::Debug for AckId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AckId")
    }
}

impl PubSubQueue {
    /// Opens a subscription by its full name, or a short one of the connection's project.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Config`] names the option that cannot be used; otherwise
    /// what the service says.
    pub async fn open(client: &Client, subscription: &str, options: PubSubOptions) -> Result<Self> {
        let place = Place::find(client, subscription).await?;
        let terms = Terms::new(&options, place.lease)?;
        let patience = Patience::new(terms.wait, terms.lease);
        Ok(Self { client: client.clone(), place, options, terms, ask: Ask::new(), patience })
    }

    /// Consumes it. Must be called inside a Tokio runtime. Of the settings, the adapter sets those of polls.
    pub fn consumer(self, settings: QueueSettings) -> QueueConsumer<Self> {
        let settings = self.settings(settings);
        QueueConsumer::new(self, settings)
    }

    /// Settings that fit this subscription.
    pub fn settings(&self, mut settings: QueueSettings) -> QueueSettings {
        settings.pollers = self.options.pollers;
        settings.per_poll = MOST;
        // What a pull that is broken off would have brought is gone for a lease: better to wait for a short one.
        settings.last_polls = Duration::from_secs(2);
        // In order, nothing waits for the one before it of its key that is still leased to somebody who lost it.
        settings.release_lost = self.place.ordering == Ordering::Key;
        settings
    }

    /// The stubs beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    fn operation(&self, asks: &'static str) -> Operation<'_> {
        self.client.operation(asks, &self.place.full, permission::CONSUME)
    }

    /// Says when deliveries come again, from now on.
    async fn modify(&self, operation: Operation<'_>, ids: &[AckId], seconds: u64) -> Vec<Result<()>> {
        let request = ModifyAckDeadlineRequest {
            subscription: self.place.full.clone(),
            ack_ids: ids.iter().map(|id| id.0.to_string()).collect(),
            ack_deadline_seconds: i32::try_from(seconds).unwrap_or(i32::MAX),
        };
        let call = async |request| self.client.subscriber().modify_ack_deadline(request).await;
        let outcome = self.client.call_within(self.client.timeout(), operation, request, call).await;
        settle::outcomes(operation, ids.iter().map(|id| &*id.0), outcome)
    }

    async fn acknowledge(&self, operation: Operation<'_>, ids: &[AckId]) -> Vec<Result<()>> {
        let ack_ids = ids.iter().map(|id| id.0.to_string()).collect();
        let request = AcknowledgeRequest { subscription: self.place.full.clone(), ack_ids };
        let call = async |request| self.client.subscriber().acknowledge(request).await;
        let outcome = self.client.call_within(self.client.timeout(), operation, request, call).await;
        settle::outcomes(operation, ids.iter().map(|id| &*id.0), outcome)
    }

    async fn pull(&self, budget: Budget) -> Result<Vec<ReceivedMessage>> {
        let operation = self.operation("receive from");
        let request = PullRequest {
            subscription: self.place.full.clone(),
            max_messages: i32::try_from(self.ask.most(budget)).unwrap_or(1),
            ..PullRequest::default()
        };
        let (sent, begun) = (Instant::now(), OnceLock::new());
        let call = async |request| self.client.pull(request, &begun).await;
        match self.client.call_within(self.patience.time(), operation, request, call).await? {
            Ok(PullResponse { received_messages }) => {
                if !received_messages.is_empty() {
                    self.patience.came(sent.elapsed());
                }
                Ok(received_messages)
            }
            Err(status) if status.code() == Code::OutOfRange => {
                self.ask.came(REQUEST_BYTES); // so many at once are too many bytes: they come again, one by one
                Err(error::unavailable(format!("{operation}: the answer is too large")))
            }
            Err(status) => match begun.get() {
                Some(begun) => {
                    self.ask.came(REQUEST_BYTES);
                    if self.patience.broken_off(begun.elapsed()) {
                        return Ok(Vec::new()); // it comes again, and the next may take longer
                    }
                    let text = format!("{operation}: the answer is on its way for almost as long as a lease lasts");
                    Err(error::unavailable(text))
                }
                // There was nothing while it waited, as the service says or its stub. A connection that is none any more is
                // noticed by itself. Before its time it is a failure, after which there is a pause.
                None if ended(status.code()) && sent.elapsed() >= self.terms.wait => Ok(Vec::new()),
                None => Err(error::of(operation, &status)),
            },
        }
    }

    /// Those of what came that are ours for a whole lease. The others come again.
    async fn lease(&self, came: Vec<Leased<AckId>>) -> Vec<Leased<AckId>> {
        if !self.terms.asked || came.is_empty() {
            return came;
        }
        let operation = self.operation("lease from");
        let ids: Vec<_> = came.iter().map(|leased| leased.handle.clone()).collect();
        let outcomes = self.modify(operation, &ids, self.terms.lease.as_secs()).await;
        let kept = came.into_iter().zip(outcomes);
        kept.filter_map(|(leased, outcome)| match outcome {
            Ok(()) => Some(leased),
            Err(error) => {
                tracing::debug!(%error, "a message is left until it comes again");
                None
            }
        })
        .collect()
    }
}

/// For how long the service keeps a message back. With message ordering it is not asked to: nobody promises that what is
/// behind the message of its key waits for it.
fn postpones(ordering: Ordering) -> Option<Duration> {
    (ordering == Ordering::None).then_some(LEASES.1)
}

/// Pauses that are as long in whole seconds, rounded up: a request has one deadline for all of its ids.
fn by_seconds(pauses: &[Pause<AckId>]) -> BTreeMap<u64, Vec<usize>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (index, Pause { time, .. }) in pauses.iter().enumerate() {
        groups.entry(time.as_secs() + u64::from(time.subsec_nanos() > 0)).or_default().push(index);
    }
    groups
}

/// Whether this says that a pull is over by its deadline.
fn ended(code: Code) -> bool {
    matches!(code, Code::DeadlineExceeded | Code::Cancelled)
}

/// A message that was received.
fn leased(wire: ReceivedMessage) -> Option<Leased<AckId>> {
    let message = wire.message?;
    let deliveries = u32::try_from(wire.delivery_attempt).unwrap_or(0);
    let mut origin = Origin::new(position(&message.message_id)).with_redeliveries(deliveries.saturating_sub(1));
    if let Some(time) = message.publish_time.and_then(|time| SystemTime::try_from(time).ok()) {
        origin = origin.with_stored_at(time);
    }
    Some(Leased { message: codec::decode(message), handle: AckId(wire.ack_id.into()), origin })
}

impl fmt::Debug for PubSubQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PubSubQueue").field("subscription", &self.place.full).finish_non_exhaustive()
    }
}

impl Queue for PubSubQueue {
    type Handle = AckId;

    fn guarantees(&self) -> Guarantees {
        let guarantees = Guarantees::new("pubsub", Arc::clone(&self.place.name)).with_ordering(self.place.ordering);
        let guarantees = guarantees
            .with_message_bytes(REQUEST_BYTES)
            .with_fed_by(self.place.topic.as_deref().map(name::destination));
        let guarantees = match postpones(self.place.ordering) {
            Some(longest) => guarantees.with_postpones(longest),
            None => guarantees,
        };
        match self.place.native_attempts {
            Some(attempts) => guarantees.with_native_attempts(attempts),
            None => guarantees,
        }
    }

    fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms { lease: self.terms.lease, longest: self.options.longest }
    }

    fn counts_deliveries(&self) -> bool {
        self.place.native_attempts.is_some()
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Leased<AckId>>> {
        let came = self.pull(budget).await?;
        if let Some(largest) = came.iter().map(prost::Message::encoded_len).max() {
            self.ask.came(largest);
        }
        Ok(self.lease(came.into_iter().filter_map(leased).collect()).await)
    }

    async fn delete(&self, ids: &[AckId]) -> Vec<Result<()>> {
        let operation = self.operation("settle on");
        let chunks: Vec<_> = ids.chunks(IDS).map(|chunk| self.acknowledge(operation, chunk)).collect();
        stream::iter(chunks).buffered(REQUESTS).collect::<Vec<_>>().await.concat()
    }

    async fn extend(&self, ids: &[AckId]) -> Vec<Result<()>> {
        let (operation, seconds) = (self.operation("extend leases on"), self.terms.lease.as_secs());
        let chunks: Vec<_> = ids.chunks(IDS).map(|chunk| self.modify(operation, chunk, seconds)).collect();
        stream::iter(chunks).buffered(REQUESTS).collect::<Vec<_>>().await.concat()
    }

    async fn release(&self, ids: &[AckId]) -> Vec<Result<()>> {
        let operation = self.operation("release to");
        // What is refused comes behind what was not yet delivered of its key, on the emulator. What runs out comes before.
        let seconds = u64::from(self.place.ordering == Ordering::Key);
        let mut outcomes = Vec::with_capacity(ids.len());
        for chunk in ids.chunks(IDS) {
            outcomes.extend(self.modify(operation, chunk, seconds).await); // one after the other, for the order
        }
        outcomes
    }

    async fn postpone(&self, pauses: &[Pause<AckId>]) -> Vec<Result<()>> {
        let operation = self.operation("postpone on");
        let mut requests = Vec::new();
        for (seconds, indices) in by_seconds(pauses) {
            for chunk in indices.chunks(IDS).map(<[_]>::to_vec) {
                requests.push(async move {
                    let ids: Vec<_> = chunk.iter().map(|index| pauses[*index].handle.clone()).collect();
                    let outcomes = self.modify(operation, &ids, seconds).await;
                    chunk.into_iter().zip(outcomes).collect::<Vec<_>>()
                });
            }
        }
        let mut outcomes = stream::iter(requests).buffered(REQUESTS).collect::<Vec<_>>().await.concat();
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        outcomes.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_share_a_request_by_their_whole_seconds() {
        let pause =
            |millis| Pause { handle: AckId("id".into()), time: Duration::from_millis(millis), held: Duration::ZERO };
        let groups = by_seconds(&[pause(61_001), pause(70_000), pause(62_000)]);
        assert_eq!(groups.into_iter().collect::<Vec<_>>(), [(62, vec![0, 2]), (70, vec![1])]);
        assert_eq!((postpones(Ordering::None), postpones(Ordering::Key)), (Some(LEASES.1), None));
    }

    #[test]
    fn terms_are_the_subscriptions_unless_others_are_asked_for() {
        let secs = Duration::from_secs;
        let terms = |wait, lease, native| {
            let options = PubSubOptions { wait, lease, ..PubSubOptions::default() };
            Terms::new(&options, native).map(|terms| (terms.wait.as_secs(), terms.lease.as_secs(), terms.asked))
        };
        assert_eq!(terms(None, None, Some(secs(10))).unwrap(), (5, 10, false));
        assert_eq!(terms(None, None, Some(secs(60))).unwrap(), (20, 60, false));
        assert_eq!(terms(None, Some(secs(60)), Some(secs(10))).unwrap(), (20, 60, true));
        assert_eq!(terms(Some(secs(2)), Some(secs(10)), Some(secs(10))).unwrap(), (2, 10, false));
        assert_eq!(terms(None, None, None).unwrap(), (5, 10, true));
        let refused = terms(Some(secs(6)), None, Some(secs(10))).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().starts_with("pubsub: wait: must be at most half"), "{refused}");
        for lease in [secs(9), secs(601), Duration::from_millis(10_500)] {
            assert!(terms(None, Some(lease), None).is_err());
        }
    }
}
