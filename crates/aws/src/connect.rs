use std::{
    collections::BTreeMap,
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials as _, SharedCredentialsProvider},
};
use aws_sdk_sts::config::{StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_types::origin::Origin;
use strait_config::Secret;
use strait_core::{Error, ErrorKind, Result};

use crate::{Access, Call, Keys, Role, Service, endpoint::given};

/// A connection to services of AWS: what each of their clients is configured by.
#[derive(Clone)]
pub struct Aws {
    /// Who connects, for errors.
    name: &'static str,
    /// That of no service: it has no endpoint.
    config: SdkConfig,
    region: Arc<str>,
    given: BTreeMap<Service, Option<String>>,
    timeout: Duration,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws").field("region", &self.region).finish_non_exhaustive()
    }
}

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

/// The time-outs of a call that may take so long in all: connecting has at most 3 s of it.
pub fn timeouts(call: Duration) -> TimeoutConfig {
    TimeoutConfig::builder().connect_timeout(CONNECT.min(call)).operation_timeout(call).build()
}

impl Aws {
    /// Finds out where these services are, and whose credentials to use: they are fetched at the first call. `name` is what
    /// errors begin with. Cancel-safe.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if there is no region, or the endpoint of a service is plain http to another machine: also one
    /// that comes from the environment or a profile, by `AWS_ENDPOINT_URL` or, for one service, `AWS_ENDPOINT_URL_SQS`.
    pub async fn connect(name: &'static str, access: &Access, services: &[Service]) -> Result<Self> {
        // These futures are large, and those of the callers need not be.
        let config = Box::pin(load(access)).await;
        let wrong = |text: &str| Error::new(ErrorKind::Config, format!("{name}: {text}"));
        let found = |service: &Service| Ok((*service, given(*service, access, &config)?));
        let given: Result<BTreeMap<_, _>, String> = services.iter().chain([&Service::Sts]).map(found).collect();
        let given = given.map_err(|reason| wrong(&reason))?;
        let Some(region) = config.region().map(|region| Arc::<str>::from(region.as_ref())) else {
            return Err(wrong("region: is missing, here and in the environment"));
        };
        let mut aws = Self { name, config, region, given, timeout: access.timeout };
        if let Some(role) = &access.role {
            let provider = Box::pin(assume(&aws.config(Service::Sts, None)?, role)).await;
            aws.config = aws.config.into_builder().credentials_provider(provider).build();
        }
        Ok(aws)
    }

    /// The region of the connection.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// How long a call may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// All that a client of a service needs, in a region, by default that of the connection: `Client::new(&config)`. It
    /// does not retry by itself: that is for the caller.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is no region, or the connection was not made for this service.
    pub fn config(&self, service: Service, region: Option<&str>) -> Result<SdkConfig> {
        let region = region.unwrap_or(&self.region);
        // It becomes a part of the host that is called.
        if region.is_empty() || !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(self.wrong(&format!("region: {region:?} is no region like \"eu-west-1\"")));
        }
        let Some(url) = self.given.get(&service) else {
            return Err(self.wrong(&format!("the connection is not for {}", service.id())));
        };
        let mut config = self.config.to_builder().region(Region::new(region.to_owned()));
        config.set_endpoint_url(url.clone());
        // Otherwise an endpoint of the environment would come before that of the configuration.
        config.insert_origin("endpoint_url", Origin::shared_config());
        Ok(config.build())
    }

    /// The credentials of the connection, for a client that is not of the SDK, and for how long they are valid, if they say.
    /// Fetched at each call: it is the caller's to keep them. `call` is what they are for. Cancel-safe.
    ///
    /// # Errors
    ///
    /// As those of a call that needs them.
    pub async fn credentials(&self, call: &Call) -> Result<(Keys, Option<Duration>)> {
        let Some(provider) = self.config.credentials_provider() else {
            return Err(call.error(ErrorKind::Denied, "there are no credentials"));
        };
        let found = provider.provide_credentials().await.map_err(|error| call.no_credentials(&error))?;
        let valid = found.expiry().map(|expiry| expiry.duration_since(SystemTime::now()).unwrap_or_default());
        let keys = Keys {
            id: Secret::new(found.access_key_id()),
            secret: Secret::new(found.secret_access_key()),
            session_token: found.session_token().map(Secret::new),
        };
        Ok((keys, valid))
    }

    fn wrong(&self, text: &str) -> Error {
        Error::new(ErrorKind::Config, format!("{}: {text}", self.name))
    }
}

async fn load(access: &Access) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .timeout_config(timeouts(access.timeout))
        .retry_config(RetryConfig::disabled())
        // Every call has a time-out, and one that waits for a message stalls as it should.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &access.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some(Keys { id, secret, session_token }) = &access.keys {
        let mut keys = Credentials::builder().access_key_id(id.expose()).secret_access_key(secret.expose());
        keys.set_session_token(session_token.as_ref().map(|token| token.expose().to_owned()));
        loader = loader.credentials_provider(keys.provider_name("strait").build());
    }
    loader.load().await
}

/// Credentials of a role, which the STS of the connection is asked for.
async fn assume(sts: &SdkConfig, role: &Role) -> SharedCredentialsProvider {
    let mut provider = AssumeRoleProvider::builder(&role.arn).session_name("strait").configure(sts);
    if let Some(id) = &role.external_id {
        provider = provider.external_id(id.expose());
    }
    SharedCredentialsProvider::new(provider.build().await)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access() -> Access {
        let keys = Keys {
            id: Secret::new("AKIAhunter2"),
            secret: Secret::new("hunter2"),
            session_token: Some(Secret::new("hunter2")),
        };
        Access { region: Some("eu-west-1".into()), keys: Some(keys), ..Access::default() }
    }

    async fn connect(access: &Access) -> Result<Aws> {
        Aws::connect("queues", access, &[Service::Sqs, Service::Sns]).await
    }

    #[tokio::test]
    async fn plain_http_is_for_this_machine() {
        let mut access = access();
        access.endpoints.insert(Service::Sns, "http://sns.example".into());
        let refused = connect(&access).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        let text = refused.to_string();
        assert!(text.starts_with("queues: sns_endpoint: the endpoint of SNS is not encrypted"), "{text}");
        access.allow_insecure = true;
        connect(&access).await.unwrap();
    }

    #[tokio::test]
    async fn each_service_has_its_endpoint_and_signs_for_its_region() {
        let mut access = access();
        access.endpoints.insert(Service::Sqs, "https://proxy.example".into());
        let aws = connect(&access).await.unwrap();
        let of = |service, region| aws.config(service, region).unwrap();
        assert_eq!(of(Service::Sqs, None).endpoint_url(), Some("https://proxy.example"));
        let other = of(Service::Sqs, Some("us-west-2"));
        assert_eq!(other.endpoint_url(), Some("https://proxy.example"), "an endpoint that was given stays");
        assert_eq!(other.region().map(AsRef::as_ref), Some("us-west-2"));
        let topics = of(Service::Sns, None);
        assert_eq!((topics.endpoint_url(), topics.region().map(AsRef::as_ref)), (None, Some("eu-west-1")));
        for wrong in ["", "not a region", "example.com/", "a.b", "a@example.com#"] {
            assert_eq!(aws.config(Service::Sqs, Some(wrong)).unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
        assert_eq!(aws.config(Service::Kinesis, None).unwrap_err().kind(), ErrorKind::Config);
    }

    #[tokio::test]
    async fn a_client_never_tries_again_by_itself_and_has_a_time_out() {
        let mut access = access();
        access.timeout = Duration::from_secs(2);
        let config = connect(&access).await.unwrap().config(Service::Sqs, None).unwrap();
        assert_eq!(config.retry_config().map(RetryConfig::max_attempts), Some(1));
        let timeouts = config.timeout_config().unwrap();
        assert_eq!(timeouts.operation_timeout(), Some(Duration::from_secs(2)));
        assert_eq!(timeouts.connect_timeout(), Some(Duration::from_secs(2)));
    }

    #[tokio::test]
    async fn nothing_that_is_shown_holds_a_key() {
        let access = access();
        let aws = connect(&access).await.unwrap();
        assert!(!format!("{access:?} {aws:?}").contains("hunter2"));
    }
}
