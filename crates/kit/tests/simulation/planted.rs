//! Defects that are planted in the coordinator, and the seeds that catch them.
//!
//! Only in builds with `--cfg strait_faults`: each runs this program again, with the defect switched on.

use std::process::{Command, Stdio};

/// A defect, the first seed to run, and how many.
pub(crate) const DEFECTS: &[(&str, u64, u64)] = &[
    ("additions-for-ever", 0, 300),
    ("another-log-accepted", 0, 100),
    ("belief-from-commits", 0, 300),
    ("belief-from-reply", 0, 600),
    ("ceil-only-shares", 0, 100),
    ("checkpoint-dropped-on-take", 0, 50),
    ("children-before-parents", 0, 100),
    ("commits-of-others", 0, 300),
    ("dead-at-reply", 0, 600),
    ("ended-without-children", 0, 50),
    ("epoch-kept", 0, 50),
    ("everything-moves", 0, 100),
    ("finished-before-children", 0, 50),
    ("impatient-observer", 0, 300),
    ("missing-parent-is-finished", 0, 300),
    ("no-cancel-on-loss", 0, 100),
    ("no-heartbeat", 0, 50),
    ("no-margin", 0, 1500),
    ("no-read-back", 0, 300),
    ("no-read-back-of-heartbeats", 0, 300),
    ("parent-row-deleted-early", 0, 100),
    ("plan-obeyed-unchecked", 0, 50),
    ("quarantine-ignored", 0, 100),
    ("refused-taken-for-stored", 0, 300),
    ("release-before-forgetting", 0, 50),
    ("resume-forgets-what-is-settled", 0, 300),
    ("revived", 0, 300),
    ("start-rewritten", 0, 100),
    ("take-unconditional", 0, 100),
    ("text-positions-compared-as-bytes", 0, 100),
    ("unwanted-take-kept", 0, 1000),
    ("wall-clock-expiry", 0, 300),
];

#[test]
#[cfg_attr(not(strait_faults), ignore = "needs a build with --cfg strait_faults")]
fn every_planted_defect_is_caught() {
    let program = std::env::current_exe().expect("this is one");
    let only = std::env::var("STRAIT_DEFECT").ok();
    let mut missed = Vec::new();
    for (defect, first, count) in DEFECTS {
        if only.as_deref().is_some_and(|only| only != *defect) {
            continue;
        }
        let output = Command::new(&program)
            .args(["members_share_a_log", "--nocapture"])
            .env("STRAIT_FAULT", defect)
            .env("STRAIT_SEED", first.to_string())
            .env("STRAIT_SEEDS", count.to_string())
            .env("RUST_BACKTRACE", "0")
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        let text = String::from_utf8_lossy(&output.stderr);
        let seed = text.lines().find(|line| line.starts_with("seed ") && line.ends_with(" fails:"));
        let reason = text.lines().skip_while(|line| Some(*line) != seed).nth(1).unwrap_or("").trim();
        match seed {
            Some(seed) if !output.status.success() => eprintln!("{defect}: {seed} {reason}"),
            _ => {
                eprintln!("{defect}: NOT CAUGHT in {count} seeds from {first}");
                missed.push(*defect);
            }
        }
    }
    assert!(missed.is_empty(), "not caught: {missed:?}");
}

#[test]
#[cfg_attr(not(strait_faults), ignore = "needs a build with --cfg strait_faults")]
fn a_planted_revival_fails_the_counterexample() {
    let program = std::env::current_exe().expect("this is one");
    let output = Command::new(&program)
        .args(["revives_nobody", "--nocapture"])
        .env("STRAIT_FAULT", "revived")
        .stdin(Stdio::null())
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("A and B both believe"), "{text}");
}
