//! An emulator of Azure Event Hubs for tests: one process, or a few lines in one.
//!
//! It speaks AMQP 1.0 to Azure's own clients, as the service does, and keeps its hubs in memory.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use strait_eventhubs_emulator::{Config, Emulator, HubSettings};
//!
//! let emulator = Emulator::start(Config::default().hub(HubSettings::new("orders", 4))).await?;
//! let connection = emulator.connection_string("orders"); // for any of Azure's clients
//! emulator.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! - [`Config`]: hubs, keys, TLS, quotas, idle rules; from a TOML file or in code.
//! - [`Namespace`]: creates, grows and deletes hubs while the emulator serves.
//! - [`Faults`]: injects faults on demand; also over HTTP.
//! - [`Record`]: the Open, Begin, Attach and put-token of clients, for golden tests.
//! - [`Open`]: counts connections and links, to look at and to wait for.
//!
//! `README.md` says what it does not do.
//!
//! # Rooms
//!
//! A connection (`connection`) has sessions (`session`), and a session has links (`link`): to `$cbs` (`cbs`), to
//! `$management` (`management`), and to hubs and partitions (`hub`). Frames pass `wire` as bytes, between the socket and the
//! AMQP library. `faults` is asked at each of these places.

mod address;
mod cbs;
mod claims;
mod clock;
mod config;
mod connection;
mod error;
mod faults;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzzing;
mod hub;
mod link;
mod management;
mod open;
mod record;
mod sas;
mod server;
mod session;
mod tls;
mod token;
mod wire;

pub use crate::{
    clock::Clock,
    config::{Access, Config, ConfigError, DEFAULT_KEY, Idle, Quota, Tls},
    faults::{Disruption, Faults, SendFault},
    hub::{HubError, HubSettings, NEVER, Namespace, Offset, PartitionState, Retention},
    open::Open,
    record::{Record, Recorded},
    server::{Emulator, StartError},
};

/// The example of the README compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
