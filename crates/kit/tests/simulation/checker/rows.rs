//! Judges what the store held.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;

use super::{Checker, Record};
use crate::{
    engine::SPAN,
    log::{name, number, record},
    world::SECOND,
};

impl Checker {
    pub(super) fn stored(&mut self, key: &str, value: Option<&Bytes>) {
        let row = value.map(|value| serde_json::from_slice::<Value>(value).expect("members write what can be read"));
        let by = row.as_ref().and_then(|row| row["nonce"]["by"].as_str()?.rsplit('-').next()?.parse().ok());
        if by.is_some_and(|by| self.strays.contains(&by)) {
            self.wrong(format!("{key} is written by a process that reads another log"));
        }
        if key == "plan" {
            self.count("plans written");
            return self.plan(row);
        }
        let Some(partition) = key.strip_prefix("part/").map(number) else { return };
        let Some(row) = row else {
            let part = self.part(partition);
            let early = !part.unlisted;
            part.row = None;
            part.swept = true;
            self.count("rows of finished partitions deleted");
            if early {
                self.wrong(format!("the row of {} is deleted while the provider lists it", name(partition)));
            }
            return;
        };
        self.part_row(partition, row);
    }

    fn plan(&mut self, row: Option<Value>) {
        let Some(row) = row else { return self.wrong("the plan is deleted by a member".into()) };
        let broken = std::mem::take(&mut self.plan_broken);
        if let Some(before) = &self.plan
            && before["start"] != row["start"]
            && !broken
        {
            let text = format!("the plan's start changes from {} to {}", before["start"], row["start"]);
            self.wrong(text);
        }
        let members = row["members"].as_array().map_or(0, Vec::len);
        let mut shares = vec![0u64; members];
        for owner in row["parts"].as_object().into_iter().flat_map(serde_json::Map::values) {
            match owner.as_u64().and_then(|owner| shares.get_mut(usize::try_from(owner).ok()?)) {
                Some(share) => *share += 1,
                None if members > 0 => return self.wrong(format!("the plan leaves a partition to {owner}")),
                None => {}
            }
        }
        if let (Some(most), Some(least)) = (shares.iter().max(), shares.iter().min())
            && most - least > 1
        {
            self.wrong(format!("balance: the plan gives {shares:?}"));
        }
        if let Some(before) = self.plan.take().filter(|_| !broken) {
            self.moves(&before, &row);
        }
        self.plan = Some(row);
    }

    /// No more partitions move than shares as equal as they can be need. Not judged while a process goes on as its own heir:
    /// the heir keeps its share if it plans itself, and others do not know whose heir it is.
    fn moves(&mut self, before: &Value, row: &Value) {
        let process = |member: &str| member.rsplit('-').next().unwrap_or(member).to_owned();
        let owner = |plan: &Value, partition: &str| {
            let index = usize::try_from(plan["parts"].get(partition)?.as_u64()?).ok()?;
            plan["members"].get(index)?.as_str().map(process)
        };
        let members: Vec<&str> = row["members"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        let heirs = before["members"].as_array().into_iter().flatten().filter_map(Value::as_str).any(|before| {
            !members.contains(&before) && members.iter().any(|member| process(member) == process(before))
        });
        if heirs {
            return;
        }
        let Some(parts) = row["parts"].as_object().filter(|_| !members.is_empty()) else { return };
        let mut owned: BTreeMap<String, usize> = members.iter().map(|member| (process(member), 0)).collect();
        let mut stayed = 0;
        for partition in parts.keys() {
            let was = owner(before, partition);
            if let Some(owned) = was.as_ref().and_then(|was| owned.get_mut(was)) {
                *owned += 1;
                stayed += usize::from(owner(row, partition) == was);
            }
        }
        let (floor, rest) = (parts.len() / members.len(), parts.len() % members.len());
        let mut owned: Vec<usize> = owned.into_values().collect();
        owned.sort_unstable_by(|a, b| b.cmp(a));
        let shares = owned.iter().enumerate().map(|(place, owned)| (*owned).min(floor + usize::from(place < rest)));
        let could: usize = shares.sum();
        if stayed + 2 < could {
            self.wrong(format!("moves: the plan lets {stayed} partitions stay of {could} that could"));
        }
    }

    fn part_row(&mut self, partition: usize, row: Value) {
        let now = self.now;
        if self.part(partition).swept && !self.tampered {
            self.wrong(format!("{} is made again after it was finished and its row deleted", name(partition)));
        }
        let part = self.part(partition);
        if part.swept {
            // Somebody deleted the row of one that it came from: it is read again, from its beginning.
            part.tampered = part.tampered.or(Some(0));
        }
        let broken = std::mem::take(&mut part.broken);
        let before = part.row.replace(row.clone());
        let moved = before.as_ref().is_none_or(|before| before["checkpoint"] != row["checkpoint"]);
        if let Some(start) = row["from"]["at"].as_u64() {
            let start = (start - 1_700_000_000_000) * 1000;
            let old: Vec<u32> = part
                .records
                .values_mut()
                .filter(|record| record.time <= start && !record.skipped)
                .map(|record| {
                    record.skipped = true;
                    record.key
                })
                .collect();
            for key in old {
                self.advance(key);
            }
        }
        let part = self.part(partition);
        let (checkpoint, finished) = (record(&row["checkpoint"]), row["finished"] == Value::Bool(true));
        let ahead = |position: &u64, record: &Record| {
            !record.settled
                && !record.skipped
                && (finished || checkpoint.is_some_and(|checkpoint| *position <= checkpoint))
        };
        let ahead =
            part.records.iter().find(|(position, record)| ahead(position, record)).map(|(position, _)| *position);
        let children = part.children.clone();
        if let Some(position) = ahead {
            self.wrong(format!("ahead: {} has {checkpoint:?} stored, and {position} is not settled", name(partition)));
        }
        if let Some(at) = row["resume"]["at"].as_u64() {
            let at = (at.saturating_sub(1_700_000_000_000)) * 1000;
            let before = |record: &Record| !record.settled && !record.skipped && record.time < at;
            let ahead = self.part(partition).records.iter().find(|(_, record)| before(record)).map(|(at, _)| *at);
            if let Some(position) = ahead {
                self.wrong(format!("ahead: {} resumes behind {position}, which is not settled", name(partition)));
            }
        }
        if finished {
            let rowless =
                |child: &usize| self.partitions.get(child).is_none_or(|child| child.row.is_none() && !child.broken);
            let missing = children.iter().flatten().copied().find(rowless);
            if children.is_none() {
                self.wrong(format!("{} is finished while it is open", name(partition)));
            }
            if let Some(child) = missing.filter(|_| !broken) {
                self.wrong(format!("{} is finished before its child {} has a row", name(partition), name(child)));
            }
        }
        if let (Some(before), false) = (before, broken) {
            self.succeeds(partition, &before, &row);
        }
        self.released(partition, &row);
        // A commit a second; where the store is out of reach, an owner goes on as long as it believes to be one, and what
        // it wrote may land that much later.
        let window = if self.calm { 3 * SECOND } else { 25 * SECOND };
        let part = self.part(partition);
        if row["owner"].is_string() {
            let since = part.stored.saturating_sub(window);
            part.allowed = SPAN + part.settlements.iter().rev().take_while(|time| **time >= since).count();
        }
        if moved {
            part.stored = now;
        }
    }

    /// What one write of a row may make of another.
    fn succeeds(&mut self, partition: usize, before: &Value, row: &Value) {
        let (old, new) = (before["epoch"].as_u64(), row["epoch"].as_u64());
        let by = row["nonce"]["by"].as_str();
        let p = name(partition);
        if new < old {
            self.wrong(format!("stale: {p} goes back from epoch {old:?} to {new:?}"));
        } else if new == old && by != before["owner"].as_str() {
            self.wrong(format!("stale: {by:?} writes {p}, which {} owns in this epoch", before["owner"]));
        }
        if record(&row["checkpoint"]) < record(&before["checkpoint"]) {
            self.wrong(format!("regress: {p} goes back from {} to {}", before["checkpoint"], row["checkpoint"]));
        }
        let resume = |row: &Value| row["resume"]["at"].as_u64();
        if row["checkpoint"] == before["checkpoint"] && resume(row) < resume(before) {
            self.wrong(format!("regress: {p} resumes at {}, and at {} before", row["resume"], before["resume"]));
        }
        if before["nonce"] == row["nonce"] {
            self.wrong(format!("{p} is written twice with the same nonce {}", row["nonce"]));
        }
        if before["finished"] == Value::Bool(true) {
            self.wrong(format!("{p} is written after it was finished"));
        }
        if new > old {
            self.count("takes");
        }
    }

    /// A planned move leaves nothing to be replayed.
    fn released(&mut self, partition: usize, row: &Value) {
        if !row["owner"].is_null() || row["finished"] == Value::Bool(true) {
            return;
        }
        let by = row["nonce"]["by"].as_str().and_then(|by| by.rsplit('-').next()).and_then(|pid| pid.parse().ok());
        let (Some(pid), Some(epoch)) = (by, row["epoch"].as_u64()) else { return };
        let part = self.part(partition);
        let (Some(settled), tampered) = (part.clean.remove(&(pid, epoch)), part.tampered.is_some()) else { return };
        self.count("planned moves");
        if record(&row["checkpoint"]).unwrap_or(0) < settled && !tampered {
            self.wrong(format!(
                "a planned move of {} stores {}, and {settled} is settled",
                name(partition),
                row["checkpoint"]
            ));
        }
    }
}
