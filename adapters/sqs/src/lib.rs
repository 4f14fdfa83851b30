//! Amazon SQS: standard and FIFO queues, and SNS topics that feed them.
//!
//! [`Sqs`] is the provider for configuration, [`SqsProducer`], [`SnsProducer`] and [`SqsQueue`] what it is made of.
//! Messages keep their bytes: a payload of text is the body, so that any consumer reads it, and headers are message
//! attributes. `docs/semantics.md` says what carries what, and what is refused.
//!
//! The SDK logs whole messages at the level `trace`; this crate logs none at any.

mod address;
mod attempts;
mod batch;
mod client;
mod codec;
mod config;
mod consumer;
mod create;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod producer;
mod provider;
mod queue;
mod sns;

pub use client::Client;
pub use consumer::{Receipt, SqsOptions, SqsQueue};
pub use create::{create_queue, create_topic, subscribe};
pub use producer::SqsProducer;
pub use provider::Sqs;
pub use sns::SnsProducer;
pub use strait_aws::{Access, Keys, Role, Service};
