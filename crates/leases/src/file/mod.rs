//! Rows in a folder, for several processes on one machine.
//!
//! ```text
//! rows/member/0f3a.row/current     a row: its version, then its value; replaced by rename, never written in place
//! locks/2a                         held while a row is compared and swapped
//! temp/..                          what is being written
//! ```
//!
//! A row has a folder of its own, so that the entries that a listing reads stay as they are while rows change: what a
//! file system shows of an entry that is renamed over during a listing is not the same everywhere.
//!
//! A lock is the operating system's, on an open file: it ends with its process, however that ends. It is held for a
//! read and a rename, not for the writing and flushing. A process that is *stopped* in that moment holds up the rows
//! under this lock (one in 64) until it goes on; their writers end at their deadline, having changed nothing.

mod listing;
mod lock;
mod swap;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::{Error, ErrorKind, Result};
use strait_kit::{Expect, Put, Row, RowStore, Version};
use tokio::time::Instant;
use uuid::Uuid;

use self::{
    lock::lock,
    swap::{Temporary, remove, swap},
};
use crate::{
    deadline::{Late, out_of_time, within},
    key, record,
};

/// The file that a row's folder has.
const CURRENT: &str = "current";

/// What the name of a row's folder ends in. Encoded keys have no dot.
const ROW: &str = ".row";

/// What was being written for longer than this was left by a process that is gone.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

/// Rows in a folder.
#[derive(Clone)]
pub(crate) struct FileRows {
    folder: PathBuf,
    timeout: Duration,
}

impl FileRows {
    /// Makes the folder, if it is not there, and clears what dead processes left in it.
    pub(crate) async fn open(folder: PathBuf, timeout: Duration) -> Result<Self> {
        let rows = Self { folder, timeout };
        let this = rows.clone();
        rows.blocking(Late::Nothing, move || this.prepare().map_err(|error| failed("be opened", error))).await?;
        Ok(rows)
    }

    fn prepare(&self) -> io::Result<()> {
        for part in ["rows", "locks", "temp"] {
            fs::create_dir_all(self.folder.join(part))?;
        }
        for entry in fs::read_dir(self.folder.join("temp"))? {
            let entry = entry?;
            // One that just went away is somebody's who is done with it, or who clears up as we do.
            let Ok(written) = entry.metadata().and_then(|metadata| metadata.modified()) else { continue };
            if SystemTime::now().duration_since(written).is_ok_and(|age| age > ABANDONED) {
                let _ = fs::remove_file(entry.path());
            }
        }
        Ok(())
    }

    /// Runs what blocks where it may.
    async fn blocking<T: Send + 'static>(
        &self,
        late: Late,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        within(self.timeout, late, "file", async {
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
                let error =
                    Error::new(ErrorKind::Unavailable, "leases: file: the runtime ended the call").with_source(error);
                Err(if matches!(late, Late::Perhaps) { error.into_ambiguous() } else { error })
            })
        })
        .await
    }

    /// Where the row of an encoded key is.
    fn row(&self, name: &str) -> PathBuf {
        self.folder.join("rows").join(format!("{name}{ROW}")).join(CURRENT)
    }

    /// The lock of an encoded key. The hash is written down here, since all processes must have the same one.
    fn lock(&self, name: &str) -> PathBuf {
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        self.folder.join("locks").join(format!("{:02x}", (hash >> 32) % 64))
    }
}

impl fmt::Debug for FileRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileRows").field("folder", &self.folder).field("timeout", &self.timeout).finish()
    }
}

#[async_trait]
impl RowStore for FileRows {
    fn value_bytes(&self) -> usize {
        record::LONGEST_VALUE
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        let path = self.row(&key::encode(key)?);
        self.blocking(Late::Nothing, move || {
            // The file that is found is whole, and stays what it is when it is replaced.
            let Some(record) = read(&path, record::HEAD + record::LONGEST_VALUE)? else { return Ok(None) };
            let (Some(nonce), Some(value)) = (record::nonce(&record), record::value(&record)) else {
                return Err(record::foreign("file"));
            };
            Ok(Some(Row { version: version(nonce), value }))
        })
        .await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        let (root, prefix) = (self.folder.join("rows"), prefix.to_owned());
        self.blocking(Late::Nothing, move || listing::list(&root, &prefix)).await
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        let name = key::encode(key)?;
        record::check(&value, self.value_bytes())?;
        let deadline = Instant::now() + self.timeout;
        let nonce = Uuid::new_v4();
        let temp = self.folder.join("temp").join(nonce.to_string());
        let temporary = self
            .blocking(Late::Nothing, move || {
                Temporary::write(temp, &record::encode(nonce, &value)).map_err(|error| failed("be written", error))
            })
            .await?;
        let lock = lock(self.lock(&name), deadline)
            .await
            .map_err(|error| failed("be locked", error))?
            .ok_or_else(|| out_of_time(self.timeout, Late::Nothing, "file"))?;
        let row = self.row(&name);
        // From here on it may be done, also when nobody waits for it any longer.
        self.blocking(Late::Perhaps, move || swap(lock, temporary, &row, &expect, nonce)).await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let name = key::encode(key)?;
        let deadline = Instant::now() + self.timeout;
        let lock = lock(self.lock(&name), deadline)
            .await
            .map_err(|error| failed("be locked", error))?
            .ok_or_else(|| out_of_time(self.timeout, Late::Nothing, "file"))?;
        let row = self.row(&name);
        self.blocking(Late::Perhaps, move || remove(lock, &row)).await
    }
}

/// The beginning of a file, at most `most` bytes; `None` if there is none. One that is longer is none of ours.
fn read(path: &Path, most: usize) -> Result<Option<Bytes>> {
    use std::io::Read as _;

    let file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed("be read", error)),
    };
    let mut bytes = Vec::new();
    file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(|error| failed("be read", error))?;
    if bytes.len() > most { Err(record::foreign("file")) } else { Ok(Some(bytes.into())) }
}

/// Whether there is nothing there.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// An error of the file system. It says what, not where: a row's name is not for logs.
fn failed(what: &str, error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        io::ErrorKind::NotADirectory => ErrorKind::Config,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, format!("leases: file: it cannot {what}: {}", error.kind())).with_source(error)
}

fn version(nonce: Uuid) -> Version {
    Version::new(nonce.to_string())
}
