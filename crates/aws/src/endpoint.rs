//! Where each service is: what configuration, the environment and the profile say of it, and what its client makes of that.

use std::{fmt::Display, sync::Arc};

use aws_config::SdkConfig;
use aws_types::service_config::ServiceConfigKey;
use strait_config::check_url;
use strait_core::{Error, ErrorKind};

use crate::{Access, Service, is_of_aws};

/// The endpoint that a service was given, if any; without one it is the region's.
///
/// Looked up where the SDK does: its own before that of all services, configuration before the environment, and the
/// environment before the profile.
///
/// # Errors
///
/// What is wrong with it, by the name of the field or the variable: it is plain http to another machine.
pub(crate) fn given(service: Service, access: &Access, config: &SdkConfig) -> Result<Option<String>, String> {
    let own = access.endpoints.get(&service);
    let configured = [(own, service.field()), (access.endpoint.as_ref(), "endpoint")];
    let configured = configured.into_iter().find_map(|(url, field)| Some((url?.to_owned(), field.to_owned())));
    let found = || Some((in_environment(service, config)?, format!("{} or AWS_ENDPOINT_URL", service.variable())));
    let Some((url, source)) = configured.or_else(found) else { return Ok(None) };
    match check_url(&url, access.allow_insecure) {
        Ok(()) => Ok(Some(url)),
        Err(reason) => Err(format!("{source}: the endpoint of {} {reason}", service.id())),
    }
}

/// Also of the profile.
fn in_environment(service: Service, config: &SdkConfig) -> Option<String> {
    let key =
        ServiceConfigKey::builder().service_id(service.id()).env("AWS_ENDPOINT_URL").profile("endpoint_url").build();
    let own = config.service_config().and_then(|settings| settings.load_config(key.ok()?));
    own.or_else(|| config.endpoint_url().map(str::to_owned))
}

/// Refuses the address of one service of AWS where another is meant, or all of `services` are. `service` is the one that is
/// meant.
///
/// # Errors
///
/// What is wrong with it.
pub(crate) fn check_service(url: &str, services: &[Service], service: Option<Service>) -> Result<(), String> {
    let Some(named) = named_by(&host_of(url)) else { return Ok(()) };
    match service {
        Some(service) if service == named => Ok(()),
        Some(service) => Err(format!("is an endpoint of {}, and not of {}", named.id(), service.id())),
        None if services.contains(&named) => {
            Err(format!("is an endpoint of {} alone: say {} instead", named.id(), named.field()))
        }
        None => Err(format!("is an endpoint of {}, which is not called here", named.id())),
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
fn host_of(url: &str) -> Arc<str> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_ascii_lowercase().into()
}

/// The client of a service in a region.
#[derive(Clone, Debug)]
pub struct Regional<C> {
    /// The SDK's own client.
    pub client: C,
    /// The host that it calls, for errors.
    pub host: Arc<str>,
}

/// The client of a service in a region, by default that of the connection, as a `Result<Regional<Client>>`:
/// `regional!(aws_sdk_sqs, &aws, Service::Sqs, None)`. Only for where `.await` may stand.
///
/// # Errors
///
/// As [`Aws::config`](crate::Aws::config) and [`host!`](crate::host).
#[macro_export]
macro_rules! regional {
    ($sdk:ident, $aws:expr, $service:expr, $region:expr) => {
        match $aws.config($service, $region) {
            Ok(config) => {
                $crate::host!($sdk, &config).map(|host| $crate::Regional { client: $sdk::Client::new(&config), host })
            }
            Err(error) => Err(error),
        }
    };
}

/// The host that a client of this SDK calls by a configuration of [`Aws::config`](crate::Aws::config), for errors, as a
/// `Result<Arc<str>>`: `host!(aws_sdk_sqs, &config)`. Only for where `.await` may stand.
///
/// # Errors
///
/// [`ErrorKind::Config`](strait_core::ErrorKind::Config) if there is none: the region cannot be one, or what is asked for
/// exclude each other.
#[macro_export]
macro_rules! host {
    ($sdk:ident, $config:expr) => {{
        use $sdk::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
        let config: &$crate::SdkConfig = $config;
        let params = Params::builder()
            .set_region(config.region().map(ToString::to_string))
            .set_use_fips(config.use_fips())
            .set_use_dual_stack(config.use_dual_stack())
            .set_endpoint(config.endpoint_url().map(str::to_owned))
            .build();
        match params {
            Ok(params) => {
                let endpoint = DefaultResolver::new().resolve_endpoint(&params).await;
                $crate::resolved("endpoint", endpoint.as_ref().map(|endpoint| endpoint.url()))
            }
            Err(error) => $crate::resolved("region", Err(error)),
        }
    }};
}

/// The end of [`host!`].
///
/// # Errors
///
/// [`ErrorKind::Config`] if there is no address.
#[doc(hidden)]
pub fn resolved(field: &str, url: Result<&str, impl Display>) -> strait_core::Result<Arc<str>> {
    url.map(host_of).map_err(|error| Error::new(ErrorKind::Config, format!("aws: {field}: {error}")))
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

    fn environment(id: &'static str, url: &'static str) -> SdkConfig {
        SdkConfig::builder().service_config(Environment(id, url)).build()
    }

    #[test]
    fn plain_http_is_refused_wherever_an_endpoint_comes_from() {
        for service in Service::ALL {
            let id = service.id();
            let config = environment(id, "http://hunter2@service.example");
            let refused = given(service, &Access::default(), &config).unwrap_err();
            let variable = format!("AWS_ENDPOINT_URL_{}", id.to_ascii_uppercase());
            let text = format!("{variable} or AWS_ENDPOINT_URL: the endpoint of {id} is not encrypted");
            assert!(refused.starts_with(&text) && !refused.contains("hunter2"), "{refused}");
            let everything = SdkConfig::builder().endpoint_url("http://service.example").build();
            assert!(given(service, &Access::default(), &everything).is_err(), "{id}");
            let allowed = Access { allow_insecure: true, ..Access::default() };
            assert!(given(service, &allowed, &config).is_ok(), "{id}");
        }
        let global = Access { endpoint: Some("http://service.example".to_owned()), ..Access::default() };
        let refused = given(Service::Sns, &global, &SdkConfig::builder().build()).unwrap_err();
        assert!(refused.starts_with("endpoint: the endpoint of SNS is not encrypted"), "{refused}");
    }

    #[test]
    fn an_endpoint_of_one_service_is_that_of_no_other() {
        let url = |text: &str| Some(text.to_owned());
        let own = Access { endpoints: [(Service::Sqs, "https://queues".to_owned())].into(), ..Access::default() };
        let nothing = SdkConfig::builder().build();
        assert_eq!(given(Service::Sqs, &own, &nothing).unwrap(), url("https://queues"));
        assert_eq!(given(Service::Sns, &own, &nothing).unwrap(), None);
        assert_eq!(given(Service::Sts, &own, &nothing).unwrap(), None);
        let environment = environment("SQS", "https://queues");
        assert_eq!(given(Service::Sqs, &Access::default(), &environment).unwrap(), url("https://queues"));
        assert_eq!(given(Service::Sts, &Access::default(), &environment).unwrap(), None);
    }

    #[test]
    fn its_own_endpoint_comes_first_and_configuration_before_the_environment() {
        let environment = environment("SQS", "https://environment");
        let mut access = Access { endpoint: Some("https://all".to_owned()), ..Access::default() };
        assert_eq!(given(Service::Sqs, &access, &environment).unwrap().as_deref(), Some("https://all"));
        access.endpoints.insert(Service::Sqs, "https://own".to_owned());
        assert_eq!(given(Service::Sqs, &access, &environment).unwrap().as_deref(), Some("https://own"));
        assert_eq!(given(Service::Sns, &access, &environment).unwrap().as_deref(), Some("https://all"));
    }

    #[test]
    fn an_address_of_one_service_is_refused_for_all_or_another() {
        let services = [Service::Sqs, Service::Sns, Service::Sts];
        let check = |url, service| check_service(url, &services, service);
        let interface = "https://vpce-1a2b.sqs.eu-west-1.vpce.amazonaws.com";
        assert_eq!(check(interface, Some(Service::Sqs)), Ok(()));
        assert_eq!(check(interface, None).unwrap_err(), "is an endpoint of SQS alone: say sqs_endpoint instead");
        let other = check("https://sns-fips.us-east-1.amazonaws.com", Some(Service::Sqs));
        assert_eq!(other.unwrap_err(), "is an endpoint of SNS, and not of SQS");
        let stranger = check("https://dynamodb.us-east-1.amazonaws.com", None);
        assert_eq!(stranger.unwrap_err(), "is an endpoint of DynamoDB, which is not called here");
        for anything in
            ["http://localhost:4566", "https://sqs.example", "http://sqs.us-east-1.localhost.localstack.cloud"]
        {
            assert_eq!(check(anything, None), Ok(()), "{anything}");
        }
    }

    #[tokio::test]
    async fn a_host_is_where_its_region_is_or_where_it_was_given() {
        let config = |region, url: Option<&str>| {
            let mut config = SdkConfig::builder().region(aws_config::Region::from_static(region));
            config.set_endpoint_url(url.map(str::to_owned));
            config.build()
        };
        let host = async |region, url| crate::host!(aws_sdk_sts, &config(region, url));
        assert_eq!(&*host("eu-west-1", None).await.unwrap(), "sts.eu-west-1.amazonaws.com");
        assert_eq!(&*host("cn-north-1", None).await.unwrap(), "sts.cn-north-1.amazonaws.com.cn");
        assert_eq!(host("not a region", None).await.unwrap_err().kind(), ErrorKind::Config);
        let given = host("eu-west-1", Some("https://user:hunter2@Proxy.example:8443/queues")).await;
        assert_eq!(&*given.unwrap(), "proxy.example:8443");
    }
}
