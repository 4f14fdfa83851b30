//! Both stores of AWS are reached as one connection says: with whose credentials they sign, before a service of our own.

use std::{
    env, fs,
    net::SocketAddr,
    process::Command,
    sync::{Arc, Mutex},
};

use strait_aws::{Keys, Role, Service};
use strait_config::Secret;
use strait_core::ErrorKind;
use strait_kit::{Expect, Put};
use strait_leases::{Credentials, Options, open};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

const URLS: [&str; 2] = ["s3://bucket/rows", "dynamodb://table/rows"];

/// A request: its head in lower case, and its body.
#[derive(Clone, Debug)]
struct Asked {
    head: String,
    body: String,
}

/// A service that answers as it is told and keeps what it was asked.
struct Stub {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Stub {
    async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Asked>>>::default());
        let (answer, seen) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(asked) = read(&mut stream).await {
                        let (status, body) = answer(&asked);
                        seen.lock().unwrap().push(asked);
                        let head =
                            format!("HTTP/1.1 {status} X\r\netag: \"1\"\r\ncontent-length: {}\r\n\r\n", body.len());
                        if stream.write_all((head + &body).as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The stores here, and STS too.
    fn options(&self) -> Options {
        let mut options = Options::default();
        options.aws.region = Some("eu-west-1".to_owned());
        options.aws.endpoint = Some(format!("http://{}", self.address));
        let session_token = Some(Secret::new("the-token"));
        options.aws.keys = Some(Keys { id: Secret::new("AKIA"), secret: Secret::new("hunter2"), session_token });
        options
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await.ok()? == 0 {
            return None;
        }
    }
    let head = head.to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked { head, body: String::from_utf8(body).unwrap() })
}

/// There are no rows, and a role is taken on.
fn nothing(asked: &Asked) -> (u16, String) {
    if asked.body.contains("Action=AssumeRole") {
        let credentials = "<AccessKeyId>ROLE</AccessKeyId><SecretAccessKey>s</SecretAccessKey>\
                           <SessionToken>role-token</SessionToken><Expiration>2099-01-01T00:00:00Z</Expiration>";
        let result = format!("<AssumeRoleResult><Credentials>{credentials}</Credentials></AssumeRoleResult>");
        return (200, format!("<AssumeRoleResponse>{result}</AssumeRoleResponse>"));
    }
    if asked.head.contains("x-amz-target") { (200, "{}".to_owned()) } else { (404, String::new()) }
}

#[tokio::test]
async fn keys_go_with_their_session_token() {
    for url in URLS {
        let stub = Stub::start(nothing).await;
        let rows = open(url, &stub.options()).await.unwrap();
        assert_eq!(rows.get("row").await.unwrap(), None);
        let asked = stub.asked();
        assert_eq!(asked.len(), 2);
        for Asked { head, .. } in asked {
            assert!(head.contains("credential=akia/") && head.contains("/eu-west-1/"), "{url}: {head}");
            assert!(head.contains("x-amz-security-token: the-token"), "{url}: {head}");
        }
    }
}

#[tokio::test]
async fn a_role_is_taken_on_once() {
    for url in URLS {
        let (stub, sts) = (Stub::start(nothing).await, Stub::start(nothing).await);
        let mut options = stub.options();
        options.aws.endpoints.insert(Service::Sts, format!("http://{}", sts.address));
        let arn = "arn:aws:iam::123456789012:role/leases".to_owned();
        options.aws.role = Some(Role { arn, external_id: Some(Secret::new("external")) });
        let rows = open(url, &options).await.unwrap();
        assert_eq!(rows.get("row").await.unwrap(), None);
        let roles = sts.asked();
        assert_eq!(roles.len(), 1, "{url}: it is kept");
        assert!(roles[0].body.contains("ExternalId=external") && roles[0].head.contains("credential=akia/"));
        for Asked { head, .. } in stub.asked() {
            assert!(head.contains("credential=role/") && head.contains("x-amz-security-token: role-token"), "{head}");
        }
    }
}

#[tokio::test]
async fn a_role_that_is_not_given_is_denied_by_its_permission() {
    for url in URLS {
        let stub = Stub::start(nothing).await;
        let sts = Stub::start(|_| {
            let error = "<Error><Code>AccessDenied</Code><Message>User: x is not authorized</Message></Error>";
            (403, format!("<ErrorResponse>{error}</ErrorResponse>"))
        })
        .await;
        let mut options = stub.options();
        options.aws.endpoints.insert(Service::Sts, format!("http://{}", sts.address));
        options.aws.role = Some(Role { arn: "arn:aws:iam::123456789012:role/x".to_owned(), external_id: None });
        let error = open(url, &options).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Denied, false), "{error:?}");
        assert!(error.to_string().contains("needs the permission sts:AssumeRole"), "{url}: {error}");
        assert!(stub.asked().is_empty());
    }
}

#[tokio::test]
#[ignore = "run by the next with an environment of its own"]
async fn opens_as_the_profile_says() {
    for url in URLS {
        let stub = Stub::start(nothing).await;
        let mut options = stub.options();
        (options.aws.keys, options.aws.region) = (None, None);
        options.aws.profile = Some("leases".to_owned());
        open(url, &options).await.unwrap();
        let asked = stub.asked();
        assert!(asked[0].head.contains("credential=profile/"), "{url}: {asked:?}");
        assert!(asked[0].head.contains("/eu-north-1/"), "{url}: {asked:?}");
    }
}

#[test]
fn a_profile_says_the_region_and_whose_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config");
    let profile = "[profile leases]\nregion = eu-north-1\naws_access_key_id = PROFILE\naws_secret_access_key = x\n";
    fs::write(&file, profile).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "access::opens_as_the_profile_says", "--ignored"]);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let output = command.env("AWS_CONFIG_FILE", &file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[tokio::test]
async fn what_is_for_other_stores_is_refused() {
    for url in URLS {
        let credentials = Credentials { name: "x".to_owned(), secret: Secret::new("hunter2") };
        for (field, options) in [
            ("endpoint", Options { endpoint: Some("https://example.com".to_owned()), ..Options::default() }),
            ("credentials", Options { credentials: Some(credentials), ..Options::default() }),
            ("allow_insecure", Options { allow_insecure: true, ..Options::default() }),
        ] {
            let error = open(url, &options).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().starts_with(&format!("leases: {field}: is not for ")), "{error}");
        }
    }
}

#[tokio::test]
async fn a_put_whose_own_first_attempt_is_in_the_way_is_done() {
    let refused = |item: &serde_json::Value| {
        let body = serde_json::json!({ "__type": "ConditionalCheckFailedException", "Item": item });
        (400, body.to_string())
    };
    let stub = Stub::start(move |asked| {
        if asked.body.contains("ours") {
            let body: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
            return refused(&body["Item"]);
        }
        if asked.body.contains("theirs") {
            let version = serde_json::json!({ "S": "theirs" });
            return refused(&serde_json::json!({ "pk": { "S": "rows" }, "sk": { "S": "x" }, "version": version }));
        }
        nothing(asked)
    })
    .await;
    let rows = open(URLS[1], &stub.options()).await.unwrap();
    assert!(matches!(rows.put("ours", Expect::Absent, "x".into()).await, Ok(Put::Done(_))));
    assert_eq!(rows.put("theirs", Expect::Absent, "x".into()).await.unwrap(), Put::Refused);
    let puts: Vec<_> = stub.asked().into_iter().filter(|asked| asked.head.contains("putitem")).collect();
    assert!(puts.iter().all(|put| put.body.contains(r#""ReturnValuesOnConditionCheckFailure":"ALL_OLD""#)));
}
