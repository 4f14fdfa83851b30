//! `docs/configuration.md` lists the fields that the code reads, with their types, and no other.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{collections::BTreeMap, fs, path::Path};

/// The rows of each table of the page, by its heading: `key | type`.
fn documented() -> BTreeMap<String, Vec<String>> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md")).unwrap();
    let mut tables: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut table = None;
    for line in page.lines() {
        if line.starts_with('#') {
            table = line.split_once("`[").and_then(|(_, rest)| rest.split_once("]`")).map(|(path, _)| path.to_owned());
            table = table.or_else(|| (line == "## At the top").then(String::new));
        } else if let (Some(table), Some(row)) = (&table, line.strip_prefix("| `")) {
            let mut cells = row.split(" | ");
            let (key, kind) = (cells.next().unwrap().trim_end_matches('`'), cells.next().unwrap());
            assert_eq!(cells.count(), 2, "{line}: a key, a type, a default and a meaning");
            tables.entry(table.clone()).or_default().push(format!("{key} | {kind}"));
        }
    }
    for rows in tables.values_mut() {
        rows.sort();
    }
    tables
}

/// Tables are found by their names, and have rows of their own.
fn is_listed(kind: &str, name: &str) -> bool {
    kind != "table" || name == "on"
}

#[test]
fn every_field_is_documented() {
    let documented = documented();
    let read = strait::enabled().tables();
    assert!(read.len() >= 6, "{read:?}");
    for table in read {
        let fields = table.fields.iter().filter(|field| is_listed(&field.kind, &field.name));
        let mut fields: Vec<_> = fields.map(|field| format!("{} | {}", field.name, field.kind)).collect();
        fields.sort();
        assert_eq!(documented.get(&table.path), Some(&fields), "[{}]", table.path);
    }
}
