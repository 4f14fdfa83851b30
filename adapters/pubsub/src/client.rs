use std::{
    env, fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use google_cloud_auth::credentials::{CacheableResource, Credentials};
use googleapis_tonic_google_pubsub_v1::google::pubsub::v1::{
    PullRequest, PullResponse, publisher_client::PublisherClient, subscriber_client::SubscriberClient,
};
use http::{Extensions, HeaderMap, uri::PathAndQuery};
use strait_config::check_url;
use strait_core::{Error, ErrorKind, Result};
use tokio::time::{Instant, timeout_at};
use tonic::{
    Request, Response, Status,
    client::Grpc,
    metadata::MetadataMap,
    transport::{Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    Identity,
    error::{self, NO_CREDENTIALS_NOW},
    name,
    operation::Operation,
};

/// How the service is reached, and as whom.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Access {
    /// The project of topics and subscriptions with short names.
    pub project: Option<String>,
    /// Another address of the service: that of a region, which order across publishers needs, or an emulator's. Default:
    /// the variable `PUBSUB_EMULATOR_HOST`, else the service.
    pub endpoint: Option<String>,
    /// Whether the address may be plain http to another machine. Default: no.
    pub allow_insecure: bool,
    /// As whom. What is plain http is asked as nobody, unless a file is named: that is refused.
    pub identity: Identity,
    /// How long a call may take, if it is not one that waits for messages. Default: 10 s.
    pub timeout: Duration,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            project: None,
            endpoint: None,
            allow_insecure: false,
            identity: Identity::Default,
            timeout: Duration::from_secs(10),
        }
    }
}

/// The service itself.
const SERVICE: &str = "https://pubsub.googleapis.com";
/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(3);
/// How often a connection in use is asked whether it still is one, and how long it may take to say so.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// The most that is taken as one answer. What the service puts into one is more than a message of the largest size.
const ANSWER_BYTES: usize = 32 << 20;

/// The stubs of one connection, and Google's admin clients for what is no message. None tries again by itself: that is for
/// the caller.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
    credentials: Option<Credentials>,
    address: Arc<str>,
    /// Of the address, host and port.
    host: Arc<str>,
    project: Option<Arc<str>>,
    timeout: Duration,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("project", &self.project).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes the stubs, which connect at the first call. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the address is none, or plain http to another machine, or there are no credentials.
    pub fn connect(access: &Access) -> Result<Self> {
        let address = address(access.endpoint.as_deref(), env::var("PUBSUB_EMULATOR_HOST").ok().as_deref());
        Self::at(&address, access)
    }

    fn at(address: &str, access: &Access) -> Result<Self> {
        let wrong = |text: &str| Error::new(ErrorKind::Config, format!("pubsub: {text}"));
        check_url(address, access.allow_insecure).map_err(|reason| wrong(&format!("endpoint: {reason}")))?;
        let plain = !is_encrypted(address);
        if plain && !begins_with(address, "http://") {
            return Err(wrong("endpoint: is neither https nor http"));
        }
        let identity = match &access.identity {
            Identity::File(_) if plain => {
                return Err(wrong("credentials_file: is not sent to an endpoint that is not encrypted"));
            }
            Identity::Default if plain => &Identity::Anonymous,
            identity => identity,
        };
        let credentials = identity.credentials()?;
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|_| wrong("endpoint: is no address"))?;
        let host = endpoint.uri().authority().map_or("", |authority| {
            let authority = authority.as_str();
            authority.rsplit_once('@').map_or(authority, |(_, host)| host)
        });
        let host = host.into();
        let mut endpoint = endpoint
            .connect_timeout(CONNECT.min(access.timeout))
            .http2_keep_alive_interval(ALIVE.0)
            .keep_alive_timeout(ALIVE.1)
            .tcp_nodelay(true);
        if !plain {
            let tls = ClientTlsConfig::new().with_native_roots();
            endpoint = endpoint.tls_config(tls).map_err(|_| wrong("this machine has no certificates to trust"))?;
        }
        Ok(Self {
            channel: endpoint.connect_lazy(),
            credentials,
            address: address.into(),
            host,
            project: access.project.as_deref().map(Arc::from),
            timeout: access.timeout,
        })
    }

    /// The stub of what is said to topics. Its calls need [`request`](Self::request)s.
    pub fn publisher(&self) -> PublisherClient<Channel> {
        PublisherClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// The stub of what is said to subscriptions. Its calls need [`request`](Self::request)s.
    pub fn subscriber(&self) -> SubscriberClient<Channel> {
        SubscriberClient::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// A request that says who asks, and how long that may take.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Denied`] or [`ErrorKind::Unavailable`] if the credentials cannot be had.
    pub async fn request<T>(&self, message: T, time: Duration) -> Result<Request<T>> {
        let mut request = Request::new(message);
        if let Some(credentials) = &self.credentials {
            *request.metadata_mut() = MetadataMap::from_headers(headers(credentials).await?);
        }
        request.set_timeout(time);
        Ok(request)
    }

    /// Pulls, and says so in `begun` once an answer is on its way. The stub would tell of it only when it is there.
    pub(crate) async fn pull(
        &self,
        request: Request<PullRequest>,
        begun: &OnceLock<Instant>,
    ) -> Result<Response<PullResponse>, Status> {
        let mut grpc = Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES);
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static("/google.pubsub.v1.Subscriber/Pull");
        let mut answer = grpc.server_streaming(request, path, ProstCodec::default()).await?.into_inner();
        begun.get_or_init(Instant::now);
        let response = answer.message().await?;
        answer.trailers().await?; // to its very end: else the service is told that it was broken off
        response.map(Response::new).ok_or_else(|| Status::internal("there is nothing in it"))
    }

    /// Makes a call: the answer, or an error that names the operation. It and the credentials have the time of a call.
    pub(crate) async fn call<T, R>(
        &self,
        operation: Operation<'_>,
        message: T,
        call: impl AsyncFnOnce(Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<R> {
        self.call_within(self.timeout, operation, message, call).await?.map_err(|status| error::of(operation, &status))
    }

    /// The same within `time`, with the status as it is.
    pub(crate) async fn call_within<T, R>(
        &self,
        time: Duration,
        operation: Operation<'_>,
        message: T,
        call: impl AsyncFnOnce(Request<T>) -> Result<Response<R>, Status>,
    ) -> Result<Result<R, Status>> {
        let end = Instant::now() + time;
        let request = match timeout_at(end, self.request(message, time)).await {
            Ok(request) => request.map_err(|error| Error::new(error.kind(), format!("{operation}: {error}")))?,
            Err(_) => return Err(error::unavailable(format!("{operation}: {NO_CREDENTIALS_NOW}"))),
        };
        let outcome = timeout_at(end, call(request)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Status::deadline_exceeded("")));
        Ok(outcome.map(Response::into_inner))
    }

    /// A call about a topic or a subscription of this full name.
    pub(crate) fn operation<'a>(
        &'a self,
        asks: &'static str,
        full: &'a str,
        permission: &'static str,
    ) -> Operation<'a> {
        Operation { asks, name: name::short(full), host: &self.host, permission }
    }

    /// Where the service is.
    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        self.credentials.as_ref()
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(crate) fn project(&self) -> Option<&str> {
        self.project.as_deref()
    }

    pub(crate) fn topic(&self, name: &str) -> Result<String> {
        name::full("topics", name, self.project())
    }

    pub(crate) fn subscription(&self, name: &str) -> Result<String> {
        name::full("subscriptions", name, self.project())
    }
}

async fn headers(credentials: &Credentials) -> Result<HeaderMap> {
    match credentials.headers(Extensions::new()).await {
        Ok(CacheableResource::New { data, .. }) => Ok(data),
        // It was not said that we had any.
        Ok(CacheableResource::NotModified) => Ok(HeaderMap::new()),
        Err(error) if error.is_transient() => Err(error::unavailable(NO_CREDENTIALS_NOW.to_owned())),
        Err(_) => Err(Error::new(ErrorKind::Denied, "the credentials are refused")),
    }
}

/// Whether what is sent there is encrypted. Only then credentials are sent along.
pub(crate) fn is_encrypted(address: &str) -> bool {
    begins_with(address, "https://")
}

/// Schemes may be written in capitals.
fn begins_with(address: &str, scheme: &str) -> bool {
    address.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// What is set, or where the emulator is, or the service. The variable holds `host:port`, as Google's clients read it.
fn address(endpoint: Option<&str>, emulator: Option<&str>) -> String {
    match (endpoint, emulator.filter(|host| !host.is_empty())) {
        (Some(endpoint), _) => endpoint.to_owned(),
        (None, Some(host)) if host.contains("://") => host.to_owned(),
        (None, Some(host)) => format!("http://{host}"),
        (None, None) => SERVICE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_goes_before_the_variable_and_that_before_the_service() {
        assert_eq!(address(Some("https://eu.example"), Some("localhost:8085")), "https://eu.example");
        assert_eq!(address(None, Some("localhost:8085")), "http://localhost:8085");
        assert_eq!(address(None, Some("http://localhost:8085")), "http://localhost:8085");
        assert_eq!(address(None, Some("")), SERVICE);
        assert_eq!(address(None, None), SERVICE);
    }

    #[tokio::test]
    async fn plain_http_is_for_this_machine_and_carries_no_credentials() {
        let refusal = |address: &str, access: &Access| Client::at(address, access).map(drop).unwrap_err().to_string();
        let mut access = Access::default();
        assert!(refusal("http://pubsub.example", &access).starts_with("pubsub: endpoint: is not encrypted"));
        assert!(refusal("localhost:8085", &access).starts_with("pubsub: endpoint: is not an address with a scheme"));
        Client::at("http://127.0.0.1:1", &access).unwrap();
        access.allow_insecure = true;
        Client::at("http://pubsub.example", &access).unwrap();
        assert!(refusal("amqp://127.0.0.1:1", &access).starts_with("pubsub: endpoint: is neither https nor http"));
        for address in ["http://127.0.0.1:1", "HTTP://127.0.0.1:1", "hTtP://localhost:1"] {
            access.identity = Identity::Default;
            assert!(Client::at(address, &access).unwrap().credentials.is_none(), "{address}");
            access.identity = Identity::File("/no/such/file".into());
            assert!(refusal(address, &access).starts_with("pubsub: credentials_file: is not sent"), "{address}");
        }
    }

    #[tokio::test]
    async fn an_encrypted_endpoint_is_set_up_without_a_panic() {
        let access = Access { identity: Identity::Anonymous, ..Access::default() };
        match Client::at(SERVICE, &access) {
            Ok(_) => {}
            Err(error) => assert!(error.to_string().contains("certificates"), "{error}"),
        }
    }
}
