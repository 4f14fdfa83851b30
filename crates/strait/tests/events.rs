//! `docs/events.md` has a row for each event that is written, and none for another.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// The string literals of a macro call that begins at `text`, and the rest of it.
fn literals(text: &str) -> Vec<String> {
    let (mut depth, mut literals, mut chars) = (1, Vec::new(), text.chars().peekable());
    while let Some(char) = chars.next() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            '"' => {
                let mut literal = String::new();
                while let Some(char) = chars.next().filter(|char| *char != '"') {
                    match char {
                        '\\' if chars.next_if_eq(&'\n').is_some() => while chars.next_if_eq(&' ').is_some() {},
                        '\\' => literal.extend(chars.next()),
                        char => literal.push(char),
                    }
                }
                literals.push(literal);
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    literals
}

/// Each event of the crates, as `text | level`.
fn written() -> BTreeSet<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut found = Vec::new();
    for of in ["crates", "adapters"] {
        for entry in fs::read_dir(root.join(of)).unwrap() {
            let source = entry.unwrap().path().join("src");
            if source.is_dir() {
                sources(&source, &mut found);
            }
        }
    }
    let mut events = BTreeSet::new();
    for path in found {
        let text = fs::read_to_string(path).unwrap();
        for level in ["info", "warn", "error"] {
            for (start, call) in text.match_indices(&format!("tracing::{level}!(")) {
                let text = literals(&text[start + call.len()..]).pop().unwrap();
                events.insert(format!("{text} | {level}"));
            }
        }
    }
    events
}

#[test]
fn every_event_is_documented() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/events.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.rsplit_once(" |")?.0.rsplit_once(" |"));
    let documented: BTreeSet<_> =
        rows.map(|(event, _)| event.trim().to_owned()).filter(|row| row != "event | level").collect();
    let written = written();
    assert!(written.len() > 40, "{written:?}");
    let apart: Vec<_> = written.symmetric_difference(&documented).collect();
    assert!(apart.is_empty(), "{apart:#?}");
}
