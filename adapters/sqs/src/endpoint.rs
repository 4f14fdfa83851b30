//! Where each service is: what configuration, the environment and the profile say of it, and what its client makes of that.

use std::sync::Arc;

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use strait_config::check_url;
use strait_core::{Error, ErrorKind, Result};

use crate::{Access, address::is_of_aws};

/// A service that an adapter calls. Each may have an endpoint of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Service {
    Sqs,
    Sns,
    Sts,
}

impl Service {
    const ALL: [Self; 3] = [Self::Sqs, Self::Sns, Self::Sts];

    /// What the SDK, and the end of an environment variable, call it.
    fn id(self) -> &'static str {
        match self {
            Self::Sqs => "SQS",
            Self::Sns => "SNS",
            Self::Sts => "STS",
        }
    }

    /// What it is called in names of hosts, of permissions and in ARNs.
    fn label(self) -> &'static str {
        match self {
            Self::Sqs => "sqs",
            Self::Sns => "sns",
            Self::Sts => "sts",
        }
    }

    /// The field of a connection that says where it is.
    pub(crate) fn field(self) -> &'static str {
        match self {
            Self::Sqs => "sqs_endpoint",
            Self::Sns => "sns_endpoint",
            Self::Sts => "sts_endpoint",
        }
    }

    fn of_access(self, access: &Access) -> Option<&str> {
        match self {
            Self::Sqs => access.sqs_endpoint.as_deref(),
            Self::Sns => access.sns_endpoint.as_deref(),
            Self::Sts => access.sts_endpoint.as_deref(),
        }
    }
}

/// The endpoint that a service was given; without one it is the region's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Given {
    pub(crate) url: Option<String>,
}

impl Given {
    /// Looks an endpoint up where the SDK does: its own before that of all services, configuration before the environment,
    /// and the environment before the profile.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if it is plain http to another machine.
    pub(crate) fn of(service: Service, access: &Access, config: &SdkConfig) -> Result<Self> {
        let id = service.id();
        let configured = [(service.of_access(access), service.field()), (access.endpoint.as_deref(), "endpoint")];
        let configured = configured.into_iter().find_map(|(url, field)| Some((url?.to_owned(), field.to_owned())));
        let found = || Some((in_environment(service, config)?, format!("AWS_ENDPOINT_URL_{id} or AWS_ENDPOINT_URL")));
        let Some((url, source)) = configured.or_else(found) else { return Ok(Self::default()) };
        match check_url(&url, access.allow_insecure) {
            Ok(()) => Ok(Self { url: Some(url) }),
            Err(reason) => Err(wrong(&format!("{source}: the endpoint of {id} {reason}"))),
        }
    }
}

/// Also of the profile.
fn in_environment(service: Service, config: &SdkConfig) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id(service.id()).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let own = config.service_config().and_then(|settings| settings.load_config(key.ok()?));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Refuses the address of one service of AWS where another is meant, or all are. `service` is the one that is meant.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check_service(url: &str, service: Option<Service>) -> Result<(), String> {
    let Some(named) = named_by(&host_of(url)) else { return Ok(()) };
    match service {
        Some(service) if service == named => Ok(()),
        Some(service) => Err(format!("is an endpoint of {}, and not of {}", named.id(), service.id())),
        None => Err(format!("is an endpoint of {} alone: say {} instead", named.id(), named.field())),
    }
}

/// The service that a host of AWS belongs to: `sqs.eu-west-1.amazonaws.com`, `vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com`.
fn named_by(host: &str) -> Option<Service> {
    let host = host.split(':').next().unwrap_or_default();
    let of_aws = is_of_aws(host);
    let label =
        |service: Service| host.split('.').any(|label| label.strip_suffix("-fips").unwrap_or(label) == service.label());
    Service::ALL.into_iter().find(|service| of_aws && label(*service))
}

/// The host and the port of an address, without the name and the password that it may hold.
pub(crate) fn host_of(url: &str) -> Arc<str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase().into()
}

/// The address that a service's client resolves to in a region.
///
/// # Errors
///
/// [`ErrorKind::Config`] if there is none: the region cannot be one, or what is asked for exclude each other.
macro_rules! resolve {
    ($sdk:ident, $config:expr, $region:expr, $url:expr) => {{
        use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let config: &SdkConfig = $config;
        let params = Params::builder()
            .set_region(Some($region.to_owned()))
            .set_use_fips(config.use_fips())
            .set_use_dual_stack(config.use_dual_stack())
            .set_endpoint($url)
            .build()
            .map_err(|error| wrong(&format!("region: {error}")))?;
        let endpoint = DefaultResolver::new().resolve_endpoint(&params).await;
        endpoint.map(|endpoint| endpoint.url().to_owned()).map_err(|error| wrong(&format!("endpoint: {error}")))
    }};
}

impl Given {
    /// The host that the client of a service calls in a region.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if there is none.
    pub(crate) async fn host(&self, service: Service, config: &SdkConfig, region: &str) -> Result<Arc<str>> {
        // It becomes a part of the host that is called.
        if !region.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(wrong(&format!("region: {region:?} is no region like \"eu-west-1\"")));
        }
        let url = match service {
            Service::Sqs => resolve!(aws_sdk_sqs, config, region, self.url.clone()),
            Service::Sns => resolve!(aws_sdk_sns, config, region, self.url.clone()),
            Service::Sts => resolve!(aws_sdk_sts, config, region, self.url.clone()),
        };
        url.map(|url| host_of(&url))
    }
}

pub(crate) fn wrong(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("sqs: {text}"))
}

#[cfg(test)]
mod tests {
    use aws_types::service_config::LoadServiceConfig;

    use super::*;

    /// What the environment says of one service.
    #[derive(Debug)]
    struct Environment(&'static str, &'static str);

    impl LoadServiceConfig for Environment {
        fn load_config(&self, key: ServiceConfigKey<'_>) -> Option<String> {
            (key.env() == "AWS_ENDPOINT_URL" && key.service_id() == self.0).then(|| self.1.to_owned())
        }
    }

    fn given(service: Service, access: &Access, config: &SdkConfig) -> Result<Option<String>> {
        Given::of(service, access, config).map(|given| given.url)
    }

    #[test]
    fn plain_http_is_refused_wherever_an_endpoint_comes_from() {
        for (service, id) in [(Service::Sqs, "SQS"), (Service::Sns, "SNS"), (Service::Sts, "STS")] {
            let config = SdkConfig::builder().service_config(Environment(id, "http://hunter2@service.example")).build();
            let refused = Given::of(service, &Access::default(), &config).unwrap_err();
            let text = format!("sqs: AWS_ENDPOINT_URL_{id} or AWS_ENDPOINT_URL: the endpoint of {id} is not encrypted");
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(refused.to_string().starts_with(&text) && !refused.to_string().contains("hunter2"), "{refused}");
            let everything = SdkConfig::builder().endpoint_url("http://service.example").build();
            assert!(Given::of(service, &Access::default(), &everything).is_err(), "{id}");
            let allowed = Access { allow_insecure: true, ..Access::default() };
            assert!(Given::of(service, &allowed, &config).is_ok(), "{id}");
        }
        let global = Access { endpoint: Some("http://service.example".to_owned()), ..Access::default() };
        let refused = Given::of(Service::Sns, &global, &SdkConfig::builder().build()).unwrap_err();
        assert!(refused.to_string().starts_with("sqs: endpoint: the endpoint of SNS is not encrypted"), "{refused}");
    }

    #[test]
    fn an_endpoint_of_one_service_is_that_of_no_other() {
        let url = |text: &str| Some(text.to_owned());
        let own = Access { sqs_endpoint: url("https://queues"), ..Access::default() };
        let nothing = SdkConfig::builder().build();
        assert_eq!(given(Service::Sqs, &own, &nothing).unwrap(), url("https://queues"));
        assert_eq!(given(Service::Sns, &own, &nothing).unwrap(), None);
        assert_eq!(given(Service::Sts, &own, &nothing).unwrap(), None);
        let environment = SdkConfig::builder().service_config(Environment("SQS", "https://queues")).build();
        assert_eq!(given(Service::Sqs, &Access::default(), &environment).unwrap(), url("https://queues"));
        assert_eq!(given(Service::Sts, &Access::default(), &environment).unwrap(), None);
    }

    #[test]
    fn its_own_endpoint_comes_first_and_configuration_before_the_environment() {
        let environment = SdkConfig::builder().service_config(Environment("SQS", "https://environment")).build();
        let mut access = Access { endpoint: Some("https://all".to_owned()), ..Access::default() };
        assert_eq!(given(Service::Sqs, &access, &environment).unwrap().as_deref(), Some("https://all"));
        access.sqs_endpoint = Some("https://own".to_owned());
        assert_eq!(given(Service::Sqs, &access, &environment).unwrap().as_deref(), Some("https://own"));
        assert_eq!(given(Service::Sns, &access, &environment).unwrap().as_deref(), Some("https://all"));
    }

    #[test]
    fn an_address_of_one_service_is_refused_for_all_or_another() {
        let interface = "https://vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com";
        assert_eq!(check_service(interface, Some(Service::Sqs)), Ok(()));
        assert_eq!(
            check_service(interface, None).unwrap_err(),
            "is an endpoint of SQS alone: say sqs_endpoint instead"
        );
        let other = check_service("https://sns-fips.us-east-1.amazonaws.com", Some(Service::Sqs));
        assert_eq!(other.unwrap_err(), "is an endpoint of SNS, and not of SQS");
        for anything in
            ["http://localhost:4566", "https://sqs.example", "http://sqs.us-east-1.localhost.localstack.cloud"]
        {
            assert_eq!(check_service(anything, None), Ok(()), "{anything}");
        }
    }

    #[tokio::test]
    async fn without_an_endpoint_a_service_is_where_its_region_is() {
        let config = SdkConfig::builder().build();
        let host = async |given: &Given, region| given.host(Service::Sqs, &config, region).await;
        let none = Given::default();
        assert_eq!(&*host(&none, "eu-west-1").await.unwrap(), "sqs.eu-west-1.amazonaws.com");
        assert_eq!(&*host(&none, "cn-north-1").await.unwrap(), "sqs.cn-north-1.amazonaws.com.cn");
        for wrong in ["not a region", "example.com/", "a.b", "a@example.com#"] {
            assert_eq!(host(&none, wrong).await.unwrap_err().kind(), ErrorKind::Config, "{wrong}");
        }
        let given = Given { url: Some("https://user:hunter2@Proxy.example:8443/queues".to_owned()) };
        assert_eq!(&*host(&given, "eu-west-1").await.unwrap(), "proxy.example:8443");
    }
}
