//! What applications hold: [`Sender`], [`Receiver`], [`Delivery`] and [`Worker`].
//!
//! Everything that is the same on every provider is here, once: batching, order per key, retries, dead letters,
//! back-pressure, drain. Beneath is the contract of `strait-core`, four methods each way.

mod backoff;
mod failure;
mod handlers;
#[cfg(feature = "json")]
mod json;
mod meter;
mod receiver;
mod redrive;
mod router;
mod sender;
mod worker;

pub use backoff::Backoff;
pub use failure::{Failure, OrFail};
pub use handlers::with;
#[cfg(feature = "json")]
pub use handlers::{json, json_with};
#[cfg(feature = "json")]
pub use json::Json;
pub use meter::{Counts, Meter};
pub use receiver::{
    Batch, DeadLetter, Delivery, Entry, Health, Oversize, Receiver, ReceiverSettings, Retry, Stalled, State,
    WeakReceiver,
};
pub use redrive::{Redrive, Redriven};
pub use router::Router;
pub use sender::{AfterFailure, Outcome, Pending, Sender, SenderHealth, SenderSettings, TryEnqueueError};
pub use worker::{Context, Worker};
