use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_sqs::types::{
    ChangeMessageVisibilityBatchRequestEntry, DeleteMessageBatchRequestEntry, Message as Wire,
    MessageSystemAttributeName,
};
use futures_util::{StreamExt as _, stream};
use strait_aws::Call;
use strait_core::{Budget, Error, ErrorKind, Guarantees, Origin, Position, Result};
use strait_kit::{LeaseTerms, Leased, Pause, Queue, QueueConsumer, QueueSettings};

use crate::{
    Client,
    attempts::Attempts,
    batch::{self, ENTRIES, Failed},
    codec,
    queue::Place,
};

/// The longest that SQS keeps a message invisible, counted from when it was received.
pub(crate) const VISIBILITY: Duration = Duration::from_hours(12);
/// The longest that a poll waits.
pub(crate) const WAIT: Duration = Duration::from_secs(20);
/// How many requests that settle, extend or release are under way at once.
const REQUESTS: usize = 8;

/// How a queue is received from. All durations are whole seconds, which is what SQS counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SqsOptions {
    /// How long a poll waits for the first message, at most 20 s. Default: 20 s.
    pub wait: Duration,
    /// The visibility time-out that each receive asks for, and each extension: after that long a message comes again
    /// when its process died. It counts from when a poll was sent, so that it is at least twice `wait`.
    /// Default: 60 s, or three times `wait` if that is longer.
    pub lease: Option<Duration>,
    /// How long a message may be held in all. Default: 12 h less the lease, the longest that SQS allows.
    pub longest: Option<Duration>,
    /// Most polls at once. There are as few as keep the budget full. Default: 8.
    pub pollers: usize,
}

impl Default for SqsOptions {
    fn default() -> Self {
        Self { wait: WAIT, lease: None, longest: None, pollers: 8 }
    }
}

impl SqsOptions {
    pub(crate) fn lease(&self) -> Duration {
        self.lease.unwrap_or_else(|| Duration::from_mins(1).max(self.wait.saturating_mul(3)))
    }

    /// Which field cannot be used, and why.
    pub(crate) fn check(&self) -> Result<(), (&'static str, String)> {
        let whole = |duration: Duration| duration.subsec_nanos() == 0;
        let (lease, wait) = (self.lease(), self.wait);
        if !whole(wait) || wait > WAIT {
            return Err(("wait", "must be whole seconds, at most 20".to_owned()));
        }
        if !whole(lease) || lease.is_zero() || lease > VISIBILITY {
            return Err(("lease", "must be whole seconds, at least one and at most 12 h".to_owned()));
        }
        if lease < 2 * wait {
            let seconds = wait.as_secs();
            let rule =
                format!("must be at least twice as long as wait, which is {seconds}s: at least {}s", 2 * seconds);
            return Err(("lease", rule));
        }
        if self.longest.is_some_and(|longest| longest.saturating_add(lease) > VISIBILITY) {
            let rule = format!("and the lease, which is {}s, must be at most 12 h together", lease.as_secs());
            return Err(("longest", rule));
        }
        Ok(())
    }

    fn longest(&self) -> Duration {
        self.longest.unwrap_or(self.most())
    }

    /// How long a message may be invisible in all, less what a request may take on its way.
    fn most(&self) -> Duration {
        VISIBILITY.saturating_sub(self.lease())
    }
}

/// A queue, for the engine that keeps leases.
pub struct SqsQueue {
    client: Client,
    place: Place,
    options: SqsOptions,
    attempts: Attempts,
    calls: Calls,
}

/// What errors tell of each call.
struct Calls {
    receive: Call,
    delete: Call,
    extend: Call,
    release: Call,
    postpone: Call,
}

impl Calls {
    fn of(place: &Place) -> Self {
        let hide = "sqs:ChangeMessageVisibility";
        Self {
            receive: place.call("receive from", "sqs:ReceiveMessage"),
            delete: place.call("settle on", "sqs:DeleteMessage"),
            extend: place.call("extend leases on", hide),
            release: place.call("release to", hide),
            postpone: place.call("postpone on", hide),
        }
    }
}

/// A receipt handle, as it came: it is long, and not to be copied before it is used. Never shown: whoever has it can
/// delete the message.
#[derive(Clone)]
pub struct Receipt(Arc<String>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

impl SqsQueue {
    /// Opens a queue by its name, its URL or its ARN. What has a region of its own is called and signed for there.
    /// Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is none, [`ErrorKind::Config`] names the option that cannot be used; otherwise
    /// what the service says.
    pub async fn open(client: &Client, queue: &str, options: SqsOptions) -> Result<Self> {
        if let Err((field, rule)) = options.check() {
            return Err(Error::new(ErrorKind::Config, format!("sqs: {field}: {rule}")));
        }
        let place = Place::find(client, queue).await?;
        let (attempts, calls) = (Attempts::new(options.lease()), Calls::of(&place));
        Ok(Self { client: client.clone(), place, options, attempts, calls })
    }

    /// Consumes it. Must be called inside a Tokio runtime. Of the settings, the adapter sets those of polls.
    pub fn consumer(self, settings: QueueSettings) -> QueueConsumer<Self> {
        let settings = self.settings(settings);
        QueueConsumer::new(self, settings)
    }

    /// Settings that fit this queue.
    pub fn settings(&self, mut settings: QueueSettings) -> QueueSettings {
        settings.pollers = self.options.pollers;
        settings.per_poll = ENTRIES;
        // What a poll that is broken off would have brought is gone for a lease: better to wait for a short one.
        settings.last_polls = Duration::from_secs(2);
        settings
    }

    /// Whether messages of a group come in order: a receiver without order gives that away.
    pub(crate) fn keeps_order(&self) -> bool {
        self.place.fifo
    }

    /// The clients beneath.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Changes how long messages stay invisible from now on, all alike.
    async fn hide(&self, call: &Call, handles: &[Receipt], time: Duration) -> Vec<Result<()>> {
        self.hide_each(call, handles.iter().map(|handle| (handle, time))).await
    }

    /// Changes how long each message stays invisible from now on: so many whole seconds, rounded up.
    async fn hide_each<'a>(
        &self,
        call: &Call,
        handles: impl ExactSizeIterator<Item = (&'a Receipt, Duration)> + Send,
    ) -> Vec<Result<()>> {
        let entry = |(index, (handle, time)): (usize, (&Receipt, Duration))| {
            ChangeMessageVisibilityBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle.0.as_str())
                .visibility_timeout(whole_seconds(time))
                .build()
                .expect("it has an id and a handle")
        };
        let count = handles.len();
        let entries = handles.enumerate().map(entry).collect();
        let request = self.place.client.change_message_visibility_batch().queue_url(&self.place.url);
        let outcomes = match request.set_entries(Some(entries)).send().await {
            Ok(reply) => {
                let done = reply.successful().iter().map(|entry| (entry.id(), ()));
                batch::outcomes(call, count, done, reply.failed().iter().map(Failed::from))
            }
            Err(error) => batch::failures(count, &call.failed(&error)),
        };
        outcomes.into_iter().map(|outcome| outcome.map_err(gone)).collect()
    }

    async fn delete_some(&self, handles: &[Receipt]) -> Vec<Result<()>> {
        let call = &self.calls.delete;
        let entry = |(index, handle): (usize, &Receipt)| {
            DeleteMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .receipt_handle(handle.0.as_str())
                .build()
                .expect("it has an id and a handle")
        };
        let entries = handles.iter().enumerate().map(entry).collect();
        let request = self.place.client.delete_message_batch().queue_url(&self.place.url);
        let outcomes = match request.set_entries(Some(entries)).send().await {
            Ok(reply) => {
                let done = reply.successful().iter().map(|entry| (entry.id(), ()));
                batch::outcomes(call, handles.len(), done, reply.failed().iter().map(Failed::from))
            }
            Err(error) => batch::failures(handles.len(), &call.failed(&error)),
        };
        outcomes.into_iter().map(|outcome| outcome.map_err(gone)).collect()
    }
}

/// A message that was received. One without a handle, or whose payload was lost on the way, cannot be delivered: its lease
/// runs out, and the queue's redrive policy decides what becomes of it.
fn leased(wire: Wire, queue: &str) -> Option<Leased<Receipt>> {
    let (mut deliveries, mut sent, mut group, mut trace) = (1_u32, None, None, None);
    // There are four, which is fewer to look at than to look up.
    for (name, value) in wire.attributes.iter().flatten() {
        match name {
            MessageSystemAttributeName::ApproximateReceiveCount => deliveries = value.parse().unwrap_or(1),
            MessageSystemAttributeName::SentTimestamp => sent = value.parse().ok(),
            MessageSystemAttributeName::MessageGroupId => group = Some(value.as_str()),
            MessageSystemAttributeName::AwsTraceHeader => trace = Some(value.as_str()),
            _ => {}
        }
    }
    let position = Position::from(wire.message_id.as_deref().unwrap_or_default());
    let Some(message) = codec::decode(wire.body.unwrap_or_default(), wire.message_attributes, group, trace) else {
        tracing::warn!(queue, message = %position, "the attribute that holds its payload is missing: it is not delivered");
        return None;
    };
    let mut origin = Origin::new(position).with_redeliveries(deliveries.saturating_sub(1));
    if let Some(time) = sent.and_then(|sent| SystemTime::UNIX_EPOCH.checked_add(Duration::from_millis(sent))) {
        origin = origin.with_stored_at(time);
    }
    Some(Leased { message, handle: Receipt(Arc::new(wire.receipt_handle?)), origin })
}

/// How many seconds these are, rounded up.
fn whole_seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs() + u64::from(time.subsec_nanos() > 0)).unwrap_or(i32::MAX)
}

/// A handle whose time is over is refused as a value that is wrong, and so is one more extension beyond 12 h.
fn gone(error: Error) -> Error {
    if error.kind() == ErrorKind::Invalid { Error::new(ErrorKind::Lost, error.to_string()) } else { error }
}

impl fmt::Debug for SqsQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsQueue").field("queue", &self.place.name).finish_non_exhaustive()
    }
}

impl Queue for SqsQueue {
    type Handle = Receipt;

    fn guarantees(&self) -> Guarantees {
        let guarantees = Guarantees::new("sqs", Arc::clone(&self.place.name)).with_ordering(self.place.ordering());
        let guarantees =
            guarantees.with_message_bytes(self.place.message_bytes).with_fed_by([self.place.destination()]);
        let guarantees = guarantees.with_postpones(self.options.most());
        match self.place.native_attempts {
            Some(attempts) => guarantees.with_native_attempts(attempts),
            None => guarantees,
        }
    }

    fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms { lease: self.options.lease(), longest: self.options.longest() }
    }

    fn counts_deliveries(&self) -> bool {
        true
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Leased<Receipt>>> {
        let SqsOptions { wait, .. } = self.options;
        let seconds = |duration: Duration| i32::try_from(duration.as_secs()).unwrap_or(i32::MAX);
        let attempt = self.place.fifo.then(|| self.attempts.begin());
        // How large they are is known only afterwards.
        let most = ENTRIES.min(budget.messages).min((budget.bytes / self.place.message_bytes).max(1));
        let system = [
            MessageSystemAttributeName::ApproximateReceiveCount,
            MessageSystemAttributeName::SentTimestamp,
            MessageSystemAttributeName::MessageGroupId,
            MessageSystemAttributeName::AwsTraceHeader,
        ];
        let request = self.place.client.receive_message().queue_url(&self.place.url);
        let request = request
            .max_number_of_messages(i32::try_from(most).unwrap_or(1))
            .wait_time_seconds(seconds(wait))
            .visibility_timeout(seconds(self.options.lease()))
            .message_attribute_names("All")
            .set_message_system_attribute_names(Some(system.to_vec()))
            .set_receive_request_attempt_id(attempt.as_ref().map(|attempt| attempt.id().to_owned()));
        let reply = request.customize().config_override(self.client.waiting(wait, self.options.lease())).send().await;
        let reply = reply.map_err(|error| self.calls.receive.failed(&error));
        if let Some(attempt) = attempt {
            attempt.end(&reply);
        }
        let messages = reply?.messages.unwrap_or_default();
        Ok(messages.into_iter().filter_map(|message| leased(message, &self.place.name)).collect())
    }

    async fn delete(&self, handles: &[Receipt]) -> Vec<Result<()>> {
        let chunks: Vec<_> = handles.chunks(ENTRIES).map(|chunk| self.delete_some(chunk)).collect();
        stream::iter(chunks).buffered(REQUESTS).collect::<Vec<_>>().await.concat()
    }

    async fn extend(&self, handles: &[Receipt]) -> Vec<Result<()>> {
        let lease = self.options.lease();
        let chunks: Vec<_> = handles.chunks(ENTRIES).map(|chunk| self.hide(&self.calls.extend, chunk, lease)).collect();
        stream::iter(chunks).buffered(REQUESTS).collect::<Vec<_>>().await.concat()
    }

    async fn release(&self, handles: &[Receipt]) -> Vec<Result<()>> {
        let hide = |chunk| self.hide(&self.calls.release, chunk, Duration::ZERO);
        let chunks: Vec<_> = handles.chunks(ENTRIES).map(hide).collect();
        let at_once = if self.place.fifo { 1 } else { REQUESTS }; // one after the other, where there is an order to keep
        stream::iter(chunks).buffered(at_once).collect::<Vec<_>>().await.concat()
    }

    async fn postpone(&self, pauses: &[Pause<Receipt>]) -> Vec<Result<()>> {
        let (call, most) = (&self.calls.postpone, self.options.most());
        let fits = |pause: &&Pause<Receipt>| pause.held.saturating_add(pause.time) <= most;
        let fitting: Vec<_> = pauses.iter().filter(fits).collect();
        let hide = |chunk: &[&Pause<Receipt>]| {
            let entries: Vec<_> = chunk.iter().map(|pause| (pause.handle.clone(), pause.time)).collect();
            async move { self.hide_each(call, entries.iter().map(|(handle, time)| (handle, *time))).await }
        };
        let chunks: Vec<_> = fitting.chunks(ENTRIES).map(hide).collect();
        let mut hidden = stream::iter(chunks).buffered(REQUESTS).collect::<Vec<_>>().await.concat().into_iter();
        let too_long = || Err(call.error(ErrorKind::Unsupported, "a message is invisible for 12 h at most"));
        pauses
            .iter()
            .map(|pause| if fits(&pause) { hidden.next().unwrap_or_else(too_long) } else { too_long() })
            .collect()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_is_rounded_up_and_never_cut() {
        assert_eq!(whole_seconds(Duration::from_secs(61)), 61);
        assert_eq!(whole_seconds(Duration::from_millis(61_001)), 62);
        assert_eq!(whole_seconds(Duration::ZERO), 0, "what is released is visible at once");
        let most = SqsOptions { longest: Some(Duration::from_mins(5)), ..SqsOptions::default() }.most();
        assert_eq!(most, Duration::from_mins(12 * 60 - 1), "how long a handler may take is no limit for a pause");
    }

    #[test]
    fn durations_that_no_clock_counts_are_refused() {
        let refused = |options: SqsOptions| options.check().unwrap_err().0;
        assert_eq!(refused(SqsOptions { wait: Duration::MAX, ..SqsOptions::default() }), "wait");
        assert_eq!(
            refused(SqsOptions { lease: Some(Duration::from_secs(u64::MAX)), ..SqsOptions::default() }),
            "lease"
        );
        assert_eq!(refused(SqsOptions { longest: Some(Duration::MAX), ..SqsOptions::default() }), "longest");
        let hot = SqsOptions { wait: Duration::ZERO, ..SqsOptions::default() };
        assert_eq!((hot.check(), hot.lease()), (Ok(()), Duration::from_mins(1)));
    }
}
