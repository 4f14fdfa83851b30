//! Partitions whose owners died one after the other: one message at a time, each named in the partition's row before, so
//! that the next owner knows which it was.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use strait_core::{ClaimState, ErrorKind, Position};
use tokio::{sync::Mutex, time};

use super::{
    Quarantine, Suspect,
    consumer::{Shared, now},
    driver::{BEAT, failed, lose, pause, store},
    tenure::{Tenure, Tenures},
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

/// What is to be named next.
struct Trial {
    number: u32,
    partition: Arc<str>,
    epoch: u64,
    settled: Option<Position>,
    suspect: Suspect,
}

impl Tenures {
    /// Whether something is to be named, or was.
    fn is_on_trial(&self) -> bool {
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

    /// What is to be named next.
    fn next_trial(&self, now: Instant) -> Option<Trial> {
        self.iter().find_map(|(number, tenure)| {
            let isolation = tenure.isolation.as_ref().filter(|isolation| !isolation.named)?;
            if tenure.ledger.span() > 0 || tenure.grant.state(|| now) != ClaimState::Held {
                return None;
            }
            let position = tenure.coming()?.clone();
            let attempts = isolation.crashes(&position).saturating_add(1);
            let (partition, epoch) = (Arc::clone(&tenure.partition), tenure.epoch);
            let settled = tenure.ledger.watermark().cloned();
            Some(Trial { number, partition, epoch, settled, suspect: Suspect { position, attempts } })
        })
    }

    /// It is named: it may be handed out.
    fn named(&mut self, Trial { number, settled, .. }: Trial, now: Instant) {
        let Some(tenure) = self.get_mut(number) else { return };
        if let Some(isolation) = &mut tenure.isolation {
            isolation.left = isolation.left.saturating_sub(1);
            isolation.named = true;
        }
        if let Some(settled) = settled {
            tenure.committed = Some(settled);
        }
        self.trial = Some((number, now));
        self.take_turn(number);
    }

    /// Ends the quarantine of partitions of which enough was worked on. Returns whether there were any.
    fn let_out(&mut self) -> bool {
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

/// Names one message after the other, while any partition is in quarantine.
pub(super) async fn isolate(shared: &Shared, commits: &Mutex<()>) {
    let mut failures = 0;
    loop {
        shared.quarantined.notified().await;
        while shared.tenures().is_on_trial() {
            failures = if go_on(shared, commits).await { 0 } else { failures + 1 };
            time::sleep(if failures == 0 { BEAT } else { pause(failures) }).await;
        }
    }
}

/// Names what is next, once nothing is in hand. Returns whether nothing went wrong.
async fn go_on(shared: &Shared, commits: &Mutex<()>) -> bool {
    let _one_at_a_time = commits.lock().await; // what is settled is stored along with the next name
    let (last, let_out, next) = {
        let mut tenures = shared.tenures();
        if tenures.is_trying(now(), shared.settings.grace) {
            return true;
        }
        (tenures.trial.map(|(number, _)| number), tenures.let_out(), tenures.next_trial(now()))
    };
    if let_out {
        shared.ready.notify_one();
    }
    // Of another partition: until its row says that the last one is settled, that would be blamed for what comes now.
    if let Some(last) = last.filter(|last| next.as_ref().is_none_or(|next| next.number != *last)) {
        let progress = shared.tenures().progress_of(last);
        if !store(shared, progress).await {
            return false;
        }
        shared.tenures().trial = None;
    }
    match next {
        Some(trial) => name(shared, trial).await,
        None => true,
    }
}

async fn name(shared: &Shared, trial: Trial) -> bool {
    let Trial { number, partition, epoch, settled, suspect } = &trial;
    match shared.ownership.suspect(partition, *epoch, settled.as_ref(), suspect).await {
        Ok(()) => {
            shared.tenures().named(trial, now());
            shared.ready.notify_one();
            true
        }
        Err(error) if error.kind() == ErrorKind::Lost => {
            lose(shared, *number);
            true
        }
        Err(error) => {
            failed(shared, "suspect", error.kind());
            tracing::warn!(%partition, %error, "a message in quarantine could not be named, and waits");
            false
        }
    }
}
