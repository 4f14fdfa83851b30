//! Processes that race for rows in a folder, some of them killed on the way.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test may panic, and its processes talk by their output"
)]

use std::{
    env,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    time::Duration,
};

use strait_leases::{
    Options, open,
    suite::counter::{add, read},
};

const WRITERS: usize = 8;
const KILLED: usize = 3;
const ADDED: u64 = 40;

/// Starts this test again in a process of its own, as a writer.
fn writer(url: &str, number: usize, added: u64) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["processes_that_are_killed_leave_no_lock_and_lose_no_update", "--exact", "--nocapture"])
        .env("STRAIT_LEASES_WRITER", number.to_string())
        .env("STRAIT_LEASES_ADDED", added.to_string())
        .env("STRAIT_LEASES_URL", url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// What a writer does: adds, and says after each how far it is.
async fn write(number: usize) {
    let added: u64 = env::var("STRAIT_LEASES_ADDED").unwrap().parse().unwrap();
    let rows = open(&env::var("STRAIT_LEASES_URL").unwrap(), &options()).await.unwrap();
    for count in 0..added {
        add(&rows, "row", WRITERS, number, count).await;
        println!("\nadded {}", count + 1);
    }
}

fn options() -> Options {
    Options { timeout: Duration::from_secs(60), ..Options::default() }
}

#[tokio::test]
async fn processes_that_are_killed_leave_no_lock_and_lose_no_update() {
    if let Ok(number) = env::var("STRAIT_LEASES_WRITER") {
        return write(number.parse().unwrap()).await;
    }
    let folder = tempfile::Builder::new().prefix("strait-leases-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("file:{}", folder.path().display());
    // Those that are to be killed have no end of their own.
    let writers: Vec<_> =
        (0..WRITERS).map(|number| writer(&url, number, if number < KILLED { u64::MAX } else { ADDED })).collect();
    let threads: Vec<_> = writers
        .into_iter()
        .enumerate()
        .map(|(number, mut writer)| {
            std::thread::spawn(move || {
                let mut seen: u64 = 0;
                for line in BufReader::new(writer.stdout.take().unwrap()).lines() {
                    let Ok(line) = line else { break };
                    if let Some(count) = line.strip_prefix("added ") {
                        seen = count.parse().unwrap();
                    }
                    if number < KILLED && seen == 5 + number as u64 {
                        writer.kill().unwrap(); // SIGKILL, wherever it is by now
                    }
                }
                let status = writer.wait().unwrap();
                assert_eq!(status.success(), number >= KILLED, "{status}");
                seen
            })
        })
        .collect();
    let seen: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let rows = open(&url, &options()).await.unwrap();
    let counts = read(rows.get("row").await.unwrap().as_ref(), WRITERS);
    for (number, (count, seen)) in counts.iter().zip(&seen).enumerate() {
        if number < KILLED {
            // The last one may have been stored without anybody being told.
            assert!(*seen >= 5 && (*count == *seen || *count == seen + 1), "{number}: {count} of {seen}");
        } else {
            assert_eq!((*count, *seen), (ADDED, ADDED), "{number}");
        }
    }
}
