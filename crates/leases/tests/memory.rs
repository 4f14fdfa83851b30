//! The suite over `memory:`.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::sync::Arc;

use strait_kit::Expect;
use strait_leases::{Options, open, suite::Handles};

async fn handles() -> Handles {
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(open("memory:suite", &Options::default()).await.unwrap());
    }
    handles
}

strait_leases::row_store_suite!(handles());

#[tokio::test]
async fn a_name_is_one_store_and_another_name_another() {
    let options = Options::default();
    let one = open("memory:one", &options).await.unwrap();
    one.put("row", Expect::Absent, "x".into()).await.unwrap();
    drop(one);
    let again = open("memory:one", &options).await.unwrap();
    assert!(again.get("row").await.unwrap().is_some(), "rows outlive those who hold them");
    let other = open("memory:other", &options).await.unwrap();
    assert!(!Arc::ptr_eq(&again, &other));
    assert!(other.get("row").await.unwrap().is_none());
}
