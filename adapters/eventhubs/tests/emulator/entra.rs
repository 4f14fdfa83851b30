//! Tokens of Microsoft Entra, from a double of what gives them out.

use std::{
    env,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use azure_core::{
    Bytes,
    credentials::{Secret, TokenCredential},
    http::{AsyncRawResponse, Body, HttpClient, Request, StatusCode, Transport, headers::Headers},
};
use azure_identity::{ClientSecretCredential, ClientSecretCredentialOptions};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use strait_core::{ErrorKind, Message};
use strait_eventhubs::{Access, Entra, EventHubsLog, EventHubsProducer, Routing};
use strait_eventhubs_emulator::{Emulator, Recorded};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    process::Command,
    time::{sleep, timeout},
};

use crate::{
    Scene, TIMEOUT,
    config::{RECEIVER, build},
    message, send,
};

/// What no error and no log may show.
const SECRET: &str = "hidden-secret";

/// A token that is valid for so long, and when it ends, in seconds since 1970.
fn jwt(life: Duration) -> (String, u64) {
    let ends = (SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + life).as_secs();
    (format!("e30.{}.c2ln", BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{ends}}}"))), ends)
}

/// What stands for `login.microsoftonline.com`.
#[derive(Debug)]
struct Authority {
    asked: AtomicU64,
    life: Duration,
    /// How it refuses, if it does.
    refuses: Option<(StatusCode, &'static str)>,
}

impl Authority {
    fn new(life: Duration) -> Self {
        Self { asked: AtomicU64::new(0), life, refuses: None }
    }

    /// Access to a namespace by the secret of an application, whose tokens are from here.
    fn access(self: &Arc<Self>, emulator: &Emulator) -> Arc<Access> {
        let mut options = ClientSecretCredentialOptions::default();
        options.client_options.transport = Some(Transport::new(Arc::clone(self) as Arc<dyn HttpClient>));
        let secret = Secret::new(SECRET);
        let credential = ClientSecretCredential::new("tenant", "application".into(), secret, Some(options)).unwrap();
        let credential: Arc<dyn TokenCredential> = credential;
        let mut access = Access::entra(&format!("amqp://{}", emulator.address()), credential).unwrap();
        access.timeout = Duration::from_secs(5);
        Arc::new(access)
    }
}

#[async_trait]
impl HttpClient for Authority {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        self.asked.fetch_add(1, SeqCst);
        assert_eq!(request.url().as_str(), "https://login.microsoftonline.com/tenant/oauth2/v2.0/token");
        let Body::Bytes(body) = request.body() else { panic!("a form") };
        let form = String::from_utf8_lossy(body);
        assert!(form.contains("grant_type=client_credentials") && form.contains(SECRET), "{form}");
        assert!(form.contains("scope=https%3A%2F%2Feventhubs.azure.net%2F.default"), "{form}");
        let seconds = self.life.as_secs();
        let given = || {
            let token = jwt(self.life).0;
            format!(
                r#"{{"token_type":"Bearer","expires_in":{seconds},"ext_expires_in":{seconds},"access_token":"{token}"}}"#
            )
        };
        let (status, answer) =
            self.refuses.map_or_else(|| (StatusCode::Ok, given()), |(status, answer)| (status, answer.to_owned()));
        Ok(AsyncRawResponse::from_bytes(status, Headers::new(), Bytes::from(answer)))
    }
}

/// The types of the tokens that `$cbs` accepted so far.
fn puts(emulator: &Emulator) -> Vec<String> {
    let records = emulator.records();
    let put = records.into_iter().filter_map(|record| match record.sent {
        Recorded::PutToken { kind, accepted: true, .. } => Some(kind),
        _ => None,
    });
    put.collect()
}

#[tokio::test]
async fn a_token_is_put_as_a_jwt_and_renewed_before_it_ends() {
    let scene = Scene::new().await;
    let authority = Arc::new(Authority::new(Duration::from_secs(4)));
    let producer =
        EventHubsProducer::open(&authority.access(&scene.emulator), "orders", Routing::Partition).await.unwrap();
    send(&producer, message("a", 0)).await.unwrap();
    let (links, first) = (scene.emulator.open().borrow().links, puts(&scene.emulator).len());
    let renewed = async {
        while puts(&scene.emulator).len() < 3 * first {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(TIMEOUT, renewed).await.expect("tokens are renewed");
    assert!(puts(&scene.emulator).iter().all(|kind| kind == "jwt"));
    assert_eq!(scene.emulator.open().borrow().links, links, "no link was detached for its token");
    send(&producer, message("a", 1)).await.unwrap();
}

#[tokio::test]
async fn a_token_is_asked_for_once_for_all_connections_while_it_lasts() {
    let scene = Scene::new().await;
    let authority = Arc::new(Authority::new(Duration::from_hours(1)));
    let access = authority.access(&scene.emulator);
    let producer = EventHubsProducer::open(&access, "orders", Routing::Partition).await.unwrap();
    send(&producer, message("a", 0)).await.unwrap();
    EventHubsLog::open(&access, "orders", "$Default").await.unwrap();
    assert!(puts(&scene.emulator).len() >= 4);
    assert_eq!(authority.asked.load(SeqCst), 1);
}

#[tokio::test]
async fn what_entra_refuses_is_denied_and_the_secret_not_shown() {
    let scene = Scene::new().await;
    let answer = r#"{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]}"#;
    let refuses = Some((StatusCode::Unauthorized, answer));
    let authority = Arc::new(Authority { refuses, ..Authority::new(Duration::ZERO) });
    let access = authority.access(&scene.emulator);
    let error = EventHubsProducer::open(&access, "orders", Routing::Partition).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("AADSTS7000215"), "{error}");
    assert!(!format!("{error:?} {access:?}").contains(SECRET));
}

#[tokio::test]
async fn an_authority_that_fails_is_unavailable_in_time() {
    let scene = Scene::new().await;
    let refuses = Some((StatusCode::ServiceUnavailable, "{}"));
    let authority = Arc::new(Authority { refuses, ..Authority::new(Duration::ZERO) });
    let mut access = authority.access(&scene.emulator);
    Arc::make_mut(&mut access).timeout = Duration::from_secs(1);
    let error = EventHubsProducer::open(&access, "orders", Routing::Partition).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_credential_that_cannot_be_made_is_an_error_of_the_configuration() {
    let scene = Scene::new().await;
    let namespace = format!("amqp://{}", scene.emulator.address());
    let (tenant, client_id) = (Some("tenant".to_owned()), Some("application".to_owned()));
    let entra = Entra::WorkloadIdentity { tenant, client_id, token_file: Some("/there/is/none".into()) };
    let access = Arc::new(Access::entra(&namespace, entra).unwrap());
    let error = EventHubsProducer::open(&access, "orders", Routing::Partition).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    assert!(error.to_string().contains("/there/is/none"), "{error}");
}

/// What the environment of the process below says.
const NAMESPACE: &str = "STRAIT_TEST_NAMESPACE";

#[tokio::test]
#[ignore = "run by the next with an environment of its own"]
async fn in_a_process_that_has_an_identity() {
    let text = format!(
        "provider = \"eventhubs\"\n[connections.eventhubs]\nnamespace = \"{}\"\ncredential = \"managed-identity\"\n\
         client_id = \"orders-app\"\n[senders.out.on.eventhubs]\nhub = \"orders\"\n[receivers.app]\n\
         dead_letter = \"discard\"\n[receivers.app.on.eventhubs]\n{RECEIVER}\n",
        env::var(NAMESPACE).unwrap()
    );
    let bus = build(&text).unwrap();
    let (sender, receiver) = (bus.sender("out").await.unwrap(), bus.receiver("app").await.unwrap());
    sender.send(Message::new("1")).await.unwrap();
    assert_eq!(receiver.recv().await.unwrap().unwrap().message().payload, "1");
    bus.close().await.unwrap();
}

#[tokio::test]
async fn the_identity_of_a_machine_is_asked_where_the_environment_says() {
    let scene = Scene::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/token", listener.local_addr().unwrap());
    let machine = tokio::spawn(async move {
        let mut asked = String::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 16 << 10];
            let length = stream.read(&mut request).await.unwrap();
            asked.push_str(&String::from_utf8_lossy(&request[..length]));
            let (token, ends) = jwt(Duration::from_hours(1));
            let answer = format!(
                r#"{{"access_token":"{token}","expires_on":"{ends}","token_type":"Bearer","resource":"https://eventhubs.azure.net"}}"#
            );
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length:";
            stream.write_all(format!("{head} {}\r\n\r\n{answer}", answer.len()).as_bytes()).await.unwrap();
            if asked.contains("client_id=orders-app") {
                return asked;
            }
        }
    });
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "entra::in_a_process_that_has_an_identity", "--ignored", "--nocapture"])
        .env("IDENTITY_ENDPOINT", endpoint)
        .env("IDENTITY_HEADER", SECRET)
        .env(NAMESPACE, format!("amqp://{}", scene.emulator.address()))
        .stdin(Stdio::null())
        .output();
    let output = timeout(TIMEOUT, output).await.expect("it ends").unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let asked = timeout(TIMEOUT, machine).await.unwrap().unwrap();
    assert!(asked.contains("resource=https%3A%2F%2Feventhubs.azure.net&"), "{asked}");
    assert!(asked.to_lowercase().contains(&format!("x-identity-header: {SECRET}")), "{asked}");
    assert!(puts(&scene.emulator).iter().all(|kind| kind == "jwt"));
}
