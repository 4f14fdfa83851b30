use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::{Error, ErrorKind, Result};
use strait_kit::{Expect, Put, Row, RowStore, Version};

use crate::key;

/// Longest prefix as it is stored: half of the longest key, so that the other half is there for the rows below it.
const LONGEST: usize = 300;

/// The rows of a store that are below a prefix, as a store of their own.
#[derive(Debug)]
pub(crate) struct Prefixed {
    prefix: String,
    rows: Arc<dyn RowStore>,
}

impl Prefixed {
    /// The rows below these folders, one within the other. What a name has of `/` does not make another folder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Config`] if the names are too long.
    pub(crate) fn new(rows: Arc<dyn RowStore>, folders: [&str; 2]) -> Result<Self> {
        let names = folders.map(|name| name.replace('%', "%25").replace('/', "%2F"));
        let prefix = names.join("/");
        let stored = key::encode(&prefix).ok().filter(|stored| stored.len() < LONGEST);
        if stored.is_none() {
            let text = format!(
                "leases: the names of the log and the group are too long: they may have {LONGEST} bytes as they are \
                 stored, where all but lower-case letters, digits, - and _ count three"
            );
            return Err(Error::new(ErrorKind::Config, text));
        }
        Ok(Self { prefix: prefix + "/", rows })
    }

    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

#[async_trait]
impl RowStore for Prefixed {
    fn value_bytes(&self) -> usize {
        self.rows.value_bytes()
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        self.rows.get(&self.full(key)).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        let found = self.rows.versions(&self.full(prefix)).await?.into_iter();
        Ok(found.filter_map(|(key, version)| Some((key.strip_prefix(&self.prefix)?.to_owned(), version))).collect())
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        self.rows.put(&self.full(key), expect, value).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.rows.delete(&self.full(key)).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryRows;

    fn below(folders: [&str; 2]) -> Result<Prefixed> {
        Prefixed::new(MemoryRows::named("prefixed"), folders)
    }

    #[tokio::test]
    async fn each_prefix_has_rows_of_its_own() {
        let all = [["a", "b"], ["a", "c"], ["a/b", "c"], ["a", "b/c"], ["a%2Fb", "c"], ["A", "b"]];
        for (number, folders) in (0..).zip(all) {
            let rows = below(folders).unwrap();
            assert_eq!(rows.get("member/x").await.unwrap(), None, "{folders:?}");
            rows.put("member/x", Expect::Absent, vec![number; 1].into()).await.unwrap();
            rows.put("plan", Expect::Absent, vec![number; 2].into()).await.unwrap();
        }
        for (number, folders) in (0..).zip(all) {
            let rows = below(folders).unwrap();
            assert_eq!(rows.get("member/x").await.unwrap().unwrap().value, vec![number; 1], "{folders:?}");
            let mut keys: Vec<_> = rows.versions("").await.unwrap().into_iter().map(|(key, _)| key).collect();
            keys.sort();
            assert_eq!(keys, ["member/x", "plan"], "{folders:?}");
            assert_eq!(rows.versions("member/").await.unwrap().len(), 1);
            rows.delete("plan").await.unwrap();
            assert_eq!(rows.get("plan").await.unwrap(), None);
        }
    }

    #[test]
    fn names_that_leave_no_room_for_rows_are_refused() {
        assert!(below(["orders", &"b".repeat(200)]).is_ok());
        for folders in
            [["orders", &*"B".repeat(100)], [&*"s".repeat(150), &*"g".repeat(150)], ["orders", &*"b".repeat(241)]]
        {
            assert_eq!(below(folders).unwrap_err().kind(), ErrorKind::Config);
        }
    }
}
