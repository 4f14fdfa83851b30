use std::{fmt, sync::Arc, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sqs::config::{
    StalledStreamProtectionConfig,
    retry::{RetryConfig, RetryPartition},
    timeout::TimeoutConfig,
};
use aws_types::origin::Origin;
use strait_config::Secret;
use strait_core::Result;
use uuid::Uuid;

use crate::endpoint::{Given, Service, wrong};

/// How the services are reached, and as whom. What is absent is as the AWS command line would have it: from the
/// environment, the shared files, or the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// The region of what is named by no more than its name. A URL or an ARN says its own.
    pub region: Option<String>,
    /// Another address of all services: an emulator's, or a proxy's.
    pub endpoint: Option<String>,
    /// Another address of SQS alone, such as that of an interface in a private network. Comes before `endpoint`.
    pub sqs_endpoint: Option<String>,
    /// Another address of SNS alone.
    pub sns_endpoint: Option<String>,
    /// Another address of STS alone, which is asked for a role, and for the account of a topic's name.
    pub sts_endpoint: Option<String>,
    /// Whether an endpoint, wherever it comes from, may be plain http to another machine. Default: no.
    pub allow_insecure: bool,
    /// The profile of the shared files.
    pub profile: Option<String>,
    /// The ARN of a role to take on, and the external id that it asks for.
    pub assume_role: Option<(String, Option<Secret>)>,
    /// An access key and its secret, for tests.
    pub keys: Option<(Secret, Secret)>,
    /// The session token that belongs to `keys`, if they are temporary.
    pub session_token: Option<Secret>,
    /// How long a call may take, beyond what it is asked to wait for a message, and what messages take on their way: that
    /// may be as long as they are leased. Default: 10 s.
    pub timeout: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            sqs_endpoint: None,
            sns_endpoint: None,
            sts_endpoint: None,
            allow_insecure: false,
            profile: None,
            assume_role: None,
            keys: None,
            session_token: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// The clients of one connection. They never try again by themselves: whoever calls them does.
#[derive(Clone)]
pub struct Client {
    config: SdkConfig,
    region: Arc<str>,
    queues: Regional<aws_sdk_sqs::Client>,
    topics: Regional<aws_sdk_sns::Client>,
    identity: Regional<aws_sdk_sts::Client>,
    timeout: Duration,
}

/// The client of a service in a region.
#[derive(Clone)]
pub(crate) struct Regional<C> {
    pub(crate) client: C,
    /// The host that it calls, for errors.
    pub(crate) host: Arc<str>,
    given: Given,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

impl Client {
    /// Makes the clients. Credentials are looked for at the first call. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if there is no region, or the endpoint of a service is plain
    /// http to another machine: also one that comes from the environment or a profile, by
    /// `AWS_ENDPOINT_URL` or, for one service, `AWS_ENDPOINT_URL_SQS`.
    pub async fn connect(access: &Access) -> Result<Self> {
        let config = load(access).await;
        let given = |service| Given::of(service, access, &config);
        let (sqs, sns, sts) = (given(Service::Sqs)?, given(Service::Sns)?, given(Service::Sts)?);
        let Some(region) = config.region().map(|region| Arc::<str>::from(region.as_ref())) else {
            return Err(wrong("region: is missing, here and in the environment"));
        };
        let config = match &access.assume_role {
            Some((role, external_id)) => assume(&config, &sts, role, external_id.as_ref()).await,
            None => config,
        };
        // A bucket of its own: another client's failures must not hold up this one.
        let partition = RetryPartition::new(format!("strait-{}", Uuid::new_v4()));
        macro_rules! client {
            ($sdk:ident, $service:expr, $given:ident) => {{
                let mut settings = $sdk::config::Builder::from(&config).retry_config(RetryConfig::disabled());
                settings.set_retry_partition(Some(partition.clone())).set_endpoint_url($given.url.clone());
                let host = $given.host($service, &config, &region).await?;
                Regional { client: $sdk::Client::from_conf(settings.build()), host, given: $given }
            }};
        }
        Ok(Self {
            queues: client!(aws_sdk_sqs, Service::Sqs, sqs),
            topics: client!(aws_sdk_sns, Service::Sns, sns),
            identity: client!(aws_sdk_sts, Service::Sts, sts),
            config,
            region,
            timeout: access.timeout,
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
        let Some(region) = region.filter(|region| **region != *self.region) else { return Ok(self.queues.clone()) };
        let Regional { client, given, .. } = &self.queues;
        let host = given.host(Service::Sqs, &self.config, region).await?;
        let settings = client.config().to_builder().region(Region::new(region.to_owned()));
        Ok(Regional { client: aws_sdk_sqs::Client::from_conf(settings.build()), host, given: given.clone() })
    }

    /// The client of the topics of a region; `None` is the connection's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if it is no region.
    pub(crate) async fn topics(&self, region: Option<&str>) -> Result<Regional<aws_sdk_sns::Client>> {
        let Some(region) = region.filter(|region| **region != *self.region) else { return Ok(self.topics.clone()) };
        let Regional { client, given, .. } = &self.topics;
        let host = given.host(Service::Sns, &self.config, region).await?;
        let settings = client.config().to_builder().region(Region::new(region.to_owned()));
        Ok(Regional { client: aws_sdk_sns::Client::from_conf(settings.build()), host, given: given.clone() })
    }

    /// The region of the connection.
    pub(crate) fn region(&self) -> &str {
        &self.region
    }

    /// Settings of a call that waits for a message for so long. Once its answer has begun it may take as long as what it
    /// brings is leased: broken off, the same would be sent again and again.
    pub(crate) fn waiting(&self, wait: Duration, lease: Duration) -> aws_sdk_sqs::config::Builder {
        let begins = self.timeout.saturating_add(wait);
        let timeouts = timeouts(begins.max(lease)).to_builder().read_timeout(begins).build();
        aws_sdk_sqs::Config::builder().timeout_config(timeouts)
    }
}

fn timeouts(timeout: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT.min(timeout)).operation_timeout(timeout).build()
}

async fn load(access: &Access) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts(access.timeout))
        // Every call has a time-out, and one that waits for a message stalls as it should.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some((id, secret)) = &access.keys {
        let mut keys = Credentials::builder().access_key_id(id.expose()).secret_access_key(secret.expose());
        keys.set_session_token(access.session_token.as_ref().map(|token| token.expose().to_owned()));
        loader = loader.credentials_provider(keys.provider_name("strait").build());
    }
    loader.load().await
}

/// Credentials of a role, which the STS of the connection is asked for.
async fn assume(config: &SdkConfig, sts: &Given, role: &str, external_id: Option<&Secret>) -> SdkConfig {
    let mut of_sts = config.to_builder();
    of_sts.set_endpoint_url(sts.url.clone());
    // Else an endpoint of the environment would come before that of the configuration.
    of_sts.insert_origin("endpoint_url", Origin::shared_config());
    let mut provider = AssumeRoleProvider::builder(role).session_name("strait").configure(&of_sts.build());
    if let Some(id) = external_id {
        provider = provider.external_id(id.expose());
    }
    let provider = provider.build().await;
    config.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

#[cfg(test)]
mod tests {
    use strait_core::ErrorKind;

    use super::*;

    fn access() -> Access {
        let keys = Some((Secret::new("AKIAhunter2"), Secret::new("hunter2")));
        Access { region: Some("eu-west-1".into()), keys, ..Access::default() }
    }

    #[tokio::test]
    async fn plain_http_is_for_this_machine() {
        let mut access = access();
        access.sns_endpoint = Some("http://sns.example".into());
        let refused = Client::connect(&access).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(
            refused.to_string().starts_with("sqs: sns_endpoint: the endpoint of SNS is not encrypted"),
            "{refused}"
        );
        access.allow_insecure = true;
        Client::connect(&access).await.unwrap();
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
        let given = Access { sqs_endpoint: Some("https://proxy.example".into()), ..access() };
        let client = Client::connect(&given).await.unwrap();
        assert_eq!(&*client.queues(Some("us-west-2")).await.unwrap().host, "proxy.example");
        assert_eq!(&*client.identity.host, "sts.eu-west-1.amazonaws.com");
    }

    #[tokio::test]
    async fn nothing_that_is_shown_holds_a_key() {
        let access = Access { session_token: Some(Secret::new("hunter2")), ..access() };
        let client = Client::connect(&access).await.unwrap();
        assert!(!format!("{access:?} {client:?}").contains("hunter2"));
    }
}
