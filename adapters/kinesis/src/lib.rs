//! Amazon Kinesis Data Streams.
//!
//! So far this crate has the format in which messages share a record, [`kpl`]: that of the Kinesis Producer Library, which
//! every consumer made with the Kinesis Client Library reads. A producer and a consumer are not here yet.

#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
pub mod kpl;
