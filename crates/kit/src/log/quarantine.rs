//! Partitions whose owners died one after the other: one message at a time, each named in the partition's row before, so
//! that the next owner knows which it was.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use strait_core::{ClaimState, Position};

use super::{
    Quarantine, Suspect,
    calls::{Job, Then},
    tenure::Tenure,
    tenures::Tenures,
};

/// How a tenure in quarantine is worked on.
#[derive(Debug)]
pub(super) struct Isolation {
    /// What the owner before was at when it died.
    suspect: Option<Suspect>,
    /// How many messages are still to be worked on alone: as many as that owner may have had in hand.
    left: usize,
    /// Whether the next message is named, and may be handed out.
    named: bool,
}

impl Isolation {
    pub(super) fn new(quarantine: Quarantine, messages: usize) -> Self {
        Self { suspect: quarantine.suspect, left: messages, named: false }
    }

    /// The same, for a tenure that begins anew.
    pub(super) fn again(self) -> Self {
        Self { named: false, ..self }
    }

    /// Whether a message may be handed out. Only once.
    pub(super) fn may_go(&mut self) -> bool {
        mem::take(&mut self.named)
    }

    /// How many processes died of this message, as far as is known.
    pub(super) fn crashes(&self, position: &Position) -> u32 {
        self.suspect.as_ref().filter(|suspect| suspect.position == *position).map_or(0, |suspect| suspect.attempts)
    }
}

impl Tenures {
    /// Whether something is to be named, or was.
    pub(super) fn is_on_trial(&self) -> bool {
        self.trial.is_some() || self.iter().any(|(_, tenure)| tenure.isolation.is_some())
    }

    /// Whether what was named last is still in hand. One over all partitions: if two were in hand when the process dies,
    /// the wrong one might be blamed. One that takes longer than `patience` did not kill it.
    fn is_trying(&self, now: Instant, patience: Duration) -> bool {
        let Some((number, since)) = self.trial else { return false };
        let in_hand = |tenure: &Tenure| {
            tenure.ledger.unsettled() > 0 || tenure.isolation.as_ref().is_some_and(|isolation| isolation.named)
        };
        now < since + patience && self.get(number).is_some_and(in_hand)
    }

    /// What is to be asked for next for those in quarantine, once nothing of them is in hand: that a message is named; before
    /// that, where it is of another partition, that the row of the last one says that it is settled. Else that would be
    /// blamed for what comes now.
    pub(super) fn next_trial(&mut self, now: Instant, patience: Duration) -> Option<Job> {
        if self.naming.is_some() || self.is_trying(now, patience) {
            return None;
        }
        let next = self.iter().find_map(|(number, tenure)| Some((number, tenure.trial(now)?)));
        if let Some((last, _)) = self.trial.filter(|(last, _)| next.as_ref().is_none_or(|(next, _)| next != last)) {
            let unstored = self.get_mut(last).and_then(|tenure| Some((tenure.progress()?, tenure)));
            let Some((progress, tenure)) = unstored else {
                self.trial = None;
                return None; // and the next is named at the next look
            };
            if !tenure.calls.may_begin(now) {
                return None;
            }
            tenure.calls.begin();
            let (partition, epoch) = (Arc::clone(&tenure.partition), tenure.epoch);
            return Some(Job {
                number: last,
                partition,
                epoch,
                progress: Some(progress),
                resume: None,
                then: Then::Keep,
            });
        }
        let (number, suspect) = next?;
        let tenure = self.get_mut(number)?;
        tenure.calls.begin();
        let (partition, epoch, progress) = (Arc::clone(&tenure.partition), tenure.epoch, tenure.progress());
        self.naming = Some(number);
        Some(Job { number, partition, epoch, progress, resume: None, then: Then::Name(suspect) })
    }

    /// It is named: it may be handed out.
    pub(super) fn named(&mut self, number: u32, settled: Option<&Position>, now: Instant) {
        let Some(tenure) = self.get_mut(number) else { return };
        if let Some(isolation) = &mut tenure.isolation {
            isolation.left = isolation.left.saturating_sub(1);
            isolation.named = true;
        }
        if let Some(settled) = settled {
            tenure.committed = Some(settled.clone());
        }
        self.trial = Some((number, now));
        self.take_turn(number);
    }

    /// Ends the quarantine of partitions of which enough was worked on. Returns whether there were any.
    pub(super) fn let_out(&mut self, now: Instant, patience: Duration) -> bool {
        if self.is_trying(now, patience) {
            return false;
        }
        let over = |isolation: &Isolation, span: usize| isolation.left == 0 && !isolation.named && span == 0;
        let out: Vec<u32> = self
            .iter()
            .filter(|(_, tenure)| tenure.isolation.as_ref().is_some_and(|it| over(it, tenure.ledger.span())))
            .map(|(number, _)| number)
            .collect();
        for number in &out {
            self.leave_quarantine(*number);
        }
        !out.is_empty()
    }

    /// There is nothing behind what was read: if all of that is settled, whatever was in hand when an owner died is.
    pub(super) fn caught_up(&mut self, number: u32) {
        if self.get(number).is_some_and(|tenure| tenure.coming().is_none() && tenure.ledger.span() == 0) {
            self.leave_quarantine(number);
        }
    }

    fn leave_quarantine(&mut self, number: u32) {
        let Some(tenure) = self.get_mut(number) else { return };
        if tenure.isolation.take().is_some() {
            tracing::info!(partition = %tenure.partition, "a partition is worked on as usual again");
            self.take_turn(number);
        }
    }
}

impl Tenure {
    /// What is to be named next of it, if it is in quarantine and nothing of it is in hand.
    fn trial(&self, now: Instant) -> Option<Suspect> {
        let isolation = self.isolation.as_ref().filter(|isolation| !isolation.named)?;
        if self.ledger.span() > 0 || self.grant.state(|| now) != ClaimState::Held || !self.calls.may_begin(now) {
            return None;
        }
        let position = self.coming()?.clone();
        let attempts = isolation.crashes(&position).saturating_add(1);
        Some(Suspect { position, attempts })
    }
}
