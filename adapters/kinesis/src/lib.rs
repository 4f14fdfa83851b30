//! Amazon Kinesis Data Streams.
//!
//! [`KinesisProducer`] puts records into a stream; [`kpl`] is the format in which messages share a record, that of the Kinesis
//! Producer Library, which every consumer made with the Kinesis Client Library reads. A consumer is not here yet.
//!
//! The SDK logs whole messages at the level `trace`; this crate logs none at any.

mod client;
mod envelope;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod kpl;
mod position;
mod producer;
mod records;
mod stream;

pub use client::Client;
pub use envelope::Envelope;
pub use producer::KinesisProducer;
pub use strait_aws::Access;
