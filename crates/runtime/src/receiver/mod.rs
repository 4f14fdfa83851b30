//! Receiving: a desk that knows what is held, a driver that carries out what is due, and deliveries that come and go.

#![expect(
    clippy::vec_box,
    reason = "a box is the message's place for as long as it is held, and moves from list to list"
)]

mod batch;
mod burial;
mod delivery;
mod desk;
mod driver;
mod health;
mod item;
mod receiving;
mod settings;
mod shared;

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use futures_util::stream::{self, Stream};
use strait_core::{Consumer, Error, ErrorKind, Guarantees, Result};
use tokio::runtime::Handle;

pub use batch::Batch;
pub(crate) use delivery::lost;
pub use delivery::{Delivery, Entry};
pub use health::{Health, Stalled, State};
use item::Item;
pub(crate) use item::{after, now};
pub use settings::{DeadLetter, Oversize, ReceiverSettings, Retry};

use desk::Desk;
use driver::Driver;
pub(crate) use shared::Shared;

use crate::{Meter, worker::Done};

/// Receives messages, at least once each, and tries the failed ones again.
///
/// Clones are handles of the same receiver, and any number of tasks may receive from it at once. It closes when the last
/// handle is dropped, or by [`close`](Self::close), which waits for what is in hand. Messages of one key are handed out
/// one after the other where [`ReceiverSettings::ordering`] asks for it: the next once the one before is settled.
#[derive(Clone, Debug)]
pub struct Receiver {
    handle: Arc<Open>,
}

/// Closes when the last handle is dropped; the driver goes on until the deliveries in hand are done.
#[derive(Debug)]
struct Open {
    shared: Arc<Shared>,
    consumer: Arc<dyn Consumer>,
    meter: Meter,
    in_flight: usize,
    drain: Duration,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.shared.abandon();
    }
}

/// A handle that does not keep its receiver open.
#[derive(Clone, Debug)]
pub struct WeakReceiver {
    handle: Weak<Open>,
}

impl WeakReceiver {
    /// The receiver, unless its last handle was dropped.
    pub fn upgrade(&self) -> Option<Receiver> {
        self.handle.upgrade().map(|handle| Receiver { handle })
    }
}

impl Receiver {
    /// Starts receiving from `consumer`. Must be called inside a Tokio runtime, which drives it from then on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] names the setting that cannot be used, or says that there is no runtime;
    /// [`ErrorKind::Unsupported`] names the one that the provider cannot keep.
    pub fn new(consumer: Arc<dyn Consumer>, settings: ReceiverSettings) -> Result<Self> {
        let guarantees = consumer.guarantees();
        settings.check(&guarantees)?;
        settings.warn(&guarantees);
        let runtime = Handle::try_current().map_err(|error| {
            Error::new(ErrorKind::Config, format!("{}: needs a Tokio runtime", settings.name)).with_source(error)
        })?;
        let (Guarantees { provider, source, .. }, ordering) = (&guarantees, settings.ordering);
        tracing::info!(receiver = %settings.name, %provider, %source, ?ordering, "a receiver opens");
        let (meter, in_flight) = (settings.meter.clone(), settings.in_flight);
        let (dead_letter, oversize, drain) = (settings.dead_letter.clone(), settings.oversize, settings.drain);
        let (name, desk) = (Arc::clone(&settings.name), Desk::new(settings, &guarantees));
        let shared = Arc::new(Shared::new(name, guarantees, desk));
        let driver = Driver {
            shared: Arc::clone(&shared),
            consumer: Arc::clone(&consumer),
            dead_letter,
            oversize,
            drain,
            meter: meter.clone(),
        };
        runtime.spawn(driver.run());
        Ok(Self { handle: Arc::new(Open { shared, consumer, meter, in_flight, drain }) })
    }

    /// The next delivery, or `None` once closed. On a log what fails while it closes is handed out again: there it ends
    /// once nothing is out, so that a task must not hold a delivery while it waits for the end.
    ///
    /// Waits while [`in_flight`](ReceiverSettings::in_flight) deliveries are out. Cancel-safe: nothing is taken unless
    /// it is returned.
    ///
    /// # Errors
    ///
    /// What the provider reported, if it could not be opened; one of the callers is told, and then it is closed.
    /// Later failures are tried again for ever, and show in [`health`](Self::health).
    pub async fn recv(&self) -> Result<Option<Delivery>> {
        loop {
            if let Some(taken) = self.take(|desk| desk.hand_out(now)) {
                #[cfg(strait_faults)]
                returned().await;
                return Ok(taken?.map(|item| Delivery::new(item, Arc::clone(self.shared()))));
            }
            self.wait().await;
        }
    }

    /// The deliveries as a stream, for its combinators. It ends once the receiver is closed, or with the error of a provider
    /// that could not be opened. Dropping it closes the receiver, if it was the last handle.
    ///
    /// ```
    /// use futures_util::TryStreamExt as _;
    /// use strait_runtime::{Delivery, Receiver};
    ///
    /// # async fn example(receiver: Receiver) -> strait_core::Result<()> {
    /// receiver
    ///     .into_stream()
    ///     .try_for_each_concurrent(8, async |delivery: Delivery| {
    ///         println!("{} bytes", delivery.message().payload.len());
    ///         delivery.ack();
    ///         Ok(())
    ///     })
    ///     .await
    /// # }
    /// ```
    pub fn into_stream(self) -> impl Stream<Item = Result<Delivery>> + Send + 'static {
        stream::try_unfold(self, async |receiver| Ok(receiver.recv().await?.map(|delivery| (delivery, receiver))))
    }

    /// The next deliveries, at least one and at most `max` and [`in_flight`](ReceiverSettings::in_flight), or `None`
    /// once closed. Of a key there may be several in a row, in order. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`recv`](Self::recv).
    pub async fn recv_batch(&self, max: usize) -> Result<Option<Batch>> {
        let take = |desk: &mut Desk| Some(desk.hand_out_batch(max.max(1))).filter(|items| !items.is_empty());
        loop {
            if let Some(taken) = self.take(take) {
                #[cfg(strait_faults)]
                returned().await;
                return Ok(taken?.map(|items| Batch::new(items, Arc::clone(self.shared()))));
            }
            self.wait().await;
        }
    }

    /// Ends what a worker is done with, and takes what it works on next, if there is something now: under one lock, and
    /// without a wait between them in which it could be cancelled.
    #[inline]
    pub(crate) fn end_and_take(&self, done: Option<Done<Box<Item>>>) -> Option<Delivery> {
        let shared = self.shared();
        let mut desk = shared.desk();
        let work = done.is_some_and(|(item, outcome)| desk.end_attempt(item, outcome));
        let next = desk.hand_out(now);
        shared.handed_out(&mut desk);
        drop(desk);
        if work {
            shared.work.notify_one();
        }
        next.map(|item| Delivery::new(item, Arc::clone(shared)))
    }

    /// What can be taken now, or nothing once closed; `None` if it is to be waited for.
    #[inline]
    fn take<T>(&self, take: impl FnOnce(&mut Desk) -> Option<T>) -> Option<Result<Option<T>>> {
        let mut desk = self.shared().desk();
        if let Some(taken) = take(&mut desk) {
            self.shared().handed_out(&mut desk);
            return Some(Ok(Some(taken)));
        }
        let outcome = desk.outcome()?;
        self.shared().tell(&mut desk);
        Some(outcome.map(|()| None))
    }

    /// Waits for a word that something is ready.
    async fn wait(&self) {
        /// Counts a waiting task for as long as it waits, cancelled or not. A word that came too late for a cancelled
        /// one goes to another: `Notify` passes it on.
        struct Waiting<'a>(&'a Shared);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                let mut desk = self.0.desk();
                desk.waiting -= 1;
                // A task that comes passes the word on, cancelled or not. Of words that were given before anybody waited for
                // them one is left at most, so that none of them is counted on.
                desk.told = 0;
            }
        }
        let waiting = Waiting(self.shared());
        {
            let mut desk = self.shared().desk();
            desk.waiting += 1;
            self.shared().tell(&mut desk); // something may have come in since it was looked for
        }
        self.shared().ready.notified().await;
        drop(waiting);
    }

    /// Stops receiving, without waiting for anything. What is in hand may still be settled, for as long as the time to
    /// drain.
    pub fn stop(&self) {
        self.shared().close();
    }

    /// Stops receiving, waits for what is in hand, gives back what was not started, and persists progress.
    ///
    /// Takes [`drain`](ReceiverSettings::drain) at most in all, whatever hangs. What is still in hand then comes again.
    /// Idempotent, from any handle. Cancel-safe: it goes on without being waited for.
    ///
    /// # Errors
    ///
    /// What kept the provider from giving back or from persisting progress; [`ErrorKind::Unavailable`] if there was no
    /// time for it.
    pub async fn close(&self) -> Result<()> {
        self.stop();
        let mut ended = self.shared().ended.subscribe();
        let outcome = ended.wait_for(Option::is_some).await.expect("its sender is held here").clone();
        outcome.unwrap_or(Ok(()))
    }

    /// How it is now.
    pub fn health(&self) -> Health {
        Health::of(self.shared(), &self.handle.meter)
    }

    /// What the provider is, and what it promises.
    pub fn guarantees(&self) -> &Guarantees {
        &self.shared().guarantees
    }

    /// The provider's consumer: the way out to what this library does not offer.
    pub fn consumer(&self) -> &Arc<dyn Consumer> {
        &self.handle.consumer
    }

    /// A handle that does not keep the receiver open.
    pub fn downgrade(&self) -> WeakReceiver {
        WeakReceiver { handle: Arc::downgrade(&self.handle) }
    }

    /// Most deliveries handed out at once.
    pub fn in_flight(&self) -> usize {
        self.handle.in_flight
    }

    pub(crate) fn drain(&self) -> Duration {
        self.handle.drain
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }
}

/// Between what was taken and its return nothing is awaited: else who is cancelled there would lose it. Left out unless faults
/// are planted, since a future that might wait there costs each message the look whether it does.
#[cfg(strait_faults)]
async fn returned() {
    if strait_core::planted!("taken-and-not-returned") {
        tokio::task::yield_now().await;
    }
}
