#![doc = include_str!("../../../README.md")]

pub use strait_config::{
    Builder, Bus, BusHealth, Connection, Described, Field, Fields, IntoFiles, Needs, Provider, Registry, Secret,
};
pub use strait_core::{
    Claim, Consumer, Error, ErrorKind, Guarantees, Headers, Id, Key, Lag, Measure, Message, Observer, Ordering, Origin,
    Position, Producer, Receipt, Result, reserved,
};
#[cfg(feature = "eventhubs")]
pub use strait_eventhubs as eventhubs;
#[cfg(feature = "kinesis")]
pub use strait_kinesis as kinesis;
#[cfg(feature = "memory")]
pub use strait_memory as memory;
#[cfg(feature = "pubsub")]
pub use strait_pubsub as pubsub;
pub use strait_runtime::{
    AfterFailure, Backoff, Batch, Context, DeadLetter, Delivery, Entry, Failure, Health, Json, Meter, OrFail, Outcome,
    Oversize, Pending, Receiver, ReceiverSettings, Redrive, Redriven, Retry, Router, Sender, SenderHealth,
    SenderSettings, Stalled, State, TryEnqueueError, WeakReceiver, Worker, json, json_with, with,
};

#[cfg(feature = "sqs")]
pub use strait_sqs as sqs;

/// The code of the pages in `docs`, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/testing.md")]
pub struct Pages;

/// The providers that are compiled in.
pub fn enabled() -> Registry {
    let registry = Registry::new();
    #[cfg(feature = "memory")]
    let registry = registry.with(strait_memory::Memory);
    #[cfg(feature = "eventhubs")]
    let registry = registry.with(strait_eventhubs::EventHubs);
    #[cfg(feature = "kinesis")]
    let registry = registry.with(strait_kinesis::Kinesis);
    #[cfg(feature = "pubsub")]
    let registry = registry.with(strait_pubsub::PubSub);
    #[cfg(feature = "sqs")]
    let registry = registry.with(strait_sqs::Sqs);
    registry
}

/// Reads one configuration file, or several of which later ones win by key, and checks everything.
///
/// # Errors
///
/// [`ErrorKind::Config`] with a line for each thing that is wrong, before anything is opened.
pub fn open(files: impl IntoFiles) -> Result<Bus> {
    builder().files(files).build()
}

/// Begins a [`Bus`] in code, on the providers that are compiled in.
pub fn builder() -> Builder {
    Bus::builder(enabled())
}
