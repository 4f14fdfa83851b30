use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
    time::Instant,
};

use strait_core::{Error, planted};

use super::{
    Machine,
    calls::{Call, Purpose},
    partitions::State,
    rows::{Name, Nonce, PARTS, PartRow, Unreadable, decode, encode, member_key, part_key},
};
use crate::{Expect, Row, Version};

/// Compares all rows with what is known of them, and with what the provider lists.
///
/// Rows are listed by version. Read are those that are new to a member, those of its own that somebody else has written,
/// and by the first of the members all that have changed: if each did so, reads would grow with members times partitions.
/// It finds partitions that nobody planned, rows that were deleted under their owner, and rows that can never matter again.
#[derive(Debug)]
pub(super) struct Audit {
    next: Instant,
    run: Option<Run>,
}

#[derive(Debug, Default)]
struct Run {
    listed: bool,
    /// When the provider was asked, and whether it has answered.
    asked: Option<Instant>,
    provider: bool,
    queue: VecDeque<Name>,
    reading: usize,
    rows: BTreeSet<Name>,
    failed: bool,
}

impl Audit {
    pub(super) fn new(next: Instant) -> Self {
        Self { next, run: None }
    }

    pub(super) fn wake(&self) -> Option<Instant> {
        self.run.is_none().then_some(self.next)
    }
}

impl Machine {
    /// Begins an audit now, unless one goes on.
    pub(super) fn survey(&mut self) {
        if self.audit.run.is_none() {
            self.audit.next = self.now.instant;
        }
    }

    /// Begins an audit when it is due, and goes on with it.
    pub(super) fn inspect(&mut self) {
        if self.audit.run.is_none() && self.audit.next <= self.now.instant && self.closing.is_none() {
            self.audit.run = Some(Run::default());
            self.call(Call::Versions(PARTS), Purpose::Rows);
        }
        while self.has_room()
            && let Some(run) = &mut self.audit.run
            && let Some(partition) = run.queue.pop_front()
        {
            let held = self.parts.get(&partition).is_some_and(|part| !matches!(part.state, State::Free));
            if held {
                self.check(&partition);
            } else {
                run.reading += 1;
                self.call(Call::Get(part_key(&partition)), Purpose::AuditRow(partition));
            }
        }
        let done = |run: &Run| run.listed && run.provider && run.queue.is_empty() && run.reading == 0;
        if self.audit.run.as_ref().is_some_and(done)
            && let Some(run) = self.audit.run.take()
        {
            let pause = if run.failed { self.settings.poll } else { self.settings.audit };
            self.audit.next = self.now.instant + pause;
            if !run.failed {
                self.audited(&run.rows);
            }
        }
    }

    /// The provider has answered, or not, what was asked at `sent`.
    pub(super) fn audit_provider(&mut self, sent: Instant, answered: bool) {
        if let Some(run) = &mut self.audit.run
            && run.asked.is_some_and(|asked| asked <= sent)
        {
            run.provider = true;
            run.failed |= !answered;
        }
    }

    pub(super) fn rows_listed(&mut self, result: Result<Vec<(String, Version)>, Error>) {
        let Some(run) = &mut self.audit.run else { return };
        run.listed = true;
        let rows = match result {
            Ok(rows) => rows,
            Err(error) => {
                (run.failed, run.provider) = (true, true);
                return self.report(error);
            }
        };
        let mut changed = Vec::new();
        let first = self.members.living().next() == Some(&self.life.id);
        for (key, version) in rows {
            let Some(partition) = key.strip_prefix(PARTS).map(Name::from) else { continue };
            let part = self.parts.get(&partition);
            let watched = first || part.is_some_and(|part| !matches!(part.state, State::Free));
            if part.and_then(|part| part.known.as_ref()).is_none_or(|(known, _)| watched && *known != version) {
                changed.push(Arc::clone(&partition));
            }
            run.rows.insert(partition);
        }
        // What is known and not listed: deleted, or in a part of the list that is stale.
        let missing =
            self.parts.iter().filter(|(partition, part)| part.known.is_some() && !run.rows.contains(*partition));
        changed.extend(missing.map(|(partition, _)| Arc::clone(partition)));
        run.queue.extend(changed);
        // Only now: a list from before may name what has since been read to its end and swept.
        run.asked = Some(self.now.instant);
        self.call(Call::Partitions, Purpose::Provider);
    }

    pub(super) fn audited_row(&mut self, partition: &Name, result: Result<Option<Row>, Error>) {
        let Some(run) = &mut self.audit.run else { return };
        run.reading = run.reading.saturating_sub(1);
        match result {
            Ok(Some(row)) => match decode::<PartRow>(&row.value) {
                Ok(found) => {
                    if found.finished {
                        self.finished.insert(Arc::clone(partition));
                    }
                    let part = self.parts.entry(Arc::clone(partition)).or_default();
                    if matches!(part.state, State::Free) {
                        part.known = Some((row.version, found));
                    }
                }
                // Its owner mends it, or who is planned for it: for which there must be a plan, whatever this row is.
                Err(unreadable) => {
                    if unreadable == Unreadable::Corrupt {
                        self.put_back(partition, Expect::Is(row.version));
                    }
                    self.report(unreadable.error(&part_key(partition)));
                }
            },
            Ok(None) => {
                run.rows.remove(partition);
            }
            Err(error) => {
                run.failed = true;
                self.report(error);
            }
        }
    }

    /// Looks whether a finished partition that somebody planned again still has its row.
    pub(super) fn verify(&mut self, partition: &Name) {
        self.call(Call::Get(part_key(partition)), Purpose::Verify(Arc::clone(partition)));
    }

    pub(super) fn verified(&mut self, partition: &Name, result: Result<Option<Row>, Error>) {
        match result {
            Ok(None) => self.survey(), // swept, or deleted by an operator: an audit tells
            Ok(Some(row)) => match decode::<PartRow>(&row.value) {
                Err(Unreadable::Corrupt) => self.put_back(partition, Expect::Is(row.version)),
                // An operator deleted it, and somebody who did not know better reads it again. The row decides.
                Ok(row) if !row.finished => {
                    self.finished.remove(partition);
                    self.advice.add(vec![Arc::clone(partition)]);
                }
                _ => {}
            },
            Err(_) => {}
        }
    }

    /// Puts back the row of a finished partition that somebody deleted: without it others would read it all again.
    fn put_back(&mut self, partition: &Name, expect: Expect) {
        let known = self.parts.get(partition).and_then(|part| part.known.as_ref());
        let Some((_, row)) = known.filter(|(_, row)| row.finished) else { return };
        self.writes += 1;
        let row = PartRow { nonce: Nonce { by: Arc::clone(&self.life.id), n: self.writes }, ..row.clone() };
        self.call(Call::Put { key: part_key(partition), expect, value: encode(&row) }, Purpose::Sweep);
    }

    /// All rows are known, and what the provider lists.
    fn audited(&mut self, rows: &BTreeSet<Name>) {
        self.advice.surveyed = self.advice.is_missing();
        let listed = &self.provider.parents;
        // Finished by everybody, and no longer listed: an audit that finds it again would have it read again.
        let over = |partition: &&Name| self.finished.contains(*partition);
        let gone = |partition: &&Name| !listed.contains_key(*partition) || planted!("parent-row-deleted-early");
        let first = self.members.living().next() == Some(&self.life.id);
        let ripe: BTreeSet<Name> = rows.iter().filter(over).filter(gone).cloned().collect();
        // Gone at the audit before, too: by now whatever was on its way to the row has landed. What expects no row would
        // find none again.
        let before = |partition: &&Name| self.ripe.contains(*partition) || planted!("parent-row-deleted-early");
        let swept: Vec<Name> = ripe.iter().filter(before).filter(|_| first).cloned().collect();
        self.ripe = ripe;
        let missing: Vec<Name> = listed
            .keys()
            .filter(|partition| !over(partition) && !self.advice.has(partition) && !self.advice.is_missing())
            .cloned()
            .collect();
        for partition in swept {
            self.call(Call::Delete(part_key(&partition)), Purpose::Sweep);
            self.parts.remove(&partition);
            if planted!("parent-row-deleted-early") {
                self.finished.remove(&partition);
            }
        }
        self.advice.add(missing);
        let listed = self.provider.parents.keys().filter(|partition| !rows.contains(*partition));
        let lost: Vec<Name> = listed.filter(|partition| self.finished.contains(*partition)).cloned().collect();
        for partition in lost {
            self.put_back(&partition, Expect::Absent);
        }
        // What neither has a row, nor is listed, nor planned, is of the past.
        let Self { parts, provider, advice, finished, .. } = self;
        parts.retain(|partition, part| {
            !matches!(part.state, State::Free)
                || rows.contains(partition)
                || provider.parents.contains_key(partition)
                || advice.has(partition)
        });
        finished.retain(|partition| {
            rows.contains(partition)
                || provider.parents.contains_key(partition)
                || parts.values().any(|part| part.is_child_of(partition))
        });
        let owners = parts.values().filter_map(|part| part.known.as_ref().and_then(|(_, row)| row.owner.clone()));
        let planned = advice.row().into_iter().flat_map(|row| row.members.iter().cloned());
        let named: BTreeSet<Name> = owners.chain(planned).collect();
        if first {
            let leftovers: Vec<Name> = self.members.leftovers().filter(|id| !named.contains(*id)).cloned().collect();
            for id in leftovers {
                self.call(Call::Delete(member_key(&id)), Purpose::Sweep);
            }
        }
        self.members.forget_except(&named);
        self.advise();
    }
}
