//! The conformance suite on every backend, seeded chaos, attacks, the proof that each case can fail, and the emulators of
//! those backends that are elsewhere.

#[cfg(feature = "emulators")]
pub mod emulators;
#[cfg(feature = "emulators")]
pub mod frozen;
pub mod memory;
#[cfg(feature = "emulators")]
mod mortal;
#[cfg(feature = "emulators")]
pub mod pubsub;
#[cfg(feature = "emulators")]
pub mod queues;
pub mod shared;
#[cfg(feature = "emulators")]
pub mod sqs;
#[cfg(feature = "emulators")]
pub mod weather;
