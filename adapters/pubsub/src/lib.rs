//! Google Cloud Pub/Sub: topics, and subscriptions with and without order.
//!
//! [`PubSub`] is the provider for configuration, [`PubSubProducer`] and [`PubSubQueue`] what it is made of. Both speak
//! gRPC by generated stubs, a call at a time: what a message is acknowledged by is in our hands, and every answer is seen.
//! Topics and subscriptions are looked at and made by the admin clients of `google-cloud-pubsub`.
//! `docs/semantics.md` says what carries what, and what is refused.

mod admin;
mod ask;
mod client;
mod codec;
mod config;
mod consumer;
mod create;
mod details;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod identity;
mod name;
mod operation;
mod patience;
mod producer;
mod provider;
mod refusal;
mod settle;
mod subscription;
mod unreachable;

pub use client::{Access, Client};
pub use consumer::{AckId, PubSubOptions, PubSubQueue};
pub use create::{NewSubscription, create_subscription, create_topic, seek};
pub use identity::Identity;
pub use producer::PubSubProducer;
pub use provider::PubSub;
