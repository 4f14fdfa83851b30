use std::fmt;

use strait_aws::{Access, Aws, Regional, Service, regional};
use strait_core::Result;

/// What a connection calls.
pub(crate) const SERVICES: [Service; 2] = [Service::Kinesis, Service::Sts];

/// The client of one connection. It never tries again by itself: the callers do.
#[derive(Clone)]
pub struct Client {
    access: Access,
    aws: Aws,
    regional: Regional<aws_sdk_kinesis::Client>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Makes the client. Credentials are looked for at the first call. Cancel-safe.
    ///
    /// Its connections are driven by the runtime on which it is first called: called on another one, once that does not run
    /// any more, a call hangs until its time-out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if there is no region, or the endpoint is plain http to another
    /// machine: also one that comes from the environment or a profile, by `AWS_ENDPOINT_URL` or `AWS_ENDPOINT_URL_KINESIS`.
    pub async fn connect(access: &Access) -> Result<Self> {
        let aws = Aws::connect("kinesis", access, &SERVICES).await?;
        let regional = regional!(aws_sdk_kinesis, aws, Service::Kinesis, None)?;
        Ok(Self { access: access.clone(), aws, regional })
    }

    /// The same client with connections of its own, for another runtime. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub(crate) async fn apart(&self) -> Result<Self> {
        Self::connect(&self.access).await
    }

    /// The SDK's own client, in the region of the connection.
    pub fn kinesis(&self) -> &aws_sdk_kinesis::Client {
        &self.regional.client
    }

    /// The client in a region; `None` is the connection's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if it is no region.
    pub(crate) async fn regional(&self, region: Option<&str>) -> Result<Regional<aws_sdk_kinesis::Client>> {
        match region.filter(|region| *region != self.aws.region()) {
            None => Ok(self.regional.clone()),
            another => regional!(aws_sdk_kinesis, self.aws, Service::Kinesis, another),
        }
    }
}
