//! The guard leaves nothing of what it guards, however its starter ends.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    env, fs,
    io::{BufRead as _, BufReader, Read as _},
    path::Path,
    process::{Child, Command, Stdio},
};

use tempfile::TempDir;

/// Says two process ids on the output that all share, and never ends; its child is deaf to SIGTERM, and in a group and
/// session of its own, as the children of emulators may be.
const EMULATOR: &str = "setsid bash -c 'trap \"\" TERM; echo $BASHPID >&3; sleep 1000 & wait; sleep 1000' & \
                        echo $BASHPID >&3; wait";

fn guard(folder: &Path, command: &str) -> Command {
    let mut guard = Command::new("bash");
    guard.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("guard.sh")).arg(folder);
    guard.args(["bash", "-c", command]).stdin(Stdio::piped()).stdout(Stdio::null());
    guard
}

/// A folder, and the pipe by which the emulator in it says its ids.
fn place() -> TempDir {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("run")).unwrap();
    assert!(Command::new("mkfifo").arg(place.path().join("ids")).status().unwrap().success());
    place
}

fn emulator(place: &Path) -> String {
    format!("exec 3> {}; {EMULATOR}", place.join("ids").display())
}

/// Waits until the emulator and its child have said who they are.
fn ids(place: &Path) -> (Vec<String>, impl std::io::Read) {
    let mut pipe = BufReader::new(fs::File::open(place.join("ids")).unwrap());
    let ids = (0..2).map(|_| {
        let mut line = String::new();
        pipe.read_line(&mut line).unwrap();
        line.trim().to_owned()
    });
    (ids.collect(), pipe)
}

fn alive(id: &str) -> bool {
    // One that is dead but not yet waited for has no command line.
    fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
}

fn assert_gone(place: &Path, ids: &[String], mut pipe: impl std::io::Read) {
    pipe.read_to_end(&mut Vec::new()).unwrap(); // until all that hold its other end are gone
    for id in ids {
        assert!(!alive(id), "{id} is left");
    }
    assert!(!place.join("run").exists(), "the folder is left");
}

#[test]
fn when_the_pipe_is_closed_nothing_is_left() {
    let place = place();
    let mut guard = guard(&place.path().join("run"), &emulator(place.path())).spawn().unwrap();
    let (ids, pipe) = ids(place.path());
    assert!(ids.iter().all(|id| alive(id)));
    drop(guard.stdin.take());
    assert!(guard.wait().unwrap().success());
    assert_gone(place.path(), &ids, pipe);
}

#[test]
fn when_the_starter_is_killed_nothing_is_left() {
    if let Ok(place) = env::var("STRAIT_GUARD_PLACE") {
        let place = Path::new(&place);
        let mut guard: Child = guard(&place.join("run"), &emulator(place)).spawn().unwrap();
        let _pipe = guard.stdin.take(); // which waiting would close
        guard.wait().unwrap(); // killed meanwhile
        return;
    }
    let place = place();
    let mut starter = Command::new(env::current_exe().unwrap())
        .args(["when_the_starter_is_killed_nothing_is_left", "--exact"])
        .env("STRAIT_GUARD_PLACE", place.path())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (ids, pipe) = ids(place.path());
    assert!(ids.iter().all(|id| alive(id)));
    starter.kill().unwrap();
    starter.wait().unwrap();
    // The guard has the error output of its starter: its end is the guard's.
    starter.stderr.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
    assert_gone(place.path(), &ids, pipe);
}

#[test]
fn what_ends_by_itself_ends_the_guard_with_its_status_and_its_last_words() {
    let place = place();
    let guard = guard(&place.path().join("run"), "echo last words; exit 7").stderr(Stdio::piped()).spawn().unwrap();
    // Its pipe stays open meanwhile.
    let mut guard = guard;
    let pipe = guard.stdin.take();
    let output = guard.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert!(String::from_utf8_lossy(&output.stderr).contains("last words"));
    assert!(!place.path().join("run").exists());
    drop(pipe);
}
