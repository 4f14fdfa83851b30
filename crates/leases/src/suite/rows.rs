use std::{collections::HashSet, future::poll_fn, task::Poll};

use bytes::Bytes;
use strait_kit::Expect;

use super::{Handles, done, fresh, refused};

/// A put is done if, and only if, the row is as expected; a deleted row is absent.
pub async fn absent_and_present(handles: &Handles) {
    let (rows, other) = (&handles[0], &handles[handles.len() - 1]);
    let key = format!("{}row", fresh("absent"));
    assert_eq!(rows.get(&key).await.expect("a get"), None);
    rows.delete(&key).await.expect("what is not there can be deleted");

    let first = done(rows.put(&key, Expect::Absent, "one".into()).await);
    refused(&other.put(&key, Expect::Absent, "two".into()).await);
    let row = other.get(&key).await.expect("a get").expect("a row");
    assert_eq!((&row.value[..], &row.version), (&b"one"[..], &first));

    let second = done(other.put(&key, Expect::Is(first.clone()), "two".into()).await);
    refused(&rows.put(&key, Expect::Is(first.clone()), "three".into()).await);
    assert_eq!(&rows.get(&key).await.expect("a get").expect("a row").value[..], b"two");

    other.delete(&key).await.expect("a delete");
    assert_eq!(rows.get(&key).await.expect("a get"), None);
    refused(&rows.put(&key, Expect::Is(second.clone()), "four".into()).await);
    assert_eq!(rows.get(&key).await.expect("a get"), None, "a refused put changes nothing");

    let third = done(rows.put(&key, Expect::Absent, "one".into()).await);
    assert!(third != first && third != second, "a version of a deleted row came back");
    refused(&other.put(&key, Expect::Is(second), "five".into()).await);
}

/// R2: a version never comes back, also when the value does.
pub async fn equal_values(handles: &Handles) {
    let key = format!("{}row", fresh("equal"));
    let mut seen = HashSet::new();
    let mut expect = Expect::Absent;
    for round in 0..12 {
        let rows = &handles[round % handles.len()];
        let version = done(rows.put(&key, expect, "same".into()).await);
        assert_eq!(&rows.get(&key).await.expect("a get").expect("a row").value[..], b"same");
        assert!(seen.insert(version.clone()), "a version came back");
        expect = Expect::Is(version);
        if round % 4 == 3 {
            rows.delete(&key).await.expect("a delete");
            expect = Expect::Absent;
        }
    }
}

/// A put, a get and a listing call one state of a row by one name.
pub async fn versions_agree(handles: &Handles) {
    let (rows, other) = (&handles[0], &handles[handles.len() - 1]);
    let prefix = fresh("agree");
    let key = format!("{prefix}row");
    let mut expect = Expect::Absent;
    for value in ["one", "two", "two"] {
        let put = done(rows.put(&key, expect, value.into()).await);
        assert_eq!(other.get(&key).await.expect("a get").expect("a row").version, put);
        assert_eq!(other.versions(&prefix).await.expect("a listing"), [(key.clone(), put.clone())]);
        expect = Expect::Is(put);
    }
    other.delete(&key).await.expect("a delete");
    assert_eq!(rows.versions(&prefix).await.expect("a listing"), []);
}

/// Values of nothing and of all that the store takes, with every byte, come back as they were.
pub async fn sizes(handles: &Handles) {
    let rows = &handles[0];
    let prefix = fresh("sizes");
    for size in [0_usize, 1, 255, 4096, rows.value_bytes()] {
        let key = format!("{prefix}{size}");
        let value: Bytes = (0..=u8::MAX).cycle().take(size).collect();
        let version = done(rows.put(&key, Expect::Absent, value.clone()).await);
        let row = rows.get(&key).await.expect("a get").expect("a row");
        assert!(row.value == value && row.version == version, "{size} bytes came back otherwise");
        rows.delete(&key).await.expect("a delete");
    }
}

/// A call that is dropped on the way has been done, or has not: never by half.
pub async fn dropped_calls(handles: &Handles) {
    let rows = &handles[0];
    let key = format!("{}row", fresh("dropped"));
    let value = |round: usize| Bytes::from(format!("{round} ").repeat(2_000));
    let mut version = done(rows.put(&key, Expect::Absent, value(0)).await);
    for round in 1..=40 {
        let mut put = rows.put(&key, Expect::Is(version.clone()), value(round));
        // Polled a few times, and then forgotten.
        for _ in 0..round % 5 {
            if poll_fn(|context| Poll::Ready(put.as_mut().poll(context).is_ready())).await {
                break;
            }
            tokio::task::yield_now().await;
        }
        drop(put);
        let row = handles[handles.len() - 1].get(&key).await.expect("a get").expect("a row");
        let whole = (0..=round).any(|round| row.value == value(round));
        assert!(whole, "a row is torn");
        version = row.version;
    }
    // What was dropped may land later: some put on the latest version is done in the end.
    loop {
        let row = rows.get(&key).await.expect("a get").expect("a row");
        match rows.put(&key, Expect::Is(row.version), "end".into()).await {
            Ok(strait_kit::Put::Done(_)) => break,
            Ok(strait_kit::Put::Refused) => {}
            Err(error) => panic!("a put failed: {error}"),
        }
    }
}
