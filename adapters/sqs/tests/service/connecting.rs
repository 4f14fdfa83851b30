//! Why no connection is made: where to, and what the system says.

use std::{env, error::Error as _, process::Command};

use strait_core::ErrorKind;
use strait_sqs::{Access, Client, SqsProducer};
use tokio::net::TcpListener;

use crate::{access, connect};

async fn refusal(endpoint: &str) -> (String, String) {
    let mut access = access(endpoint);
    access.allow_insecure = true;
    let error = SqsProducer::open(&connect(&access).await, crate::QUEUE_URL).await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error:?}");
    (error.to_string(), error.source().expect("the system says why").to_string())
}

#[tokio::test]
async fn a_host_that_refuses_and_one_that_is_unknown_read_differently() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let (text, source) = refusal(&format!("http://user:hunter2@{nobody}")).await;
    assert_eq!(text, format!("sqs: cannot open \"orders\": {nobody} refuses connections"));
    assert!(source.contains("refused") && !source.contains("hunter2"), "{source}");
    // No resolver takes a label of 64 characters, so that no network is asked.
    let unknown = format!("{}.example", "x".repeat(64));
    let (text, source) = refusal(&format!("http://{unknown}")).await;
    assert_eq!(text, format!("sqs: cannot open \"orders\": the host {unknown} cannot be resolved"));
    assert!(!source.is_empty());
}

/// What this process says with such an environment, by running it again.
fn with_environment(variables: &[(&str, &str)]) -> (bool, String) {
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "connecting::connects_as_the_environment_says", "--ignored", "--nocapture"]);
    for (name, _) in env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let missing = concat!(env!("CARGO_TARGET_TMPDIR"), "/there-is-none");
    command.env("AWS_REGION", "eu-west-1").env("AWS_CONFIG_FILE", missing).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(text.contains("running 1 test"), "{text}");
    (output.status.success(), text)
}

#[tokio::test]
#[ignore = "run by the next with an environment of its own"]
async fn connects_as_the_environment_says() {
    Client::connect(&Access::default()).await.unwrap();
}

#[test]
fn plain_http_in_the_environment_is_refused_for_each_service() {
    for (variable, id) in [
        ("AWS_ENDPOINT_URL_SQS", "SQS"),
        ("AWS_ENDPOINT_URL_SNS", "SNS"),
        ("AWS_ENDPOINT_URL_STS", "STS"),
        ("AWS_ENDPOINT_URL", "SQS"),
    ] {
        let (opened, text) = with_environment(&[(variable, "http://service.example")]);
        let refused = format!("AWS_ENDPOINT_URL_{id} or AWS_ENDPOINT_URL: the endpoint of {id} is not encrypted");
        assert!(!opened && text.contains(&refused), "{variable}: {text}");
        let (opened, text) = with_environment(&[(variable, "http://127.0.0.1:4566")]);
        assert!(opened, "{variable}: {text}");
        let ignored = [(variable, "http://service.example"), ("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", "true")];
        let (opened, text) = with_environment(&ignored);
        assert!(opened, "{variable}, ignored: {text}");
    }
}

#[test]
fn plain_http_in_a_profile_is_refused() {
    let file = concat!(env!("CARGO_TARGET_TMPDIR"), "/profile-with-an-endpoint");
    std::fs::write(file, "[default]\nservices = own\n[services own]\nsns =\n  endpoint_url = http://sns.example\n")
        .unwrap();
    let (opened, text) = with_environment(&[("AWS_CONFIG_FILE", file)]);
    assert!(!opened && text.contains("the endpoint of SNS is not encrypted"), "{text}");
}
