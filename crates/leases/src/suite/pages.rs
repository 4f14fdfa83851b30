use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use strait_kit::Expect;

use super::{Handles, done, fresh};

/// More than stores list at once: S3 and Google 1,000, Azure 5,000 but fewer by default here.
const ROWS: usize = 1_050;

/// So large that all rows together are more than the mebibyte that DynamoDB looks at for a page.
const VALUE: [u8; 1_100] = [b'x'; 1_100];

/// R5: every row is listed that was there all the time, however many pages it takes, and also while others come and go.
pub async fn more_than_a_page_is_listed(handles: &Handles) {
    let prefix = fresh("pages");
    let put = |number: usize| {
        let (rows, key) = (&handles[number % handles.len()], format!("{prefix}row/{number:05}"));
        async move {
            let version = done(rows.put(&key, Expect::Absent, Bytes::from_static(&VALUE)).await);
            (key, version)
        }
    };
    let expected: BTreeMap<_, _> = stream::iter(0..ROWS).map(put).buffer_unordered(16).collect().await;
    assert_eq!(expected.len(), ROWS);
    let (one, other) = (&handles[0], &handles[handles.len() - 1]);

    // A neighbour that is changed, deleted and made again all the while.
    let moving = format!("{prefix}row/00000-moving");
    let churn = async {
        for _ in 0..20 {
            let version = done(other.put(&moving, Expect::Absent, "y".into()).await);
            done(other.put(&moving, Expect::Is(version), "z".into()).await);
            other.delete(&moving).await.expect("a delete");
        }
    };
    let list = async {
        for _ in 0..3 {
            let found = one.versions(&format!("{prefix}row/")).await.expect("a listing");
            let mut found: BTreeMap<_, _> = found.into_iter().collect();
            found.remove(&moving);
            assert_eq!(found.len(), ROWS);
            assert!(found == expected, "a listing shows other versions than the puts");
        }
    };
    tokio::join!(churn, list);

    let (gone, kept): (Vec<_>, Vec<_>) = expected.into_iter().partition(|(key, _)| key.ends_with('7'));
    stream::iter(&gone).for_each_concurrent(16, async |(key, _)| one.delete(key).await.expect("a delete")).await;
    let mut found = other.versions(&prefix).await.expect("a listing");
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert!(found == kept, "a listing shows what is gone, or hides what is not");
    stream::iter(&kept).for_each_concurrent(16, async |(key, _)| one.delete(key).await.expect("a delete")).await;
}
