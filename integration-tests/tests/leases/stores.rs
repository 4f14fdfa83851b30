use std::{net::SocketAddr, sync::Arc, sync::OnceLock, time::Duration};

use integration_tests::{
    again::again,
    emulators::{Azurite, LocalStack, fresh},
};
use strait_aws::Keys;
use strait_config::Secret;
use strait_kit::RowStore;
use strait_leases::{Credentials, Options, open, suite::Handles};

use crate::patient::Patient;

/// How long a call may take, since many tests share an emulator, and a machine with much else.
pub(crate) const LONG: Duration = Duration::from_mins(1);

/// A bucket, a container or a table on an emulator.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) url: String,
    pub(crate) server: SocketAddr,
    service: Service,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Service {
    S3,
    Azure,
    DynamoDb,
}

impl Store {
    /// One bucket a run: each case has rows of its own.
    pub(crate) fn s3() -> Self {
        static BUCKET: OnceLock<String> = OnceLock::new();
        let server = LocalStack::get().address();
        let bucket = BUCKET.get_or_init(|| LocalStack::get().bucket());
        Self { url: format!("s3://{bucket}/teams/Billing"), server, service: Service::S3 }
    }

    /// One container a run.
    pub(crate) fn azurite() -> Self {
        static CONTAINER: OnceLock<String> = OnceLock::new();
        let server = Azurite::get().address();
        let container = CONTAINER.get_or_init(|| Azurite::get().container());
        Self { url: format!("az://{container}/teams/Billing"), server, service: Service::Azure }
    }

    /// One table a run, which whoever opens it makes.
    pub(crate) fn table() -> Self {
        static TABLE: OnceLock<String> = OnceLock::new();
        let table = TABLE.get_or_init(|| fresh("table"));
        let server = LocalStack::get().address();
        Self { url: format!("dynamodb://{table}/teams/Billing"), server, service: Service::DynamoDb }
    }

    pub(crate) fn all() -> [Self; 3] {
        [Self::s3(), Self::azurite(), Self::table()]
    }

    pub(crate) fn is_table(&self) -> bool {
        self.service == Service::DynamoDb
    }

    /// What a proxy calls a put, a get, a listing and a delete. S3 deletes by a batch, which is posted.
    pub(crate) fn operations(&self) -> [&'static str; 4] {
        if self.is_table() { ["PutItem", "GetItem", "Query", "DeleteItem"] } else { ["PUT", "GET", "GET", "DELETE"] }
    }

    /// How to reach it, or a proxy before it.
    pub(crate) fn options(&self, at: SocketAddr) -> Options {
        let mut options = Options { timeout: LONG, create: true, ..Options::default() };
        if self.service == Service::Azure {
            let (name, secret) = (Azurite::ACCOUNT.to_owned(), Secret::new(Azurite::KEY));
            options.endpoint = Some(Azurite::endpoint(at));
            options.credentials = Some(Credentials { name, secret });
        } else {
            options.aws.endpoint = Some(format!("http://{at}"));
            options.aws.region = Some("us-east-1".to_owned());
            options.aws.keys =
                Some(Keys { id: Secret::new("test"), secret: Secret::new("hunter2"), session_token: None });
        }
        options
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
