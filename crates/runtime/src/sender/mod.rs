//! Sending: a state that knows what may be sent next, a driver that sends it, and tickets that wait for outcomes.

mod driver;
mod fitting;
mod health;
mod ids;
mod refusal;
mod settings;
mod shared;
mod state;
mod ticket;

use std::{sync::Arc, time::Duration};

use strait_core::{Error, ErrorKind, Key, Limits, Message, Plan, Producer, Receipt, Result, planted, reserved};
use tokio::{
    runtime::Handle,
    sync::{SemaphorePermit, TryAcquireError},
    time::{Instant, timeout_at},
};

pub(crate) use fitting::leave_out_others;
pub use health::SenderHealth;
pub use refusal::TryEnqueueError;
pub use settings::{AfterFailure, SenderSettings};
pub use ticket::{Outcome, Pending};

use driver::Ending;
use shared::Shared;
use state::State;

/// Sends messages in batches, in order of their keys, and tries again what failed for a moment.
///
/// Clones are handles of the same sender. Every message that is accepted has exactly one [`Outcome`], also when the
/// sender is closed or dropped, the provider panics, or the runtime ends. When the last handle is dropped, what was
/// accepted is sent in the background, for as long as the runtime lives; [`close`](Self::close) waits for it.
///
/// After an ambiguous failure the old request may still land after the new one: that is why consumers deduplicate by id.
#[derive(Clone, Debug)]
pub struct Sender {
    handle: Arc<Open>,
}

/// Closes when the last handle is dropped.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    producer: Arc<dyn Producer>,
    limits: Limits,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Sender {
    /// Sends to `producer`. Must be called inside a Tokio runtime, which drives it from then on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] names the setting that cannot be used, or says that there is no runtime.
    pub fn new(producer: Arc<dyn Producer>, settings: SenderSettings) -> Result<Self> {
        let limits = producer.limits();
        settings.check(limits)?;
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Config, format!("{}: needs a Tokio runtime", settings.name)).with_source(error)
        })?;
        let destinations = producer.destinations();
        tracing::info!(sender = %settings.name, ?destinations, "a sender opens");
        let requests = settings.requests;
        let shared = Arc::new(Shared::new(settings, limits));
        // Made here and not in the task, so that a runtime that never runs the task ends the messages too.
        let ending = Ending(Arc::clone(&shared));
        runtime.spawn(driver::drive(ending, Arc::clone(&producer), requests));
        Ok(Self { handle: Arc::new(Open { shared, producer, limits }) })
    }

    /// Accepts a message once there is room for it; it is sent whether or not its outcome is waited for.
    ///
    /// Of keys that the provider throttles it waits while they hold half of the buffer, however much of it is free, and keeps
    /// nobody else waiting: see [`SenderSettings::buffer_bytes`].
    ///
    /// The order of a key is the order in which calls return. Cancel-safe: a call that is dropped has accepted nothing.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] or [`ErrorKind::Unsupported`] names the field that the provider cannot carry, unless it is a
    /// header of a message that [`is_onward`](Message::is_onward), which is left out; [`ErrorKind::Closed`] once closed, or while its key is paused. Nothing else is touched, and no key is paused.
    pub async fn enqueue(&self, mut message: Message) -> Result<Pending> {
        let (plan, cost) = self.plan(&mut message)?;
        let shared = self.shared();
        let mut room = shared.room.try_acquire_many(cost).ok();
        loop {
            if let Some(room) = room.take() {
                match self.accept(message, plan, room) {
                    Err(TryEnqueueError::Full(back)) => message = back,
                    Err(TryEnqueueError::Refused(error)) => return Err(error),
                    Ok(pending) => return Ok(pending),
                }
            }
            let mut eased = std::pin::pin!(shared.eased.notified());
            eased.as_mut().enable();
            // What will be refused does not wait first.
            if shared.state().must_wait(&message, cost as usize)? {
                eased.await;
                continue;
            }
            room = Some(shared.room.acquire_many(cost).await.map_err(|_| shared.is_closed())?);
        }
    }

    /// Accepts a message if there is room for it now.
    ///
    /// # Errors
    ///
    /// [`TryEnqueueError::Full`] gives the message back; otherwise as [`enqueue`](Self::enqueue).
    pub fn try_enqueue(&self, mut message: Message) -> Result<Pending, TryEnqueueError> {
        let (plan, cost) = self.plan(&mut message).map_err(TryEnqueueError::Refused)?;
        match self.shared().room.try_acquire_many(cost) {
            Ok(room) => self.accept(message, plan, room),
            Err(TryAcquireError::NoPermits) => Err(TryEnqueueError::Full(message)),
            Err(TryAcquireError::Closed) => Err(TryEnqueueError::Refused(self.shared().is_closed())),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.shared().name
    }

    /// Checks a message, and says how much of the buffer it takes.
    #[inline]
    fn plan(&self, message: &mut Message) -> Result<(Plan, u32)> {
        let Open { shared, limits, .. } = &*self.handle;
        let plan = self.fit(message)?;
        let most = limits.message_bytes;
        if plan.bytes > most && !planted!("oversize-not-checked") {
            let text = format!("message: has {} bytes, and the provider takes at most {most}", plan.bytes);
            return Err(shared.error(ErrorKind::Invalid, text));
        }
        let cost = State::cost(message, plan).min(shared.buffer_bytes);
        Ok((plan, u32::try_from(cost).expect("the buffer was checked to have fewer")))
    }

    /// Says how a message is sent. Of one that is sent on, leaves out the headers that the provider cannot carry.
    #[inline]
    pub(crate) fn fit(&self, message: &mut Message) -> Result<Plan> {
        self.check(message).or_else(|refusal| self.fit_refused(message, refusal))
    }

    #[cold]
    fn fit_refused(&self, message: &mut Message, refusal: Error) -> Result<Plan> {
        if !message.is_onward() || !matches!(refusal.kind(), ErrorKind::Invalid | ErrorKind::Unsupported) {
            return Err(refusal);
        }
        let reason = refusal.clone();
        let plan = fitting::fit(message, refusal, |message| self.check(message))?;
        self.shared().left_out(&reason);
        Ok(plan)
    }

    #[inline]
    fn check(&self, message: &Message) -> Result<Plan> {
        if message.is_received() {
            return Err(self.was_received());
        }
        if !message.headers.is_empty() {
            self.check_headers(message)?;
        }
        if let Some(key) = &message.key {
            key.check().map_err(|error| self.shared().error(error.kind(), error))?;
        }
        self.handle.producer.plan(message)
    }

    #[cold]
    fn was_received(&self) -> Error {
        let text = "message: was received; send what its forward() or redrive() makes of it";
        self.shared().error(ErrorKind::Invalid, text)
    }

    fn check_headers(&self, message: &Message) -> Result<()> {
        let is_foreign = |name: &str| name.starts_with(reserved::PREFIX) && !reserved::is_ours(name);
        match message.headers.iter().find(|(name, _)| is_foreign(name)) {
            Some((name, _)) if !planted!("reserved-header-accepted") => {
                let text = format_args!("headers: {name:?} begins with a reserved prefix");
                Err(self.shared().error(ErrorKind::Invalid, text))
            }
            _ => Ok(()),
        }
    }

    #[expect(clippy::inline_always, reason = "once a message, and each call that it goes through copies it")]
    #[inline(always)]
    fn accept(&self, message: Message, plan: Plan, room: SemaphorePermit<'_>) -> Result<Pending, TryEnqueueError> {
        let cost = room.num_permits();
        let (ticket, wake) = self.shared().state().accept(message, plan, cost)?;
        room.forget(); // given back with the outcome
        if planted!("unbounded-sender-buffer") {
            self.shared().room.add_permits(cost);
        }
        if wake {
            self.shared().work.notify_one();
        }
        Ok(Pending::new(ticket, Arc::clone(self.shared())))
    }

    /// Sends a message, and waits until it is stored. Cancel-safe: dropped while it waits for room, nothing was
    /// accepted; later, the message is sent all the same.
    ///
    /// # Errors
    ///
    /// As [`enqueue`](Self::enqueue); then why it was not sent, or, if [`Error::is_ambiguous`], is not known to be.
    pub async fn send(&self, message: Message) -> Result<Receipt> {
        self.enqueue(message).await?.expecting_to_wait().await.into_result()
    }

    /// Sends messages, and waits until each has its outcome, in the order given. A message that is refused does not
    /// keep the others from being sent. Not cancel-safe: dropped, it has accepted some of them.
    pub async fn send_all(&self, messages: impl IntoIterator<Item = Message>) -> Vec<Outcome> {
        let mut accepted = Vec::new();
        for message in messages {
            accepted.push(self.enqueue(message).await);
        }
        let mut outcomes = Vec::with_capacity(accepted.len());
        for pending in accepted {
            outcomes.push(match pending {
                Ok(pending) => pending.await,
                Err(error) => Outcome::NotSent(error),
            });
        }
        outcomes
    }

    /// Waits until everything accepted before has its outcome, and does not linger meanwhile. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Closed`] if the runtime ended first.
    pub async fn flush(&self) -> Result<()> {
        /// Ends the hurry, waited for or not.
        struct Flushing<'a>(&'a Shared);
        impl Drop for Flushing<'_> {
            fn drop(&mut self) {
                self.0.state().flushes.end();
            }
        }
        let shared = self.shared();
        let generation = shared.state().flushes.begin();
        let _flushing = Flushing(shared);
        shared.work.notify_one();
        loop {
            let flushed = shared.flushed.notified();
            let mut flushed = std::pin::pin!(flushed);
            flushed.as_mut().enable();
            if shared.state().flushes.is_over(generation) {
                return Ok(());
            }
            if shared.ended.borrow().is_some() {
                return Err(shared.error(ErrorKind::Closed, "ended before it was flushed"));
            }
            flushed.await;
        }
    }

    /// Accepts nothing more, sends what was accepted, and disconnects. It takes as long as the deadline of what was
    /// accepted, and 30 s to disconnect, at most; see [`close_within`](Self::close_within). Idempotent, from any handle.
    /// Cancel-safe: it goes on without being waited for.
    ///
    /// # Errors
    ///
    /// What the provider reported at closing.
    pub async fn close(&self) -> Result<()> {
        self.shared().close();
        let mut ended = self.shared().ended.subscribe();
        let outcome = ended.wait_for(Option::is_some).await.expect("its sender is held here").clone();
        outcome.unwrap_or(Ok(()))
    }

    /// As [`close`](Self::close), for `limit` and a second at most. What has no outcome by then is ended: as not sent, or, if
    /// it may have been stored, as unknown. Of several limits the earliest counts.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if something was not sent, or the provider did not disconnect, within the limit; what it
    /// reported at closing.
    pub async fn close_within(&self, limit: Duration) -> Result<()> {
        /// Every clock can count that far.
        const FAR: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
        let end = Instant::now() + limit.min(FAR);
        self.shared().close_by(end);
        timeout_at(end + Duration::from_secs(1), self.close()).await.unwrap_or_else(|_| {
            Err(self.shared().error(ErrorKind::Unavailable, format_args!("did not close within {limit:?}")))
        })
    }

    /// Sends messages of `key` again, after one was not sent. Idempotent. See [`AfterFailure::Pause`].
    pub fn resume(&self, key: &Key) {
        self.shared().state().resume(key);
    }

    /// Sends messages of every key again. Idempotent. See [`AfterFailure::Pause`].
    pub fn resume_all(&self) {
        self.shared().state().resume_all();
    }

    /// The keys that are paused, in no order: 10,000 at most. Keys are content, and do not belong in logs. See
    /// [`AfterFailure::Pause`].
    pub fn paused_keys(&self) -> Vec<Key> {
        self.shared().state().paused.list()
    }

    /// What one request may hold, and each message of it.
    pub fn limits(&self) -> Limits {
        self.handle.limits
    }

    /// The provider's producer: the way out to what this library does not offer.
    pub fn producer(&self) -> &Arc<dyn Producer> {
        &self.handle.producer
    }

    /// How it is now.
    pub fn health(&self) -> SenderHealth {
        SenderHealth::of(&self.shared().state())
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}
