use std::collections::BTreeMap;

use bytes::Bytes;
use strait_core::ErrorKind;
use strait_kit::Expect;

use super::{Handles, done, fresh};

/// Keys that look alike to a file system, or like something else to an object store, are different rows; a listing
/// gives them back as they were, and only those under its prefix.
pub async fn keys_are_kept_apart(handles: &Handles) {
    let rows = &handles[0];
    let prefix = fresh("Keys");
    let endings = [
        "a",
        "A",
        "a/b",
        "a/",
        "a//b",
        "a/b/",
        ".",
        "..",
        "../a",
        "a.b",
        "a%2fb",
        "a%2Fb",
        "a=b",
        "a b",
        "a+b",
        "ä",
        "\u{1f512}",
        "\n",
        "a\\b",
        "a?b#c",
        "member/1",
        "member/10",
        "part/1",
        "shardId-000000000001",
        "x.row",
        "current",
        "~",
        "*",
    ];
    let mut expected = BTreeMap::new();
    for ending in endings {
        let key = format!("{prefix}{ending}");
        expected.insert(key.clone(), done(rows.put(&key, Expect::Absent, Bytes::from(key.clone())).await));
    }
    for (key, version) in &expected {
        let row = rows.get(key).await.expect("a get").expect("a row");
        assert!(row.value == key.as_bytes() && row.version == *version, "{key:?} holds another row");
    }
    for under in
        ["", "a", "a/", "a//", "A", "member/", "member/1", "member/10", "part", "shardId-", "none", "none/none/"]
    {
        let prefix = format!("{prefix}{under}");
        let found: BTreeMap<_, _> = rows.versions(&prefix).await.expect("a listing").into_iter().collect();
        let matching: BTreeMap<_, _> =
            expected.iter().filter(|(key, _)| key.starts_with(&prefix)).map(|(k, v)| (k.clone(), v.clone())).collect();
        assert_eq!(found, matching, "under {under:?}");
    }
    for key in expected.keys() {
        rows.delete(key).await.expect("a delete");
    }
    assert_eq!(rows.versions(&prefix).await.expect("a listing"), []);
}

/// An empty key, one that is too long, and a value of more than the store takes are refused as what they are.
pub async fn what_does_not_fit_is_refused(handles: &Handles) {
    let rows = &handles[0];
    let prefix = fresh("limits");
    let kind = |outcome: strait_core::Result<()>| outcome.expect_err("it does not fit").kind();
    for key in [String::new(), format!("{prefix}{}", "a".repeat(241)), format!("{prefix}{}", "a/".repeat(300))] {
        assert_eq!(kind(rows.get(&key).await.map(drop)), ErrorKind::Invalid);
        assert_eq!(kind(rows.put(&key, Expect::Absent, Bytes::new()).await.map(drop)), ErrorKind::Invalid);
        assert_eq!(kind(rows.delete(&key).await), ErrorKind::Invalid);
    }
    let longest = rows.value_bytes();
    let value = Bytes::from(vec![0; longest + 1]);
    let refused = rows.put(&format!("{prefix}row"), Expect::Absent, value).await.expect_err("it does not fit");
    assert!(refused.kind() == ErrorKind::Invalid && refused.to_string().contains(&longest.to_string()), "{refused}");
    assert_eq!(rows.versions(&prefix).await.expect("a listing"), []);
}
