//! The suite over `file:`, and what is its own: locks, and what dead processes leave.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    fs::{self, File},
    time::{Duration, Instant, SystemTime},
};

use strait_core::ErrorKind;
use strait_kit::{Expect, Put};
use strait_leases::{Options, open, suite::Handles};
use tempfile::TempDir;

/// Handles that know nothing of each other but the folder, and the folder.
async fn store(timeout: Duration) -> (TempDir, Handles) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}", folder.path().display());
    let mut handles = Vec::new();
    for _ in 0..3 {
        handles.push(open(&url, &Options { timeout, ..Options::default() }).await.unwrap());
    }
    (folder, handles)
}

/// The suite's own folder stays for the whole run: its cases keep to rows of their own.
async fn handles() -> Handles {
    static FOLDER: std::sync::OnceLock<TempDir> = std::sync::OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        tempfile::Builder::new().prefix("strait-leases-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
    });
    let url = format!("file:{}", folder.path().display());
    let mut handles = Vec::new();
    for _ in 0..3 {
        // Long, since twelve cases share the disk.
        let options = Options { timeout: Duration::from_secs(60), ..Options::default() };
        handles.push(open(&url, &options).await.unwrap());
    }
    handles
}

strait_leases::row_store_suite!(handles());

#[tokio::test]
async fn rows_outlive_their_process() {
    let (folder, handles) = store(Duration::from_secs(30)).await;
    let Put::Done(version) = handles[0].put("part/1", Expect::Absent, "x".into()).await.unwrap() else { panic!() };
    drop(handles);
    let again = open(&format!("file://{}", folder.path().display()), &Options::default()).await.unwrap();
    assert_eq!(again.get("part/1").await.unwrap().unwrap().version, version);
}

#[tokio::test]
async fn a_lock_that_is_held_ends_writes_at_their_deadline_and_nothing_else() {
    let timeout = Duration::from_millis(200);
    let (folder, handles) = store(timeout).await;
    let rows = &handles[0];
    let Put::Done(version) = rows.put("row", Expect::Absent, "x".into()).await.unwrap() else { panic!() };
    let locks: Vec<_> = fs::read_dir(folder.path().join("locks")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(locks.len(), 1, "one row was written");
    let held = File::options().write(true).open(&locks[0]).unwrap();
    held.lock().unwrap();

    let start = Instant::now();
    let error = rows.put("row", Expect::Is(version.clone()), "y".into()).await.unwrap_err();
    assert!(start.elapsed() >= timeout);
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error}");
    let error = rows.delete("row").await.unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error}");
    assert_eq!(rows.get("row").await.unwrap().unwrap().version, version, "reads need no lock");
    assert_eq!(rows.versions("").await.unwrap().len(), 1);

    drop(held);
    assert!(matches!(rows.put("row", Expect::Is(version), "y".into()).await.unwrap(), Put::Done(_)));
}

#[tokio::test]
async fn what_dead_processes_left_is_cleared_and_what_is_being_written_is_not() {
    let (folder, handles) = store(Duration::from_secs(30)).await;
    drop(handles);
    let temp = folder.path().join("temp");
    for (name, age) in [("old", 2 * 60 * 60), ("young", 60)] {
        let file = File::create(temp.join(name)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age)).unwrap();
    }
    open(&format!("file:{}", folder.path().display()), &Options::default()).await.unwrap();
    let left: Vec<_> = fs::read_dir(&temp).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["young"]);
}

#[tokio::test]
async fn puts_and_refusals_leave_nothing_behind() {
    let (folder, handles) = store(Duration::from_secs(30)).await;
    let rows = &handles[0];
    for number in 0..20 {
        let key = format!("member/{number}");
        rows.put(&key, Expect::Absent, "x".into()).await.unwrap();
        assert_eq!(rows.put(&key, Expect::Absent, "y".into()).await.unwrap(), Put::Refused);
        rows.delete(&key).await.unwrap();
    }
    assert_eq!(fs::read_dir(folder.path().join("temp")).unwrap().count(), 0);
    assert_eq!(fs::read_dir(folder.path().join("rows/member")).unwrap().count(), 0);
    assert!(fs::read_dir(folder.path().join("locks")).unwrap().count() <= 64);
}

#[tokio::test]
async fn what_is_not_a_row_is_an_error_and_not_a_row() {
    let (folder, handles) = store(Duration::from_secs(30)).await;
    let rows = &handles[0];
    let Put::Done(version) = rows.put("row", Expect::Absent, "x".into()).await.unwrap() else { panic!() };
    for content in [&b""[..], b"hello", &[b'x'; 100], &vec![b'x'; 2 << 20]] {
        fs::write(folder.path().join("rows/row.row/current"), content).unwrap();
        assert_eq!(rows.get("row").await.unwrap_err().kind(), ErrorKind::Other);
        let error = rows.put("row", Expect::Is(version.clone()), "y".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Other, false));
    }
    fs::write(folder.path().join("rows/stranger"), "hello").unwrap();
    rows.delete("row").await.unwrap();
    assert_eq!(rows.versions("").await.unwrap(), []);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_is_said_so() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "hello").unwrap();
    let error = open(&format!("file:{}/file", folder.path().display()), &Options::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("leases: file: it cannot be opened"), "{error}");
}
