//! Azure Event Hubs.
//!
//! [`EventHubsProducer`] sends events to a hub. [`EventHubsLog`] reads its partitions for a
//! [`LogConsumer`](strait_kit::LogConsumer), whose group shares them through leases: see [`Group`](strait_leases::Group).
//! [`EventHubs`] opens both from configuration.
//!
//! - A message's **position** is the sequence number of its event.
//! - A **key** is the partition key: at most 128 bytes. By default the producer chooses the partition as the service does, so
//!   that messages of many keys share a request: [`Routing`].
//! - A partition is **read** by one link, whose epoch is that of the assignment: an owner that was replaced is cut off by the
//!   service.
//! - Events that were not read and **are no longer stored** are reported, and so is a hub that was deleted and made again.
//! - Events of any client are read: numbers, times and the like as their text, lists and maps as JSON. What is no event is
//!   delivered with an empty payload and the header `strait-eventhubs-flaw`.

mod access;
mod client;
mod codec;
mod config;
#[cfg(feature = "entra")]
mod entra;
mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hash;
mod log;
mod producer;
mod provider;
mod reader;
mod routing;
mod sas;

pub use access::{Access, ConnectionStringError};
#[cfg(feature = "entra")]
pub use entra::{Credential, Entra};
pub use log::EventHubsLog;
pub use producer::EventHubsProducer;
pub use provider::EventHubs;
pub use routing::Routing;
