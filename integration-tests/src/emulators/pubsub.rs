use std::{net::SocketAddr, sync::OnceLock};

use strait_emulators::Emulator;

use super::{Place, find, fresh, http};

/// Google's Pub/Sub emulator.
#[derive(Clone, Copy, Debug)]
pub struct PubSub {
    address: SocketAddr,
}

impl PubSub {
    /// The one of this run.
    pub fn get() -> Self {
        static ONCE: OnceLock<Place> = OnceLock::new();
        Self { address: find(Emulator::PubSub, &ONCE) }
    }

    /// Where it listens, for gRPC and for REST.
    pub fn address(self) -> SocketAddr {
        self.address
    }

    /// Makes a topic, and says its full name.
    pub fn topic(self) -> String {
        let name = format!("projects/strait/topics/{}", fresh("topic"));
        http::create(self.address, &format!("/v1/{name}"), "Content-Type: application/json\r\n", "{}");
        name
    }
}
