use std::{error, fmt, sync::Arc, time::Duration};

use strait_core::{ClaimState, Error, ErrorKind, Guarantees, Message, Origin, Result, Watch, planted};
use tokio::{sync::oneshot, time};

use super::{
    desk::Blame,
    item::{Item, now},
    shared::Shared,
};
use crate::{
    Failure,
    worker::{Home, Lend, Settle},
};

/// One attempt at one message.
///
/// Ends in [`ack`](Self::ack), [`retry`](Self::retry) or [`reject`](Self::reject), each of which consumes it: settling
/// twice does not compile. Dropping it counts as a retry; in a [`Worker`](crate::Worker) the handler's result decides
/// instead.
pub struct Delivery {
    item: Option<Box<Item>>,
    shared: Arc<Shared>,
    /// Where it goes back to when it is dropped, if a worker lent it out.
    home: Option<Home<Box<Item>>>,
}

/// What is known of one delivery, alone or in a batch.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'a> {
    item: &'a Item,
    guarantees: &'a Guarantees,
}

impl<'a> Entry<'a> {
    #[inline]
    pub(super) fn new(item: &'a Item, shared: &'a Shared) -> Self {
        Self { item, guarantees: &shared.guarantees }
    }

    /// The message.
    #[inline]
    pub fn message(&self) -> &'a Message {
        &self.item.received().message
    }

    /// The message's id, or `provider:source:position` for one that was sent without: what to deduplicate by.
    pub fn id(&self) -> String {
        if let Some(id) = self.message().id {
            return id.to_string();
        }
        let Guarantees { provider, source, .. } = self.guarantees;
        let position = self.origin().position();
        match self.partition() {
            Some(partition) => format!("{provider}:{source}/{partition}:{position}"),
            None => format!("{provider}:{source}:{position}"),
        }
    }

    /// Where it came from.
    pub fn origin(&self) -> &'a Origin {
        &self.item.received().origin
    }

    /// The partition it came from, on a log.
    pub fn partition(&self) -> Option<&'a str> {
        self.item.received().claim.partition()
    }

    /// Which attempt this is, from 1. Counted in place: after a crash it starts again, unless
    /// [crashes](Origin::crashes) are known.
    pub fn attempt(&self) -> u32 {
        self.item.attempt()
    }

    /// Whether the message was taken away: what is done from here on will be done again, here or elsewhere.
    pub fn is_lost(&self) -> bool {
        self.item.state() == ClaimState::Lost
    }
}

impl Delivery {
    pub(super) fn new(item: Box<Item>, shared: Arc<Shared>) -> Self {
        Self { item: Some(item), shared, home: None }
    }

    #[inline]
    fn item(&self) -> &Item {
        self.item.as_ref().expect("given up only by a verdict, which consumes the delivery")
    }

    #[inline]
    fn entry(&self) -> Entry<'_> {
        Entry::new(self.item(), &self.shared)
    }

    /// The message.
    #[inline]
    pub fn message(&self) -> &Message {
        self.entry().message()
    }

    /// The payload, read as JSON.
    ///
    /// # Errors
    ///
    /// A [`Failure::reject`]: what does not decode goes to the dead letters, with its bytes as they are.
    #[cfg(feature = "json")]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Failure> {
        crate::Json::parse(self.message()).map_err(Failure::reject)
    }

    /// The message's id, or `provider:source:position` for one that was sent without: what to deduplicate by.
    pub fn id(&self) -> String {
        self.entry().id()
    }

    /// Where it came from.
    pub fn origin(&self) -> &Origin {
        self.entry().origin()
    }

    /// The partition it came from, on a log.
    pub fn partition(&self) -> Option<&str> {
        self.entry().partition()
    }

    /// Which attempt this is, from 1. Counted in place: after a crash it starts again, unless
    /// [crashes](Origin::crashes) are known.
    pub fn attempt(&self) -> u32 {
        self.entry().attempt()
    }

    /// Whether the message was taken away: what is done from here on will be done again, here or elsewhere.
    pub fn is_lost(&self) -> bool {
        self.entry().is_lost()
    }

    /// Resolves when the message is taken away; work may stop early then. Cancel-safe.
    pub async fn lost(&self) {
        lost(&self.watch()).await;
    }

    /// A new message with the same content that names this one as its cause, to be sent on.
    pub fn forward(&self) -> Message {
        self.message().forward()
    }

    /// It is processed. Settled soon, with others: if that fails, it comes again.
    #[inline]
    pub fn ack(mut self) {
        self.settle();
    }

    /// It is processed. Waits until the provider says that it is settled. Cancel-safe: the message counts as processed
    /// from the first poll on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Lost`] if it was taken away before, and comes again. What the provider says if it refuses to settle it,
    /// [`ErrorKind::Denied`] for want of a permission: that is tried again all the same, until the claim is lost. Failures
    /// that pass are not told.
    pub async fn ack_confirmed(mut self) -> Result<()> {
        let (confirm, confirmed) = oneshot::channel();
        if let Some(item) = &mut self.item {
            item.confirm = Some(confirm);
        }
        let name = Arc::clone(&self.shared.name);
        self.settle();
        confirmed.await.unwrap_or_else(|_| Err(Error::new(ErrorKind::Closed, format!("{name}: is closed"))))
    }

    #[inline]
    fn settle(&mut self) {
        if let Some(item) = self.item.take() {
            self.shared.end_attempt(item, Ok(()));
        }
    }

    /// It failed and is tried again, after the pause of the retry policy; messages of its key wait for it. After the
    /// last attempt it goes to the dead letters, with `reason`, which must hold no secret.
    pub fn retry(self, reason: impl Into<Box<dyn error::Error + Send + Sync>>) {
        self.fail(Failure::retry(reason));
    }

    /// As [`retry`](Self::retry), not earlier than after `pause`; see [`Failure::retry_after`].
    pub fn retry_after(self, reason: impl Into<Box<dyn error::Error + Send + Sync>>, pause: Duration) {
        self.fail(Failure::retry_after(reason, pause));
    }

    /// It failed for good, and goes to the dead letters with `reason`, which must hold no secret.
    pub fn reject(self, reason: impl Into<Box<dyn error::Error + Send + Sync>>) {
        self.fail(Failure::reject(reason));
    }

    /// As `failure` says.
    pub fn fail(mut self, failure: Failure) {
        if let Some(item) = self.item.take() {
            self.shared.end_attempt(item, Err(failure));
        }
    }

    #[inline]
    pub(crate) fn watch(&self) -> Watch {
        self.item().received().claim.watch()
    }

    /// It was dropped without a verdict, and no worker takes it back.
    #[cold]
    fn dropped(&mut self, item: Box<Item>, outlived: bool) {
        if planted!("dropped-delivery-forgotten") {
            return std::mem::forget(item);
        }
        let reason = if outlived {
            "the delivery outlived its handler, and was dropped without a verdict of its own"
        } else {
            "the delivery was dropped"
        };
        tracing::debug!(receiver = %self.shared.name, position = %item.received().origin.position(), reason);
        self.shared.end_attempt(item, Err(Failure::retry(reason)));
    }
}

impl Lend for Delivery {
    type Parts = Box<Item>;

    #[inline]
    fn lend(mut self, home: Home<Box<Item>>) -> Self {
        self.home = Some(home);
        self
    }
}

impl Settle for Box<Item> {
    #[inline]
    fn settle(self, shared: &Shared, outcome: Result<(), Failure>) {
        shared.end_attempt(self, outcome);
    }
}

/// Resolves when somebody says that the claim is lost, or when it ends by itself.
pub(crate) async fn lost(watch: &Watch) {
    while !watch.is_lost(now) {
        match watch.until() {
            None => return watch.revoked().await,
            // It may have been extended meanwhile.
            Some(until) => drop(time::timeout_at(until.into(), watch.revoked()).await),
        }
    }
}

impl Shared {
    #[inline]
    fn end_attempt(&self, item: Box<Item>, outcome: Result<(), Failure>) {
        self.take_back(|desk| desk.end_attempt(item, outcome));
    }

    pub(super) fn finish(&self, items: Vec<Box<Item>>, failed: impl FnMut(usize) -> Option<(Failure, Blame)>) {
        self.take_back(|desk| desk.finish(items, failed));
    }
}

impl Drop for Delivery {
    #[inline]
    fn drop(&mut self) {
        let Some(item) = self.item.take() else { return };
        let Some(home) = self.home.take() else { return self.dropped(item, false) };
        if let Some(item) = home.take_back(item) {
            self.dropped(item, true);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("item", &self.item).finish_non_exhaustive()
    }
}
