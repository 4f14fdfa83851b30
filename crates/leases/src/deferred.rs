use std::{fmt, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::Result;
use strait_kit::{Expect, Put, Row, RowStore, Version};
use tokio::sync::OnceCell;

use crate::{
    Options,
    deadline::{Late, within},
    open::reach,
};

/// A store that is reached when it is first used: a connection, also one by which credentials are fetched, is driven by the
/// runtime that made it, and hangs when that does not run.
pub(crate) struct DeferredRows {
    url: String,
    options: Options,
    value_bytes: usize,
    rows: OnceCell<Arc<dyn RowStore>>,
}

impl DeferredRows {
    /// The store of a URL that is open already, as `opened`, for another runtime.
    pub(crate) fn new(url: &str, options: &Options, opened: &dyn RowStore) -> Self {
        let value_bytes = opened.value_bytes();
        Self { url: url.to_owned(), options: options.clone(), value_bytes, rows: OnceCell::new() }
    }

    async fn rows(&self) -> Result<&Arc<dyn RowStore>> {
        let reach = || within(self.options.timeout, Late::Nothing, "the store", reach(&self.url, &self.options));
        self.rows.get_or_try_init(reach).await
    }
}

impl fmt::Debug for DeferredRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeferredRows").field("rows", &self.rows.get()).finish_non_exhaustive()
    }
}

#[async_trait]
impl RowStore for DeferredRows {
    fn value_bytes(&self) -> usize {
        self.value_bytes
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        self.rows().await?.get(key).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        self.rows().await?.versions(prefix).await
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        self.rows().await?.put(key, expect, value).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.rows().await?.delete(key).await
    }
}
