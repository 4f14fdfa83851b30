//! The conformance suite on every backend, seeded chaos, attacks, the proof that each case can fail, and the emulators of
//! those backends that are elsewhere.

#[cfg(feature = "services")]
pub mod again;
#[cfg(feature = "services")]
mod coordinated;
#[cfg(feature = "services")]
pub mod emulators;
#[cfg(feature = "services")]
pub mod eventhubs;
#[cfg(feature = "services")]
pub mod frozen;
#[cfg(feature = "services")]
pub mod kinesis;
pub mod memory;
#[cfg(feature = "services")]
mod mortal;
#[cfg(feature = "services")]
mod mortal_log;
#[cfg(feature = "services")]
pub mod pubsub;
#[cfg(feature = "services")]
pub mod queues;
pub mod shared;
#[cfg(feature = "services")]
pub mod sqs;
#[cfg(feature = "services")]
pub mod weather;
