use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use strait_core::{Error, ErrorKind, Result};
use strait_kit::{Expect, Put};
use uuid::Uuid;

use super::{failed, is_absent, lock::Lock, version};
use crate::record;

/// A record that is written and flushed, but not yet in its place. Removed when dropped before that.
#[derive(Debug)]
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    /// Writes a record down.
    pub(crate) fn write(path: PathBuf, record: &[u8]) -> io::Result<Self> {
        let mut file = File::options().create_new(true).write(true).open(&path)?;
        let this = Self(path);
        file.write_all(record)?;
        file.sync_data()?;
        Ok(this)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0); // it is not there any more once it is in its place
    }
}

/// Puts a record in its place, if what lies there is as expected.
pub(crate) fn swap(lock: Lock, temporary: Temporary, row: &Path, expect: &Expect, nonce: Uuid) -> Result<Put> {
    let present = read_version(row)?.map(version);
    let as_expected = match expect {
        Expect::Absent => present.is_none(),
        Expect::Is(expected) => present.as_ref() == Some(expected),
    };
    if !as_expected {
        return Ok(Put::Refused);
    }
    let folder = row.parent().unwrap_or(row);
    if present.is_none() {
        fs::create_dir_all(folder).map_err(|error| failed("be written", error))?;
    }
    fs::rename(&temporary.0, row).map_err(|error| failed("be written", error))?;
    drop(lock); // whoever swaps next need not wait for the disk
    if present.is_none() {
        // The folder's own entry, and what may have been made above it.
        for above in folder.ancestors().skip(1).take(2) {
            flush(above)?;
        }
    }
    flush(folder)?;
    drop(temporary);
    Ok(Put::Done(version(nonce)))
}

/// Removes a row.
pub(crate) fn remove(lock: Lock, row: &Path) -> Result<()> {
    match fs::remove_file(row) {
        Ok(()) => {}
        Err(error) if is_absent(&error) => return Ok(()),
        Err(error) => return Err(failed("be deleted", error)),
    }
    let folder = row.parent().unwrap_or(row);
    // Under the lock, so that nobody is about to put a row into it.
    let removed = fs::remove_dir(folder);
    drop(lock);
    removed.map_err(|error| failed("be deleted", error).into_ambiguous())?;
    folder.parent().map_or(Ok(()), flush)
}

/// The version of what lies there, from its first bytes.
pub(crate) fn read_version(row: &Path) -> Result<Option<Uuid>> {
    let mut file = match File::open(row) {
        Ok(file) => file,
        Err(error) if is_absent(&error) => return Ok(None),
        Err(error) => return Err(failed("be read", error)),
    };
    let mut head = [0; record::HEAD];
    match file.read_exact(&mut head) {
        Ok(()) => record::nonce(&head).map(Some).ok_or_else(|| record::foreign("file")),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(record::foreign("file")),
        Err(error) => Err(failed("be read", error)),
    }
}

/// Makes the names in a folder survive a loss of power. What it reports comes after the change was seen.
fn flush(folder: &Path) -> Result<()> {
    if !cfg!(unix) {
        return Ok(()); // elsewhere a folder cannot be opened for this
    }
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .or_else(|error| {
            // Somebody deleted the row in the meantime, and its folder.
            if is_absent(&error) { Ok(()) } else { Err(error) }
        })
        .map_err(|error| {
            Error::new(ErrorKind::Unavailable, "leases: file: a change could not be flushed")
                .with_source(error)
                .into_ambiguous()
        })
}
