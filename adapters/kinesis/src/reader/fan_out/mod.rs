//! Reading a shard by having its records pushed: enhanced fan-out.
//!
//! A subscription ends after five minutes, breaks off, is taken over by another member, or falls silent. It is made anew
//! behind the last record that was delivered, and none of that is a failure, unless it goes on for 30 s.

mod subscription;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_kinesis::{
    error::{ProvideErrorMetadata as _, SdkError},
    primitives::DateTime,
    types::{StartingPosition, SubscribeToShardEvent},
};
use strait_aws::Call;
use strait_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, sleep_until, timeout};

use self::subscription::{IN_USE, Pushed, SILENCE, Subscription, UNPULLED};
use super::{Answer, Fetch, Found, Shard};
use crate::{consumer::RegisteredConsumer, pace::Patience, place::Place};

/// Between two calls for a subscription to a shard: one a second is allowed.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long a shard belongs to who subscribed to it last.
const TAKEN: Duration = Duration::from_secs(5);

/// Subscribes to a shard.
#[derive(Debug)]
pub(crate) struct FanOut {
    consumer: Arc<RegisteredConsumer>,
    /// By connections of its own: see [`FanOut::new`].
    client: aws_sdk_kinesis::Client,
    call: Call,
    subscription: Option<Subscription>,
    /// When it may be subscribed to again.
    next: Instant,
    patience: Patience,
    /// How many bytes may be held.
    ahead: usize,
}

impl FanOut {
    /// `ahead` is how many bytes may be held.
    ///
    /// It has a connection of its own: HTTP/2 lets a server push 2 MiB a stream and 5 MiB a connection that nobody reads, so
    /// that three shards whose handlers are slow would hold up all others of their connection.
    pub(crate) fn new(shard: &Shard, consumer: &Arc<RegisteredConsumer>, ahead: usize) -> Self {
        Self {
            consumer: Arc::clone(consumer),
            client: aws_sdk_kinesis::Client::from_conf(shard.stream.client.config().clone()),
            call: shard.call("subscribe to", "kinesis:SubscribeToShard"),
            subscription: None,
            next: Instant::now(),
            patience: Patience::default(),
            ahead,
        }
    }

    async fn subscribe(&mut self, shard: &mut Shard) -> Result<Found> {
        sleep_until(self.next).await;
        self.next = Instant::now() + BETWEEN;
        let request = self.client.subscribe_to_shard().consumer_arn(&*self.consumer.arn).shard_id(&*shard.id);
        let request = request.starting_position(starting_at(shard.place())).customize();
        // Its time-out does not cover the first event, which the SDK waits for.
        let Ok(answer) = timeout(SILENCE, request.interceptor(shard.clock.clone()).send()).await else {
            return self.fell_silent();
        };
        match answer {
            Ok(_) if shard.begins() => Ok(Found::Trimmed(None)),
            Ok(reply) => {
                self.subscription = Some(Subscription::new(reply, self.call.clone()));
                Ok(Found::Again)
            }
            Err(error) if shard.is_early(error.code()) => Ok(Found::Records),
            // What is not an answer to the call is one to its first event.
            Err(SdkError::ResponseError(_)) => self.broke_off(),
            Err(error) => self.refused(error.code(), self.call.failed(&error)),
        }
    }

    fn take_in(&mut self, shard: &mut Shard, event: SubscribeToShardEvent, is_first: bool) -> Found {
        let SubscribeToShardEvent { records, continuation_sequence_number, millis_behind_latest, child_shards, .. } =
            event;
        let behind = Duration::from_millis(u64::try_from(millis_behind_latest).unwrap_or(0));
        let found = shard.take_in(Answer {
            behind,
            // Some servers do not say how far behind an event is.
            may_be_more: !records.is_empty(),
            records,
            // It may have waited here, or on the way, for so long.
            at: shard.clock.runs_on().map(|now: SystemTime| now - UNPULLED - SILENCE),
            continuation: Some(continuation_sequence_number),
            end: child_shards.filter(|children| !children.is_empty()),
        });
        // A subscription that breaks off once it has brought what was known does not get on.
        if !is_first || !shard.has_nothing() {
            self.patience.renew();
        }
        found
    }

    /// It is refused, or ended so, with this code.
    fn refused(&mut self, code: Option<&str>, error: Error) -> Result<Found> {
        if code == Some(IN_USE) {
            // Others that were refused are to come back at another time.
            return self.again(TAKEN.mul_f64(1.0 + fastrand::f64() / 5.0), error);
        }
        match error.kind() {
            ErrorKind::Throttled => self.again(BETWEEN.mul_f64(1.0 + fastrand::f64()), error),
            _ => Err(error),
        }
    }

    fn broke_off(&mut self) -> Result<Found> {
        let error = self.call.error(ErrorKind::Unavailable, "the subscription breaks off");
        self.again(Duration::ZERO, error)
    }

    fn fell_silent(&mut self) -> Result<Found> {
        let error = self.call.error(ErrorKind::Unavailable, "nothing comes");
        self.again(Duration::ZERO, error)
    }

    /// Subscribes again after a pause, unless that has gone on for too long.
    fn again(&mut self, pause: Duration, error: Error) -> Result<Found> {
        self.next = self.next.max(Instant::now() + pause);
        if self.patience.is_left() { Ok(Found::Again) } else { Err(error) }
    }
}

impl Fetch for FanOut {
    async fn fetch(&mut self, shard: &mut Shard, _: usize) -> Result<Found> {
        let Some(subscription) = &mut self.subscription else { return self.subscribe(shard).await };
        let is_first = subscription.is_new();
        let pushed = subscription.next().await;
        if let Some(Pushed::Event(event)) = pushed {
            return Ok(self.take_in(shard, event, is_first));
        }
        self.subscription = None;
        match pushed {
            // It was given up, since nobody read it.
            None => Ok(Found::Again),
            Some(Pushed::Ended) if !is_first => Ok(Found::Again),
            Some(Pushed::Silent) => self.fell_silent(),
            Some(Pushed::Refused(code, error)) => self.refused(Some(code), error),
            Some(Pushed::Ended | Pushed::BrokeOff | Pushed::Event(_)) => self.broke_off(),
        }
    }

    fn ahead(&self, brought: usize) -> usize {
        let waiting = self.subscription.as_ref().map_or(0, Subscription::waiting);
        // The service pushes, whether anybody reads or not.
        self.ahead.max(brought + waiting)
    }
}

fn starting_at(place: &Place) -> StartingPosition {
    let position = StartingPosition::builder().r#type(place.kind());
    let position = match place {
        Place::Oldest | Place::Newest => position,
        Place::Time(time) => position.timestamp(DateTime::from(*time)),
        Place::Behind { sequence, .. } | Place::Passed { sequence, .. } => position.sequence_number(sequence),
    };
    position.build().expect("it has a type")
}
