use std::{net::SocketAddr, sync::OnceLock};

use strait_emulators::Emulator;

use super::{Place, find, fresh, http};

/// LocalStack: SQS, SNS, Kinesis, DynamoDB and S3.
#[derive(Clone, Copy, Debug)]
pub struct LocalStack {
    address: SocketAddr,
}

impl LocalStack {
    /// The one of this run.
    pub fn get() -> Self {
        static ONCE: OnceLock<Place> = OnceLock::new();
        Self { address: find(Emulator::LocalStack, &ONCE) }
    }

    /// Where it listens.
    pub fn address(self) -> SocketAddr {
        self.address
    }

    /// Makes a bucket of S3.
    pub fn bucket(self) -> String {
        let name = fresh("bucket");
        http::create(self.address, &format!("/{name}"), "", "");
        name
    }
}
