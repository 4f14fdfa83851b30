use std::{fmt, time::Duration};

use aws_config::{BehaviorVersion, Region, SdkConfig, sts::AssumeRoleProvider};
use aws_credential_types::{Credentials, provider::SharedCredentialsProvider};
use aws_sdk_sqs::config::{
    StalledStreamProtectionConfig,
    retry::{RetryConfig, RetryPartition},
    timeout::TimeoutConfig,
};
use strait_config::{Secret, check_url};
use strait_core::{Error, ErrorKind, Result};
use uuid::Uuid;

/// How the service is reached, and as whom. What is absent is as the AWS command line would have it: from the
/// environment, the shared files, or the machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// The region.
    pub region: Option<String>,
    /// Another address of the services: an emulator's, a proxy's, or that of an interface in a private network.
    pub endpoint: Option<String>,
    /// Whether `endpoint` may be plain http to another machine. Default: no.
    pub allow_insecure: bool,
    /// The profile of the shared files.
    pub profile: Option<String>,
    /// The ARN of a role to take on, and the external id that it asks for.
    pub assume_role: Option<(String, Option<Secret>)>,
    /// An access key and its secret, for tests.
    pub keys: Option<(Secret, Secret)>,
    /// How long a call may take, beyond what it is asked to wait for a message, and what messages take on their way: that
    /// may be as long as they are leased. Default: 10 s.
    pub timeout: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            allow_insecure: false,
            profile: None,
            assume_role: None,
            keys: None,
            timeout: Duration::from_secs(10),
        }
    }
}

/// The clients of one connection. They never try again by themselves: whoever calls them does.
#[derive(Clone)]
pub struct Client {
    sqs: aws_sdk_sqs::Client,
    sns: aws_sdk_sns::Client,
    sts: aws_sdk_sts::Client,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);

impl Client {
    /// Makes the clients. Credentials are looked for at the first call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if there is no region, or the endpoint is plain http to another machine.
    pub async fn connect(access: &Access) -> Result<Self> {
        let config = load(access).await;
        let wrong = |text: &str| Err(Error::new(ErrorKind::Config, format!("sqs: {text}")));
        // Also one that comes from the environment.
        if let Some(Err(reason)) = config.endpoint_url().map(|url| check_url(url, access.allow_insecure)) {
            return wrong(&format!("endpoint: {reason}"));
        }
        if config.region().is_none() {
            return wrong("region: is missing, here and in the environment");
        }
        let config = match &access.assume_role {
            Some((role, external_id)) => assume(&config, role, external_id.as_ref()).await,
            None => config,
        };
        // A bucket of its own: another client's failures must not hold up this one.
        let partition = RetryPartition::new(format!("strait-{}", Uuid::new_v4()));
        let sqs = aws_sdk_sqs::config::Builder::from(&config).retry_partition(partition.clone());
        let sns = aws_sdk_sns::config::Builder::from(&config).retry_partition(partition.clone());
        let sts = aws_sdk_sts::config::Builder::from(&config).retry_partition(partition);
        Ok(Self {
            sqs: aws_sdk_sqs::Client::from_conf(sqs.retry_config(RetryConfig::disabled()).build()),
            sns: aws_sdk_sns::Client::from_conf(sns.retry_config(RetryConfig::disabled()).build()),
            sts: aws_sdk_sts::Client::from_conf(sts.retry_config(RetryConfig::disabled()).build()),
            timeout: access.timeout,
        })
    }

    /// The SDK's own client of SQS.
    pub fn sqs(&self) -> &aws_sdk_sqs::Client {
        &self.sqs
    }

    /// The SDK's own client of SNS.
    pub fn sns(&self) -> &aws_sdk_sns::Client {
        &self.sns
    }

    pub(crate) fn sts(&self) -> &aws_sdk_sts::Client {
        &self.sts
    }

    /// Settings of a call that waits for a message for so long. Once its answer has begun it may take as long as what it
    /// brings is leased: broken off, the same would be sent again and again.
    pub(crate) fn waiting(&self, wait: Duration, lease: Duration) -> aws_sdk_sqs::config::Builder {
        let begins = self.timeout + wait;
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
    if let Some(endpoint) = &access.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Some(profile) = &access.profile {
        loader = loader.profile_name(profile);
    }
    if let Some((id, secret)) = &access.keys {
        let keys = Credentials::builder().access_key_id(id.expose()).secret_access_key(secret.expose());
        loader = loader.credentials_provider(keys.provider_name("strait").build());
    }
    loader.load().await
}

async fn assume(config: &SdkConfig, role: &str, external_id: Option<&Secret>) -> SdkConfig {
    let mut provider = AssumeRoleProvider::builder(role).session_name("strait").configure(config);
    if let Some(id) = external_id {
        provider = provider.external_id(id.expose());
    }
    let provider = provider.build().await;
    config.to_builder().credentials_provider(SharedCredentialsProvider::new(provider)).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn plain_http_is_for_this_machine_and_a_region_is_needed() {
        let mut access = Access { region: Some("eu-west-1".into()), ..Access::default() };
        access.endpoint = Some("http://sqs.example".into());
        let refused = Client::connect(&access).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
        assert!(refused.to_string().starts_with("sqs: endpoint: is not encrypted"), "{refused}");
        access.allow_insecure = true;
        Client::connect(&access).await.unwrap();
    }

    #[tokio::test]
    async fn nothing_that_is_shown_holds_a_key() {
        let keys = Some((Secret::new("AKIAhunter2"), Secret::new("hunter2")));
        let access = Access { region: Some("eu-west-1".into()), keys, ..Access::default() };
        let client = Client::connect(&access).await.unwrap();
        assert!(!format!("{access:?} {client:?}").contains("hunter2"));
    }
}
