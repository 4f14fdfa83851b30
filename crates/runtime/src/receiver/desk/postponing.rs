//! Long pauses go back to the provider, where it can keep them: a message that waits here for an hour takes the place of
//! others for an hour.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    time::Duration,
};

use strait_core::{ClaimState, Error, ErrorKind, Guarantees, Measure, Observer as _, Position, Result, Token, planted};
use tokio::time::Instant;

use super::{Desk, Phase};
use crate::receiver::{
    ReceiverSettings,
    item::{Item, Next, after},
};

/// Pauses up to this stay here: handing a message back and receiving it again costs two calls.
const SHORT: Duration = Duration::from_secs(60);

/// The most messages that are with the provider at once. While there are so many, pauses stay here.
const MOST: usize = 10_000;

/// How long after its pause a message may come again, and its attempts are still known.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// A message whose pause is to go to the provider, until when, and by what its attempts are known.
pub(in crate::receiver) type Postponing = (Box<Item>, Instant, Kept);

/// Names an entry of [`Postponed`]: when it is forgotten, and which it is.
pub(in crate::receiver) type Kept = (Instant, u64);

/// The attempts at messages that are with the provider until their pauses are over.
///
/// Bounded. An entry leaves when its message is delivered again, or some time after its pause.
#[derive(Debug, Default)]
pub(super) struct Postponed {
    known: HashMap<Position, Attempts>,
    ends: BTreeMap<Kept, Position>,
    count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Attempts {
    count: u32,
    /// When the pause is over.
    due: Instant,
    kept: Kept,
}

impl Postponed {
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Remembers so many attempts at the message at `position`, unless there are too many.
    fn keep(&mut self, position: &Position, count: u32, due: Instant, now: Instant) -> Option<Kept> {
        while let Some(first) = self.ends.first_entry()
            && first.key().0 <= now
        {
            self.known.remove(&first.remove());
        }
        if self.known.len() >= MOST {
            return None;
        }
        self.take(position); // of an earlier delivery that came to nothing
        self.count += 1;
        let kept = (due + KEPT, self.count);
        self.known.insert(position.clone(), Attempts { count, due, kept });
        self.ends.insert(kept, position.clone());
        Some(kept)
    }

    /// The message at `position` is delivered again.
    fn take(&mut self, position: &Position) -> Option<Attempts> {
        let attempts = self.known.remove(position)?;
        self.ends.remove(&attempts.kept);
        Some(attempts)
    }

    /// The message did not go.
    fn forget(&mut self, kept: Kept) {
        if let Some(position) = self.ends.remove(&kept) {
            self.known.remove(&position);
        }
    }
}

/// The longest pause that goes to a provider that promises so much. Without order by key here, nothing is handed back
/// where the provider keeps it: the later messages of the key that are being worked on would be lost.
pub(super) fn longest(settings: &ReceiverSettings, guarantees: &Guarantees) -> Duration {
    let longest = guarantees.postpones.filter(|_| settings.ordering == guarantees.ordering);
    longest.filter(|_| !planted!("long-pauses-stay-here")).unwrap_or_default()
}

impl Desk {
    /// Pauses a message before its next attempt: here, or at the provider if that is long and it can.
    pub(super) fn pause_for_work(&mut self, item: Box<Item>, pause: Duration) {
        if pause <= SHORT || pause > self.longest_postponed {
            return self.pause(item, Next::Work, pause);
        }
        let due = after(pause);
        let position = item.received().origin.position();
        match self.postponed.keep(position, item.attempt, due, Instant::now()) {
            Some(kept) => self.postponing.push((item, due, kept)),
            None => self.pause_until(item, Next::Work, due),
        }
    }

    pub(in crate::receiver) fn has_postponing(&self) -> bool {
        !self.postponing.is_empty()
    }

    /// What is to be postponed, and the names and pauses to do that by.
    pub(in crate::receiver) fn postponing(&mut self) -> (Vec<Postponing>, Vec<(Token, Duration)>) {
        let batch = mem::take(&mut self.postponing);
        let now = Instant::now();
        let pause = |(item, due, _): &Postponing| (item.claim().token(), due.saturating_duration_since(now));
        let pauses = batch.iter().map(pause).collect();
        (batch, pauses)
    }

    /// These are with the provider, or not: then they wait here.
    pub(in crate::receiver) fn postponed(&mut self, batch: Vec<Postponing>, outcomes: Vec<Result<()>>) {
        let missing = || Err(Error::new(ErrorKind::Other, "the provider gave fewer outcomes than it was asked for"));
        let mut outcomes = outcomes.into_iter();
        for (item, due, kept) in batch {
            match outcomes.next().unwrap_or_else(missing) {
                Ok(()) => self.leave(item),
                // It comes again, and maybe after its pause: its attempts stay known.
                Err(_) if item.state() != ClaimState::Held => self.lose(item),
                Err(error) => {
                    if error.kind() != ErrorKind::Unsupported {
                        self.settings.meter.observe(Measure::Failed { call: "postpone", kind: error.kind() });
                    }
                    self.postponed.forget(kept);
                    if self.phase == Phase::Open { self.pause_until(item, Next::Work, due) } else { self.leave(item) }
                }
            }
        }
        self.observe_buffer();
    }

    /// Lets go of what was not yet handed to the provider: it is released at once.
    pub(super) fn leave_postponing(&mut self) {
        for (item, _, kept) in mem::take(&mut self.postponing) {
            self.postponed.forget(kept);
            self.leave(item);
        }
    }

    /// Whether something that arrives may be known.
    #[inline]
    pub(super) fn knows_postponed(&self) -> bool {
        self.postponed.len() > 0
    }

    /// A message arrives. If it was postponed, its attempts are counted on. Returns how long its pause still is, if it
    /// came too early: some providers promise no more.
    #[cold]
    pub(super) fn comes_again(&mut self, item: &mut Item) -> Option<Instant> {
        let attempts = self.postponed.take(item.received().origin.position())?;
        if !planted!("postponed-attempts-forgotten") {
            item.attempt = item.attempt.max(attempts.count);
        }
        (attempts.due > Instant::now()).then_some(attempts.due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn entries_leave_when_they_are_taken_or_some_time_after_their_pause() {
        let (now, mut postponed) = (Instant::now(), Postponed::default());
        let due = now + SHORT;
        let first = postponed.keep(&1.into(), 3, due, now).unwrap();
        let again = postponed.keep(&1.into(), 4, due, now).unwrap();
        postponed.forget(first);
        assert_eq!(postponed.take(&1.into()), Some(Attempts { count: 4, due, kept: again }));
        assert_eq!((postponed.len(), postponed.ends.len()), (0, 0));
        for position in 0..MOST as u64 {
            assert!(postponed.keep(&position.into(), 1, due, now).is_some());
        }
        let one_more = |postponed: &mut Postponed, now| postponed.keep(&u64::MAX.into(), 1, now + SHORT, now);
        assert_eq!(one_more(&mut postponed, due + KEPT - SHORT), None, "it is full");
        assert!(one_more(&mut postponed, due + KEPT).is_some());
        assert_eq!((postponed.len(), postponed.ends.len()), (1, 1));
    }
}
