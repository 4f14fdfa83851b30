use std::{fmt, time::Duration};

use strait_aws::{Access, Aws, Regional, Service, regional, timeouts};
use strait_core::Result;

/// What a connection calls.
pub(crate) const SERVICES: [Service; 3] = [Service::Sqs, Service::Sns, Service::Sts];

/// The clients of one connection. They never try again by themselves: whoever calls them does.
///
/// A receiving call may take as long as its messages are leased: so long their transfer may take.
#[derive(Clone)]
pub struct Client {
    aws: Aws,
    queues: Regional<aws_sdk_sqs::Client>,
    topics: Regional<aws_sdk_sns::Client>,
    identity: Regional<aws_sdk_sts::Client>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

impl Client {
    /// Makes the clients. Credentials are looked for at the first call. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if there is no region, or the endpoint of a service is plain
    /// http to another machine: also one that comes from the environment or a profile, by
    /// `AWS_ENDPOINT_URL` or, for one service, `AWS_ENDPOINT_URL_SQS`.
    pub async fn connect(access: &Access) -> Result<Self> {
        let aws = Aws::connect("sqs", access, &SERVICES).await?;
        Ok(Self {
            queues: regional!(aws_sdk_sqs, aws, Service::Sqs, None)?,
            topics: regional!(aws_sdk_sns, aws, Service::Sns, None)?,
            identity: regional!(aws_sdk_sts, aws, Service::Sts, None)?,
            aws,
        })
    }

    /// The SDK's own client of SQS, in the region of the connection.
    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.queues.client
    }

    /// The SDK's own client of SNS, in the region of the connection.
    pub fn sns(&self) -> &aws_sdk_sns::Client {
        &self.topics.client
    }

    /// Whose credentials these are.
    pub(crate) fn identity(&self) -> &Regional<aws_sdk_sts::Client> {
        &self.identity
    }

    /// The client of the queues of a region; `None` is the connection's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if it is no region.
    pub(crate) async fn queues(&self, region: Option<&str>) -> Result<Regional<aws_sdk_sqs::Client>> {
        let Some(region) = self.another(region) else { return Ok(self.queues.clone()) };
        regional!(aws_sdk_sqs, self.aws, Service::Sqs, Some(region))
    }

    /// The client of the topics of a region; `None` is the connection's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if it is no region.
    pub(crate) async fn topics(&self, region: Option<&str>) -> Result<Regional<aws_sdk_sns::Client>> {
        let Some(region) = self.another(region) else { return Ok(self.topics.clone()) };
        regional!(aws_sdk_sns, self.aws, Service::Sns, Some(region))
    }

    /// A region, unless it is that of the connection.
    fn another<'a>(&self, region: Option<&'a str>) -> Option<&'a str> {
        region.filter(|region| *region != self.region())
    }

    /// The region of the connection.
    pub(crate) fn region(&self) -> &str {
        self.aws.region()
    }

    /// Settings of a call that waits for a message for so long. Once its answer has begun it may take as long as what it
    /// brings is leased: broken off, the same would be sent again and again.
    pub(crate) fn waiting(&self, wait: Duration, lease: Duration) -> aws_sdk_sqs::config::Builder {
        let begins = self.aws.timeout().saturating_add(wait);
        let timeouts = timeouts(begins.max(lease)).to_builder().read_timeout(begins).build();
        aws_sdk_sqs::Config::builder().timeout_config(timeouts)
    }
}

#[cfg(test)]
mod tests {
    use strait_aws::Keys;
    use strait_config::Secret;

    use super::*;

    fn access() -> Access {
        let mut access = Access::default();
        access.region = Some("eu-west-1".into());
        access.keys =
            Some(Keys { id: Secret::new("AKIAhunter2"), secret: Secret::new("hunter2"), session_token: None });
        access
    }

    #[tokio::test]
    async fn a_client_of_another_region_signs_and_calls_there() {
        let client = Client::connect(&access()).await.unwrap();
        let other = client.queues(Some("us-west-2")).await.unwrap();
        assert_eq!(
            (&*client.queues.host, &*other.host),
            ("sqs.eu-west-1.amazonaws.com", "sqs.us-west-2.amazonaws.com")
        );
        assert_eq!(other.client.config().region().map(AsRef::as_ref), Some("us-west-2"));
        assert_eq!(&*client.topics(Some("us-west-2")).await.unwrap().host, "sns.us-west-2.amazonaws.com");
        assert_eq!(&*client.queues(None).await.unwrap().host, "sqs.eu-west-1.amazonaws.com");
        // An endpoint that was given stays, and what it is sent is signed for the other region all the same.
        let mut given = access();
        given.endpoints.insert(Service::Sqs, "https://proxy.example".into());
        let client = Client::connect(&given).await.unwrap();
        assert_eq!(&*client.queues(Some("us-west-2")).await.unwrap().host, "proxy.example");
        assert_eq!(&*client.identity.host, "sts.eu-west-1.amazonaws.com");
    }

    #[tokio::test]
    async fn nothing_that_is_shown_holds_a_key() {
        let client = Client::connect(&access()).await.unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
    }
}
