use std::sync::Arc;

use strait_core::{Error, planted};

use super::{
    Machine,
    calls::{Call, Output, Purpose},
    commits::{Child, Then},
    partitions::{Part, State},
    rows::{From, Name, Nonce, PartRow, Unreadable, decode, encode, part_key},
};
use crate::{Became, Expect, Partition, Put, Row, log::unknown_children};

/// Parents that end, and children that wait for them.
impl Machine {
    /// The children get their rows and are planned, and only then the parent is finished.
    pub(super) fn finish(&mut self, ticket: u64, partition: &Name, epoch: u64, became: Became) {
        let children = match became {
            Became::Children(children) if children.is_empty() => self.children_of(partition),
            Became::Children(children) => Some(children),
            Became::Nothing => Some(Vec::new()),
        };
        let Some(tenure) = self.tenure(partition, epoch) else {
            let result = Err(Self::lost(partition, epoch));
            return self.out.push_back(Output::Done { ticket, result });
        };
        let Some(children) = children else {
            let result = Err(unknown_children(partition));
            self.ask_provider();
            return self.out.push_back(Output::Done { ticket, result });
        };
        match &mut tenure.then {
            Then::Finish { tickets, .. } | Then::Release(tickets) => tickets.push(ticket),
            then @ Then::Keep => {
                let child = |partition| Child { partition, asked: false, stored: false };
                let children = children.into_iter().map(child).collect();
                *then = Then::Finish { tickets: vec![ticket], children };
            }
        }
        self.write(partition);
    }

    /// What the provider listed last as children of a partition. Once listed they are there, however old the list is: they
    /// end after their parents.
    fn children_of(&self, partition: &Name) -> Option<Vec<Partition>> {
        let listed = self.provider.parents.iter().filter(|(_, parents)| parents.contains(partition));
        let child = |(id, parents): (&Name, &Vec<Name>)| Partition::new(Arc::clone(id)).with_parents(parents.clone());
        let children: Vec<_> = listed.map(child).collect();
        (!children.is_empty() || planted!("ended-without-children")).then_some(children)
    }

    /// Puts the children's rows, and then plans them.
    pub(super) fn bear(&mut self, partition: &Name) {
        let mut wanted = Vec::new();
        if let Some(tenure) = self.parts.get_mut(partition).and_then(|part| part.tenure())
            && let Then::Finish { children, .. } = &mut tenure.then
        {
            for child in children.iter_mut().filter(|child| !child.asked && !child.stored) {
                child.asked = true;
                wanted.push(child.partition.clone());
            }
            if !children.iter().all(|child| child.stored) && wanted.is_empty() {
                return;
            }
            if wanted.is_empty() {
                let children: Vec<_> = children.iter().map(|child| Arc::clone(&child.partition.id)).collect();
                let missing = children.into_iter().filter(|child| !self.advice.has(child));
                self.advice.additions.extend(missing.collect::<Vec<_>>());
                return self.advise();
            }
        }
        for child in wanted {
            let value = encode(&self.child_row(child.parents));
            let purpose = Purpose::Child { parent: Arc::clone(partition), child: Arc::clone(&child.id) };
            self.call(Call::Put { key: part_key(&child.id), expect: Expect::Absent, value }, purpose);
        }
    }

    pub(super) fn child_put(&mut self, parent: &Name, child: &Name, result: Result<Put, Error>) {
        let Some(tenure) = self.parts.get_mut(parent).and_then(|part| part.tenure()) else { return };
        let Then::Finish { children, .. } = &mut tenure.then else { return };
        let Some(child) = children.iter_mut().find(|other| other.partition.id == *child) else { return };
        child.asked = false;
        match result {
            // Refused because it is there: by an owner before us, or by the audit of another.
            Ok(Put::Done(_) | Put::Refused) => {
                child.stored = true;
                self.write(parent);
            }
            Err(error) => {
                self.rest(parent);
                self.report(error);
            }
        }
    }

    /// Whether a parent is not known to be finished. Those that are not known are read.
    pub(super) fn waits_for_parents(&mut self, partition: &Name, row: &PartRow) -> bool {
        let open: Vec<Name> = row.parents.iter().filter(|parent| !self.finished.contains(*parent)).cloned().collect();
        for parent in &open {
            let held = self.parts.get(parent).is_some_and(Part::is_held);
            let Some(part) = self.parts.get_mut(partition) else { break };
            if !held && part.parents.insert(Arc::clone(parent)) {
                let purpose = Purpose::Parent { child: Arc::clone(partition), parent: Arc::clone(parent) };
                self.call(Call::Get(part_key(parent)), purpose);
            }
        }
        !open.is_empty()
    }

    pub(super) fn parent_read(&mut self, child: &Name, parent: &Name, result: Result<Option<Row>, Error>) {
        let Some(part) = self.parts.get_mut(child) else { return };
        part.parents.remove(parent);
        let mut unplanned = false;
        let row = match result {
            Ok(row) => row.map(|row| decode::<PartRow>(&row.value).map(|found| (row.version, found))),
            Err(error) => return self.report(error),
        };
        let finished = match row {
            Some(Ok((version, row))) => {
                part.rowless.remove(parent);
                let finished = row.finished;
                let parent = self.parts.entry(Arc::clone(parent)).or_default();
                if finished && matches!(parent.state, State::Free) {
                    parent.known = Some((version, row)); // to put it back, should somebody delete it
                }
                finished
            }
            Some(Err(Unreadable::Newer(_))) => false,
            None | Some(Err(Unreadable::Corrupt)) => {
                // Gone only if the provider does not list it either, asked after the row was missed.
                let missed = *part.rowless.entry(Arc::clone(parent)).or_insert(self.now.instant);
                if self.provider.sent.is_some_and(|sent| sent >= missed) {
                    let listed = self.provider.parents.contains_key(parent);
                    unplanned = listed && !self.advice.has(parent);
                    if listed {
                        self.ask_provider(); // it may be listed no longer by the next time
                    }
                    !listed || planted!("missing-parent-is-finished")
                } else {
                    self.ask_provider();
                    planted!("missing-parent-is-finished")
                }
            }
        };
        if finished {
            self.finished.insert(Arc::clone(parent));
            self.restless.insert(Arc::clone(child));
        } else if unplanned {
            // Its row was deleted or spoilt, and whether it was finished is forgotten: it is read again.
            self.advice.add(vec![Arc::clone(parent)]);
            self.advise();
        }
    }

    /// Where a child of a reshard starts: at its beginning, whatever the group's start.
    fn child_row(&mut self, parents: Vec<Name>) -> PartRow {
        self.writes += 1;
        let nonce = Nonce { by: Arc::clone(&self.life.id), n: self.writes };
        PartRow::new(nonce, self.now.first_epoch(), From::Earliest, parents)
    }
}
