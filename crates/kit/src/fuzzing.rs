//! What fuzz targets run: bytes from outside, and what holds of whatever is read from them.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;

pub use crate::coordination::fuzzing::rows;
use crate::{
    Change, Expect, Identity, Partition, Put, Row, Version,
    coordination::{Call, CoordinatorSettings, Event, Machine, Now, Output, Reply},
};

/// The rows of a group, a line each: the key, a space, and the value. Up to an empty line they are there from the
/// beginning; each of the others replaces what is there, one a second. A member joins, takes what it may, hands over what it
/// is asked for, and leaves: whatever the rows hold, it neither panics nor asks for ever.
pub fn group(input: &[u8]) {
    let mut lines = input.split(|byte| *byte == b'\n');
    let mut store = Store::default();
    lines.by_ref().take_while(|line| !line.is_empty()).for_each(|line| store.spoil(line));
    let start = Now { instant: Instant::now(), wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) };
    let mut incarnation = 0;
    let names = move || {
        incarnation += 1;
        Arc::from(format!("me-{incarnation}"))
    };
    let mut machine = Machine::new(CoordinatorSettings::default(), Some(Identity::new("log")), start, Box::new(names))
        .expect("they are the defaults");
    let mut spoils = lines.take(64);
    let mut now = start;
    for second in 0..300 {
        if let Some(line) = spoils.next() {
            store.spoil(line);
        }
        // It leaves when all is spoilt, and it had time to mend what it mends: its own rows, and those of an audit.
        if second == 240 {
            machine.handle(now, Event::Close);
        }
        let end = now.instant + Duration::from_secs(1);
        while let Some(wake) = machine.wake().filter(|wake| *wake < end) {
            let wake = wake.max(now.instant + Duration::from_millis(1));
            now = Now { instant: wake, wall: start.wall + (wake - start.instant) };
            machine.handle(now, Event::Tick);
            store.serve(&mut machine, now);
        }
        now = Now { instant: end.max(now.instant), wall: start.wall + (end - start.instant) };
        machine.handle(now, Event::Tick);
        store.serve(&mut machine, now);
    }
}

/// Most that a member may ask for at once.
const BOUND: usize = 10_000;

/// A store that answers at once, and a log of two partitions, of which one was split.
#[derive(Default)]
struct Store {
    rows: BTreeMap<String, Row>,
    puts: u64,
}

impl Store {
    fn spoil(&mut self, line: &[u8]) {
        let mut parts = line.splitn(2, |byte| *byte == b' ');
        let key = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        match parts.next() {
            Some(value) => drop(self.store(key, Bytes::copy_from_slice(value))),
            None => drop(self.rows.remove(&key)),
        }
    }

    fn store(&mut self, key: String, value: Bytes) -> Version {
        self.puts += 1;
        let version = Version::new(self.puts.to_string());
        self.rows.insert(key, Row { version: version.clone(), value });
        version
    }

    /// Does what the member asks for, until it asks for nothing more.
    fn serve(&mut self, machine: &mut Machine, now: Now) {
        for _ in 0..BOUND {
            let Some(output) = machine.output() else { return };
            match output {
                Output::Call { id, call } => {
                    let reply = self.answer(call);
                    machine.handle(now, Event::Reply { call: id, reply });
                }
                Output::Change(Change::Revoked { partition, epoch }) => {
                    machine.handle(now, Event::Release { ticket: 0, partition, epoch });
                }
                Output::Change(Change::Lost { partition, epoch }) => {
                    machine.handle(now, Event::Returned { partition, epoch });
                }
                Output::Opened(_) | Output::Change(_) | Output::Done { .. } | Output::Report(_) | Output::Left => {}
            }
        }
        panic!("it asks for ever");
    }

    fn answer(&mut self, call: Call) -> Reply {
        match call {
            Call::Get(key) => Reply::Row(Ok(self.rows.get(&key).cloned())),
            Call::Versions(prefix) => {
                let listed = self.rows.iter().filter(|(key, _)| key.starts_with(prefix));
                Reply::Versions(Ok(listed.map(|(key, row)| (key.clone(), row.version.clone())).collect()))
            }
            Call::Put { key, expect, value } => {
                let as_expected = match (self.rows.get(&key), &expect) {
                    (None, Expect::Absent) => true,
                    (Some(row), Expect::Is(version)) => row.version == *version,
                    _ => false,
                };
                let put = if as_expected { Put::Done(self.store(key, value)) } else { Put::Refused };
                Reply::Put(Ok(put))
            }
            Call::Delete(key) => {
                self.rows.remove(&key);
                Reply::Deleted(Ok(()))
            }
            Call::Partitions => {
                let child = Partition::new("p2").with_parents(["p0"]);
                Reply::Partitions(Ok(vec![Partition::new("p0"), Partition::new("p1"), child]))
            }
        }
    }
}

#[cfg(test)]
#[path = "../../../fuzz/seeds.rs"]
mod seeds;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_seeds_hold() {
        seeds::each("rows", rows);
        seeds::each("group", group);
    }
}
