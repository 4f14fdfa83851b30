//! The store: rows with versions that never come back, and lists that may be stale.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use strait_kit::{Expect, Put, Row, Version};

use crate::history::Time;

/// How far back a stale list may show the rows.
pub(crate) const STALE: Time = 3_000_000;

#[derive(Debug, Default)]
pub(crate) struct Store {
    rows: BTreeMap<String, (u64, Bytes)>,
    versions: u64,
    /// What was there before each change, for stale lists.
    before: VecDeque<(Time, String, Option<u64>)>,
}

fn version(number: u64) -> Version {
    Version::new(format!("v{number}"))
}

impl Store {
    pub(crate) fn get(&self, key: &str) -> Option<Row> {
        self.rows.get(key).map(|(number, value)| Row { version: version(*number), value: value.clone() })
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        self.rows.keys().cloned().collect()
    }

    /// The list as it was `lag` ago.
    pub(crate) fn versions(&self, prefix: &str, now: Time, lag: Time) -> Vec<(String, Version)> {
        let mut list: BTreeMap<&str, u64> = BTreeMap::new();
        for (key, (number, _)) in self.rows.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix)) {
            list.insert(key, *number);
        }
        for (_, key, before) in self.before.iter().rev().take_while(|(time, ..)| *time + lag > now) {
            if key.starts_with(prefix) {
                match before {
                    Some(number) => list.insert(key, *number),
                    None => list.remove(key.as_str()),
                };
            }
        }
        list.into_iter().map(|(key, number)| (key.to_owned(), version(number))).collect()
    }

    pub(crate) fn put(&mut self, key: &str, expect: &Expect, value: Bytes, now: Time) -> Put {
        let row = self.rows.get(key).map(|(number, _)| version(*number));
        let fits = match (expect, &row) {
            (Expect::Absent, None) => true,
            (Expect::Is(expected), Some(row)) => expected == row,
            _ => false,
        };
        // What a planted fault asks for: to write whatever is there.
        let any = matches!(expect, Expect::Is(expected) if expected.as_str() == "*");
        if fits || any { Put::Done(self.write(key, value, now)) } else { Put::Refused }
    }

    pub(crate) fn write(&mut self, key: &str, value: Bytes, now: Time) -> Version {
        self.remember(key, now);
        self.versions += 1;
        self.rows.insert(key.to_owned(), (self.versions, value));
        version(self.versions)
    }

    pub(crate) fn delete(&mut self, key: &str, now: Time) -> bool {
        self.remember(key, now);
        self.rows.remove(key).is_some()
    }

    fn remember(&mut self, key: &str, now: Time) {
        self.before.push_back((now, key.to_owned(), self.rows.get(key).map(|(number, _)| *number)));
        while self.before.front().is_some_and(|(time, ..)| time + 2 * STALE < now) {
            self.before.pop_front();
        }
    }
}
