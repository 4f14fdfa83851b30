//! The emulators, found or started once a run.
//!
//! `cargo xtask test` starts them, and says by variables where. Without these a test binary starts what it needs, and a
//! guard stops that when the process ends, however it ends. One that is not installed makes the test fail.

mod azurite;
mod http;
mod localstack;
mod pubsub;

use std::{env, net::SocketAddr, sync::OnceLock};

use strait_emulators::{Emulator, Running};
use uuid::Uuid;

pub use self::{azurite::Azurite, localstack::LocalStack, pubsub::PubSub};

/// Where an emulator is.
#[derive(Debug)]
struct Place {
    address: SocketAddr,
    /// Held until the process ends. Statics are not dropped: it is the guard that stops it then.
    _running: Option<Running>,
}

/// Finds an emulator, or starts it. Panics when there is none: whoever asks for it is not to pass without it.
fn find(emulator: Emulator, once: &'static OnceLock<Place>) -> SocketAddr {
    let place = once.get_or_init(|| {
        let variable = emulator.variable();
        if let Ok(url) = env::var(variable) {
            let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
            let address = address.unwrap_or_else(|| panic!("{variable} is not like http://127.0.0.1:4566"));
            return Place { address, _running: None };
        }
        match strait_emulators::start(emulator) {
            Ok(running) => {
                Place { address: SocketAddr::from(([127, 0, 0, 1], running.port())), _running: Some(running) }
            }
            Err(reason) => panic!("{reason}"),
        }
    });
    place.address
}

/// A name that nothing else has: emulators keep what they were given until they end.
pub fn fresh(what: &str) -> String {
    format!("{what}-{}", Uuid::new_v4().simple())
}
