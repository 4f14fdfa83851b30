//! The conformance suite as a library.
//!
//! A backend implements [`Rig`] once, in its tests, and [`conformance!`] makes one test of each case. A case runs for
//! what the backend declares; for what it does not, the case shows that asking for it is refused. Nothing is skipped.
//!
//! Also here: the fault layer ([`Faults`] and what wraps a producer, a consumer, a queue and a log), and a [`History`]
//! that says afterwards whether anything was lost, out of order, or worked on by two at once.

#![allow(clippy::unwrap_used, reason = "a case that does not hold panics")]

pub mod cases;
pub mod chaos;
mod faulty;
mod history;
#[cfg(feature = "proxy")]
mod http1;
#[cfg(feature = "kinesis")]
pub mod kinesis;
#[cfg(feature = "proxy")]
pub mod proxy;
mod reported;
mod rig;
#[cfg(feature = "served")]
pub mod served;
mod stage;

pub use cases::{CASES, Case, run};
pub use faulty::{
    Fault, Faults, FaultyConsumer, FaultyLog, FaultyOwnership, FaultyProducer, FaultyQueue, Numbered, Site,
};
pub use history::{Close, Departure, End, History, How, Name, Place, Report, Unsettled};
pub use reported::Reported;
pub use rig::{Capabilities, Channel, FOREIGN, GROUP, Join, Member, Needs, Reshard, Rig, Shape, Starts, send_foreign};
pub use stage::first;
