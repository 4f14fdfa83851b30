//! Rows as objects: one object a row, changed by conditional puts.
//!
//! The client's own retries are switched off: it would repeat a put whose reply was lost, and report the refusal that
//! its own first attempt causes. What it cannot switch off is the repetition of a request that never left.

#![cfg_attr(
    not(any(feature = "s3", feature = "azure", feature = "gcs")),
    allow(dead_code, reason = "without a cloud, only the tests use it")
)]

#[cfg(feature = "azure")]
pub(crate) mod azure;
#[cfg(feature = "s3")]
mod credentials;
mod error;
#[cfg(feature = "gcs")]
pub(crate) mod gcs;
#[cfg(feature = "s3")]
pub(crate) mod s3;
#[cfg(test)]
mod tests;
#[cfg(any(feature = "s3", feature = "azure", feature = "gcs"))]
mod transport;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt as _, TryStreamExt as _};
use object_store::{
    GetOptions, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion, path::Path,
};
use strait_core::{Error, ErrorKind, Result};
use strait_kit::{Expect, Put, Row, RowStore, Version};
use uuid::Uuid;

use self::error::{Asked, Failure};
use crate::{
    deadline::{Late, within},
    key, record,
};

/// What a conditional put names the version by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "each cloud has its own")]
pub(crate) enum Match {
    /// The entity tag.
    Tag,
    /// The generation, which listings do not show: it is looked up first, and checked to be the tag's.
    Generation,
}

/// Rows as objects below a prefix of a bucket.
pub(crate) struct ObjectRows {
    store: Arc<dyn ObjectStore>,
    /// What it is called in errors.
    place: String,
    prefix: Path,
    matching: Match,
    timeout: Duration,
}

impl ObjectRows {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        place: String,
        prefix: &[String],
        matching: Match,
        timeout: Duration,
    ) -> Self {
        Self { store, place, prefix: prefix.iter().map(String::as_str).collect(), matching, timeout }
    }

    fn path(&self, name: &str) -> Path {
        name.split('/').fold(self.prefix.clone(), Path::join)
    }

    async fn within<T>(&self, late: Late, call: impl Future<Output = Result<T>>) -> Result<T> {
        within(self.timeout, late, &self.place, call).await
    }

    /// How the put is to be conditioned; `None` if it is known already that the row is not as expected.
    async fn mode(&self, path: &Path, expect: Expect) -> Result<Option<PutMode>> {
        let Expect::Is(version) = expect else { return Ok(Some(PutMode::Create)) };
        let mut update = UpdateVersion { e_tag: Some(quoted(&version)), version: None };
        if self.matching == Match::Generation {
            let call = async {
                match self.store.head(path).await {
                    Ok(meta) => Ok(Some(meta)),
                    Err(error) => self.failure(&error, Asked::Read).absent().map(|()| None),
                }
            };
            match self.within(Late::Nothing, call).await? {
                Some(meta) if meta.e_tag.as_deref().map(unquoted) == Some(version) => update.version = meta.version,
                _ => return Ok(None),
            }
        }
        Ok(Some(PutMode::Update(update)))
    }

    fn failure(&self, error: &object_store::Error, asked: Asked) -> Failure {
        Failure::of(error, asked, &self.place)
    }
}

impl fmt::Debug for ObjectRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectRows").field("place", &self.place).field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

#[async_trait]
impl RowStore for ObjectRows {
    fn value_bytes(&self) -> usize {
        record::LONGEST_VALUE
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        let path = self.path(&key::encode(key)?);
        self.within(Late::Nothing, async {
            let found = match self.store.get_opts(&path, GetOptions::default()).await {
                Ok(found) => found,
                Err(error) => return self.failure(&error, Asked::Read).absent().map(|()| None),
            };
            let version = found.meta.e_tag.as_deref().map(unquoted).ok_or_else(|| incomplete(&self.place))?;
            let most = record::HEAD + record::LONGEST_VALUE;
            let mut bytes = BytesMut::new();
            let mut chunks = found.into_stream();
            while let Some(chunk) = chunks.next().await {
                let chunk = chunk.map_err(|error| self.failure(&error, Asked::Read).into_error())?;
                if bytes.len() + chunk.len() > most {
                    return Err(record::foreign(&self.place));
                }
                bytes.extend_from_slice(&chunk);
            }
            let value = record::value(&bytes.freeze()).ok_or_else(|| record::foreign(&self.place))?;
            Ok(Some(Row { version, value }))
        })
        .await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        let folder = key::folder(prefix).map_or_else(|| self.prefix.clone(), |name| self.path(&name));
        let mut listing = self.store.list(Some(&folder));
        let mut found = Vec::new();
        // The deadline is that of a page: most items are there already, and a thousand come at once.
        let next = async |listing: &mut futures_util::stream::BoxStream<'static, _>| {
            let item = listing.try_next().await;
            item.map_err(|error: object_store::Error| self.failure(&error, Asked::Read).into_error())
        };
        while let Some(meta) = self.within(Late::Nothing, next(&mut listing)).await? {
            let Some(parts) = meta.location.prefix_match(&self.prefix) else { continue };
            let name: Vec<_> = parts.map(|part| part.as_ref().to_owned()).collect();
            let Some(key) = key::decode(&name.join("/")).filter(|key| key.starts_with(prefix)) else { continue };
            let version = meta.e_tag.as_deref().map(unquoted).ok_or_else(|| incomplete(&self.place))?;
            found.push((key, version));
        }
        Ok(found)
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        let path = self.path(&key::encode(key)?);
        record::check(&value, self.value_bytes())?;
        let Some(mode) = self.mode(&path, expect).await? else { return Ok(Put::Refused) };
        let payload = PutPayload::from(record::encode(Uuid::new_v4(), &value));
        let asked = if matches!(mode, PutMode::Create) { Asked::Create } else { Asked::Replace };
        let (store, place, timeout) = (Arc::clone(&self.store), self.place.clone(), self.timeout);
        // In a task of its own: a call that is dropped does not break off an upload in the middle, which servers are not
        // equally good at. It ends by its deadline all the same.
        let put = tokio::spawn(async move {
            within(timeout, Late::Perhaps, &place, async {
                match store.put_opts(&path, payload, PutOptions::from(mode)).await {
                    Ok(done) => {
                        let version = done.e_tag.as_deref().map(unquoted);
                        version.map(Put::Done).ok_or_else(|| incomplete(&place).into_ambiguous())
                    }
                    Err(error) => Failure::of(&error, asked, &place).refused().map(|()| Put::Refused),
                }
            })
            .await
        });
        put.await.unwrap_or_else(|error| {
            let message = format!("leases: {}: the runtime ended the call", self.place);
            Err(Error::new(ErrorKind::Unavailable, message).with_source(error).into_ambiguous())
        })
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let path = self.path(&key::encode(key)?);
        self.within(Late::Perhaps, async {
            match self.store.delete(&path).await {
                Ok(()) => Ok(()),
                Err(error) => self.failure(&error, Asked::Delete).absent(),
            }
        })
        .await
    }
}

/// An answer that lacks what every answer has.
fn incomplete(place: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("leases: {place}: it names no version of an object"))
}

/// The version that an entity tag is. Some listings show tags without the quotes.
fn unquoted(tag: &str) -> Version {
    Version::new(tag.trim_matches('"'))
}

fn quoted(version: &Version) -> String {
    format!("\"{}\"", version.as_str())
}
