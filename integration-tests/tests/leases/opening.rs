use integration_tests::again::again;
use strait_config::Secret;
use strait_core::ErrorKind;
use strait_leases::{Credentials, Options, open};

use crate::stores::Store;

/// The kind of an error, and all that it prints.
async fn refusal(url: &str, options: &Options) -> (ErrorKind, String) {
    let error = again(|| open(url, options)).await.expect_err("it cannot be opened");
    (error.kind(), format!("{error} {error:?} {options:?}"))
}

#[tokio::test]
async fn a_place_that_is_not_there_is_not_found() {
    for store in Store::all() {
        let (scheme, _) = store.url.split_once("://").unwrap();
        let options = Options { create: false, ..store.options(store.server) };
        let (kind, text) = refusal(&format!("{scheme}://nobody-made-this/x"), &options).await;
        assert_eq!(kind, ErrorKind::NotFound, "{text}");
        let told =
            if store.is_table() { "or by create = true: it does not exist" } else { "no such bucket or container" };
        assert!(text.contains(told), "{text}");
    }
}

#[tokio::test]
async fn credentials_that_are_wrong_are_denied_and_printed_nowhere() {
    let store = Store::azurite();
    let secret = "aHVudGVyMmh1bnRlcjI=";
    let credentials = Some(Credentials { name: "devstoreaccount1".to_owned(), secret: Secret::new(secret) });
    let (kind, text) = refusal(&store.url, &Options { credentials, ..store.options(store.server) }).await;
    assert_eq!(kind, ErrorKind::Denied, "{text}");
    assert!(!text.contains(secret) && !text.to_lowercase().contains("signature"), "{text}");
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused_and_printed_nowhere() {
    let store = Store::azurite();
    let credentials = Some(Credentials { name: "devstoreaccount1".to_owned(), secret: Secret::new("hunter2?!") });
    let (kind, text) = refusal(&store.url, &Options { credentials, ..store.options(store.server) }).await;
    assert_eq!(kind, ErrorKind::Config, "{text}");
    assert!(text.contains("leases: credentials: ") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn google_takes_credentials_from_the_environment_only() {
    let credentials = Some(Credentials { name: "somebody".to_owned(), secret: Secret::new("hunter2") });
    let (kind, text) = refusal("gs://bucket/x", &Options { credentials, ..Options::default() }).await;
    assert!(kind == ErrorKind::Config && text.contains("leases: credentials: "), "{text}");
}
