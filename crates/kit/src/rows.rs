use std::{any::Any, fmt, fmt::Debug, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::Result;

/// Small rows changed by compare-and-swap: what a group keeps its members, its plan and its checkpoints in.
///
/// The least that every store has: no clock, no time to live, no transaction, no conditional delete. Every call has a
/// deadline of its own, and none retries by itself.
///
/// - **R1** [`get`](Self::get) is linearizable: it sees every `put` and `delete` that was answered before it was sent.
/// - **R2** A version never comes back: if two reads of a row show the same version, it was not changed in between. A
///   store whose versions are made from the content keeps this because every value that is put carries a nonce.
/// - **R3** `Done` means stored durably. `Refused` means that the row was not as expected *when it was looked at*: a
///   store whose client retries may refuse because its own first attempt was stored. Only a `get` tells.
/// - **R4** An error that [`is_ambiguous`](strait_core::Error::is_ambiguous) says that the change may be stored, now or
///   later; any other says that it is not and will not be.
/// - **R5** [`versions`](Self::versions) lists every row that was there all the time, however many pages it takes. It is
///   no snapshot, and may be stale.
#[async_trait]
pub trait RowStore: Any + Debug + Send + Sync {
    /// The most bytes that a value may have. A put of more is refused as [`ErrorKind::Invalid`](strait_core::ErrorKind::Invalid),
    /// which names the limit, and nothing of it is sent.
    fn value_bytes(&self) -> usize;

    /// Reads a row. Cancel-safe.
    ///
    /// # Errors
    ///
    /// What the store reported.
    async fn get(&self, key: &str) -> Result<Option<Row>>;

    /// Lists the rows whose key begins with `prefix`, with their versions and without their values. Cancel-safe.
    ///
    /// # Errors
    ///
    /// What the store reported.
    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>>;

    /// Writes a row if it is as `expect` says. Not cancel-safe: dropped, it may be stored, now or later.
    ///
    /// # Errors
    ///
    /// What the store reported; see **R4**.
    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put>;

    /// Deletes a row, whatever it holds; it need not be there. For rows that can never matter again. Not cancel-safe, as
    /// [`put`](Self::put).
    ///
    /// # Errors
    ///
    /// What the store reported; see **R4**.
    async fn delete(&self, key: &str) -> Result<()>;
}

/// What a row holds, and which version of it that is.
#[derive(Clone, PartialEq, Eq)]
pub struct Row {
    /// The version.
    pub version: Version,
    /// The value.
    pub value: Bytes,
}

impl Debug for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("version", &self.version).field("bytes", &self.value.len()).finish()
    }
}

/// A store's name for one state of a row. Equal only if the row is the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(Arc<str>);

impl Version {
    /// A version that the store calls `name`.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// What the store calls it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a row must be for a put to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expect {
    /// There is none.
    Absent,
    /// It is this version.
    Is(Version),
}

/// How a put ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is stored, as this version.
    Done(Version),
    /// The row was not as expected.
    Refused,
}
