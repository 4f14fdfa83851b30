use std::{net::SocketAddr, sync::Arc, sync::OnceLock, time::Duration};

use integration_tests::{
    again::again,
    emulators::{Azurite, LocalStack},
};
use strait_config::Secret;
use strait_kit::RowStore;
use strait_leases::{Credentials, Options, open, suite::Handles};

use crate::patient::Patient;

/// How long a call may take, since many tests share an emulator, and a machine with much else.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// A bucket or a container on an emulator.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) server: SocketAddr,
    azure: bool,
}

impl Store {
    /// One bucket a run: each case has rows of its own.
    pub(crate) fn s3() -> Self {
        static BUCKET: OnceLock<String> = OnceLock::new();
        let server = LocalStack::get().address();
        let bucket = BUCKET.get_or_init(|| LocalStack::get().bucket());
        Self { url: format!("s3://{bucket}/teams/Billing"), server, azure: false }
    }

    /// One container a run.
    pub(crate) fn azurite() -> Self {
        static CONTAINER: OnceLock<String> = OnceLock::new();
        let server = Azurite::get().address();
        let container = CONTAINER.get_or_init(|| Azurite::get().container());
        Self { url: format!("az://{container}/teams/Billing"), server, azure: true }
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::s3(), Self::azurite()]
    }

    /// How to reach it, or a proxy before it.
    pub(crate) fn options(&self, at: SocketAddr) -> Options {
        let (endpoint, name, secret) = if self.azure {
            (Azurite::endpoint(at), Azurite::ACCOUNT, Azurite::KEY)
        } else {
            (format!("http://{at}"), "test", "hunter2")
        };
        Options {
            timeout: LONG,
            endpoint: Some(endpoint),
            region: Some("us-east-1".to_owned()),
            credentials: Some(Credentials { name: name.to_owned(), secret: Secret::new(secret) }),
            ..Options::default()
        }
    }

    /// A handle for what is not to fail.
    pub(crate) async fn open(&self) -> Arc<dyn RowStore> {
        Arc::new(Patient(self.open_at(self.server, LONG).await))
    }

    /// A handle at its address, or at that of a proxy before it, whose calls take so long at most, and which asks once.
    pub(crate) async fn open_at(&self, at: SocketAddr, timeout: Duration) -> Arc<dyn RowStore> {
        let options = Options { timeout, ..self.options(at) };
        again(|| open(&self.url, &options)).await.unwrap()
    }
}

/// Handles that share nothing but the store.
pub(crate) async fn handles(store: Store) -> Handles {
    vec![store.open().await, store.open().await, store.open().await]
}
