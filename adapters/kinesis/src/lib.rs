//! Amazon Kinesis Data Streams.
//!
//! [`KinesisProducer`] puts records into a stream; [`kpl`] is the format in which messages share a record, that of the Kinesis
//! Producer Library, which every consumer made with the Kinesis Client Library reads. [`KinesisLog`] polls the shards of a
//! stream, or has their records pushed, for a [`LogConsumer`](strait_kit::LogConsumer), whose group shares them through leases:
//! see [`Group`](strait_leases::Group).
//! [`Kinesis`] opens both from configuration.
//!
//! - A message's **position** is the sequence number of its record, if it is alone there or the last; of any other it is
//!   `<sequence number>.<place>`. It is the same at every reading.
//! - A shard is **polled** up to five times a second, and as fast as its 2 MiB/s allow. That quota is shared by all who poll it:
//!   throttling and iterators that expired are no failure for 30 s.
//! - With enhanced **fan-out** each group has a quota of its own. A subscription is made again when it ends, falls silent, breaks
//!   off or was not read for long, and none of that is a failure for 30 s.
//! - A shard **ends** when its last record was read and it is known what it became, and its children start once all parents are
//!   settled. A list of shards that lacks some is an error.
//! - What was not read and is **no longer stored** is reported. A shard where nothing comes is none of that, however old its
//!   last record is.
//! - A record that looks like an aggregate and is none is delivered whole, with the header `strait-kpl-flaw`.
//!
//! The SDK logs whole messages at the level `trace`; this crate logs none at any.

mod brought;
mod client;
mod clock;
mod config;
mod consumer;
mod create;
mod envelope;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod kpl;
mod listing;
mod log;
mod pace;
mod place;
mod position;
mod producer;
mod provider;
mod reader;
mod records;
mod stream;

pub use client::Client;
pub use create::create_stream;
pub use envelope::Envelope;
pub use log::KinesisLog;
pub use producer::KinesisProducer;
pub use provider::Kinesis;
pub use strait_aws::{Access, Keys, Role};
