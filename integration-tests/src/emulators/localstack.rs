use std::{net::SocketAddr, sync::OnceLock, time::Duration};

use strait_aws::{Access, Keys};
use strait_config::Secret;
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

    /// The URL of all its services.
    pub fn endpoint(self) -> String {
        format!("http://{}", self.address)
    }

    /// How clients reach it at `endpoint`, which may be a proxy of it. It takes any keys. A call takes `timeout` at most.
    pub fn access(endpoint: &str, timeout: Duration) -> Access {
        let mut access = Access::default();
        access.region = Some("us-east-1".to_owned());
        access.endpoint = Some(endpoint.to_owned());
        access.keys = Some(Keys { id: Secret::new("test"), secret: Secret::new("test"), session_token: None });
        access.timeout = timeout;
        access
    }

    /// Makes a bucket of S3.
    pub fn bucket(self) -> String {
        let name = fresh("bucket");
        http::create(self.address, &format!("/{name}"), "", "");
        name
    }
}
