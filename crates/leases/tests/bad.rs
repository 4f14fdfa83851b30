//! What cannot be opened is refused by the name of what is wrong.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::time::Duration;

use strait_config::Secret;
use strait_core::ErrorKind;
use strait_leases::{Credentials, Options, open};

async fn refusal(url: &str, options: &Options) -> (ErrorKind, String) {
    let error = open(url, options).await.expect_err("it is wrong");
    (error.kind(), format!("{error} {error:?}"))
}

#[tokio::test]
async fn the_url_or_the_option_is_named() {
    let good = Options::default();
    for url in
        ["", "leases", "redis://host/x", "memory:", "file:here", "s3://b", "az://", "gs://bucket", "dynamodb://table"]
    {
        let (kind, text) = refusal(url, &good).await;
        assert!(kind == ErrorKind::Config && text.starts_with("leases: url: "), "{url}: {text}");
    }
    for timeout in [Duration::ZERO, Duration::from_millis(49), Duration::from_secs(61)] {
        let (kind, text) = refusal("memory:x", &Options { timeout, ..good.clone() }).await;
        assert!(kind == ErrorKind::Config && text.starts_with("leases: timeout: "), "{text}");
    }
    for endpoint in [
        "localhost:4566",
        "ftp://localhost",
        "http://stores.example",
        "http://127.0.0.1@stores.example",
        "https://a:hunter2@b",
    ] {
        for url in ["s3://bucket/x", "az://container/x", "gs://bucket/x"] {
            let (kind, text) = refusal(url, &Options { endpoint: Some(endpoint.into()), ..good.clone() }).await;
            assert!(kind == ErrorKind::Config && text.starts_with("leases: endpoint: "), "{url} {endpoint}: {text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
    }
}

#[cfg(not(any(feature = "s3", feature = "azure", feature = "gcs", feature = "dynamodb")))]
#[tokio::test]
async fn a_store_that_is_not_compiled_in_is_named_with_its_feature() {
    for (url, feature) in [
        ("s3://bucket/x", "`s3`"),
        ("az://container/x", "`azure`"),
        ("gs://bucket/x", "`gcs`"),
        ("dynamodb://table/x", "`dynamodb`"),
    ] {
        let (kind, text) = refusal(url, &Options::default()).await;
        assert!(kind == ErrorKind::Unsupported && text.contains(feature), "{text}");
    }
}

#[test]
fn options_print_no_secret() {
    let credentials = Credentials { name: "somebody".into(), secret: Secret::new("hunter2") };
    let text = format!("{:?}", Options { credentials: Some(credentials), ..Options::default() });
    assert!(text.contains("somebody") && !text.contains("hunter2"), "{text}");
}
