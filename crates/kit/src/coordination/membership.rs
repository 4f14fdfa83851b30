use std::{collections::BTreeSet, sync::Arc};

use strait_core::{Error, planted};

use super::{
    Machine,
    audit::Audit,
    calls::{Call, Output, Purpose},
    commits::Then,
    life::Life,
    machine::Poll,
    partitions::State,
    rows::{MemberRow, Name, decode, member_key},
};
use crate::{Change, Put, Row, Version};

/// How many lapsed incarnations of this process are remembered.
const FORMER: usize = 16;

/// For how many polls a member that leaves waits for a take of which it is not known whether it landed.
const POLLS_IN_DOUBT: u32 = 6;

/// Joining, living, lapsing and leaving.
impl Machine {
    pub(super) fn beat(&mut self) {
        if self.closing.is_some() && !self.life.is_inside() {
            return;
        }
        if !self.admission.is_granted() {
            return self.seek_admission();
        }
        if let Some((expect, value)) = self.life.due(&self.settings, self.now.instant, &mut self.writes) {
            let key = member_key(&self.life.id);
            self.call(Call::Put { key, expect, value }, Purpose::Beat(self.writes));
        }
    }

    pub(super) fn beaten(&mut self, n: u64, result: Result<Put, Error>) {
        match result {
            Ok(Put::Done(version)) => self.alive(version, n),
            Err(error) if !error.is_ambiguous() => {
                self.life.failed(&self.settings, n, self.now.instant);
                self.report(error);
            }
            Ok(Put::Refused) | Err(_) if self.life.is_joining() => self.join_anew(),
            Ok(Put::Refused) if planted!("no-read-back-of-heartbeats") => self.lapse(),
            Ok(Put::Refused) | Err(_) => {
                let key = member_key(&self.life.id);
                self.call(Call::Get(key), Purpose::BeatBack);
            }
        }
    }

    pub(super) fn beat_back(&mut self, result: Result<Option<Row>, Error>) {
        match result {
            Ok(Some(row)) => match decode::<MemberRow>(&row.value) {
                Ok(found) if found.nonce.by == self.life.id => {
                    if self.life.is_at(&row.version) {
                        self.life.again(&self.settings, self.now.instant);
                    } else {
                        self.alive(row.version, found.nonce.n);
                    }
                }
                _ => self.lapse(),
            },
            Ok(None) => self.lapse(),
            Err(_) => self.life.again(&self.settings, self.now.instant),
        }
    }

    fn alive(&mut self, version: Version, n: u64) {
        let joined = self.life.is_joining();
        self.life.stored(&self.settings, version, n, self.now.instant);
        if self.life.is_over(&self.settings, self.now.instant) {
            self.lapse();
        } else if let Some(until) = self.life.until(&self.settings) {
            self.out.push_back(Output::Change(Change::Renewed { until }));
            if joined {
                self.poll = Poll::at(self.now.instant);
            }
        }
    }

    /// Whether the row of this incarnation was written is not known: another one joins in its place.
    fn join_anew(&mut self) {
        self.lives += 1;
        let heir_of = self.life.heir_of.clone();
        let pause = self.settings.pause.saturating_mul(2);
        self.life = Life::new((self.names)(), heir_of, self.now.instant + pause);
    }

    /// This incarnation is over, and whatever it held. The process goes on as its heir.
    pub(super) fn lapse(&mut self) {
        if planted!("revived") && self.life.is_inside() {
            return;
        }
        if self.closing.as_ref().is_some_and(|closing| closing.farewell) {
            return; // it is over already, and its last word is under way
        }
        let busy = self.lose_all();
        self.former.push_back((Arc::clone(&self.life.id), busy));
        if self.former.len() > FORMER {
            self.former.pop_front();
        }
        self.lives += 1;
        self.life = Life::new((self.names)(), Some(Arc::clone(&self.life.id)), self.now.instant);
        self.members.unread_all();
        self.advice.forget();
        self.audit = Audit::new(self.now.instant + self.settings.audit);
        self.provider.asking = false;
        self.poll = Poll::at(self.now.instant);
    }

    pub(super) fn returned(&mut self, partition: &Name, epoch: u64) {
        for (_, busy) in &mut self.former {
            busy.remove(&(Arc::clone(partition), epoch));
        }
        // It ended there by its own clock, before a renewal was heard that came in time: it is gained anew.
        if let Some(tenure) = self.tenure(partition, epoch)
            && matches!(tenure.then, Then::Keep)
        {
            tenure.then = Then::Release(Vec::new());
            self.write(partition);
        }
        if self.may_take(partition) {
            self.restless.insert(Arc::clone(partition));
        }
    }

    /// Whether `id` is a former incarnation of this process of which no handler of `partition` runs any more.
    pub(super) fn is_over(&self, id: &str, partition: &str) -> bool {
        let busy = |busy: &BTreeSet<(Name, u64)>| busy.iter().any(|(busy, _)| &**busy == partition);
        self.former.iter().any(|(former, tenures)| &**former == id && !busy(tenures))
    }

    /// Plan first, then drain, then the member's own row.
    pub(super) fn leave(&mut self) {
        let Some(closing) = &mut self.closing else { return };
        if closing.farewell {
            return;
        }
        let inside = self.life.is_inside();
        if inside && !closing.draining {
            let listed = self.advice.names(&self.life.id);
            if listed && closing.polls < 3 {
                return;
            }
            closing.draining = true;
            self.restless.extend(self.parts.iter().filter(|(_, part)| part.is_held()).map(|(p, _)| Arc::clone(p)));
            while self.has_room()
                && let Some(partition) = self.restless.pop_first()
            {
                self.attend(&partition);
            }
        }
        let idle = self.parts.values().all(|part| matches!(part.state, State::Free));
        if inside && (!idle || self.is_under_way(|purpose| matches!(purpose, Purpose::Take(_) | Purpose::PlanPut))) {
            return;
        }
        // A row that names a member that has left costs the others an expiry: a take in doubt gets some polls to land.
        let doubted = self.parts.values().any(|part| part.names(&self.life.id));
        if inside && doubted && self.closing.as_ref().is_some_and(|closing| closing.polls < POLLS_IN_DOUBT) {
            return;
        }
        if let Some(closing) = &mut self.closing {
            closing.farewell = true;
        }
        self.life.end();
        if inside {
            let key = member_key(&self.life.id);
            self.call(Call::Delete(key), Purpose::Farewell);
        } else {
            self.left = true;
            self.out.push_back(Output::Left);
        }
    }
}
