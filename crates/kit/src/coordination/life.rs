use std::{sync::Arc, time::Instant};

use bytes::Bytes;
use strait_core::planted;

use super::{
    CoordinatorSettings,
    rows::{MemberRow, Name, Nonce, encode},
};
use crate::{Expect, Version};

/// Most heartbeats of which it is remembered when they were sent, while their outcome is not known.
const DOUBTS: usize = 4;

/// The incarnation that this process is now: whether it is a member, and until when it believes so.
///
/// Only its own row says so. Belief counts from the instant before the heartbeat was sent, so that it ends before any
/// observer has seen the row unchanged for the expiry. An incarnation that has lapsed is never revived.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) id: Name,
    pub(super) heir_of: Option<Name>,
    phase: Phase,
    /// Heartbeats whose outcome is not known, and when each was sent.
    doubts: Vec<(u64, Instant)>,
    failures: u32,
}

#[derive(Debug)]
enum Phase {
    /// Not a member yet, and to try at this time.
    Outside(Instant),
    Joining,
    Inside {
        version: Version,
        /// When the newest heartbeat that is known to have succeeded was sent.
        from: Instant,
        next: Instant,
    },
    Over,
}

impl Life {
    pub(super) fn new(id: Name, heir_of: Option<Name>, at: Instant) -> Self {
        Self { id, heir_of, phase: Phase::Outside(at), doubts: Vec::new(), failures: 0 }
    }

    /// Until when it believes, if it is a member.
    pub(super) fn until(&self, settings: &CoordinatorSettings) -> Option<Instant> {
        match self.phase {
            Phase::Inside { from, .. } => {
                let belief = if planted!("no-margin") { settings.expiry } else { settings.belief() };
                Some(from + belief)
            }
            _ => None,
        }
    }

    pub(super) fn is_inside(&self) -> bool {
        matches!(self.phase, Phase::Inside { .. })
    }

    pub(super) fn is_joining(&self) -> bool {
        matches!(self.phase, Phase::Joining)
    }

    /// Whether its belief has ended. Asked at every event, so that what comes later renews nothing.
    pub(super) fn is_over(&self, settings: &CoordinatorSettings, now: Instant) -> bool {
        self.until(settings).is_some_and(|until| now >= until)
    }

    pub(super) fn end(&mut self) {
        self.phase = Phase::Over;
    }

    /// When it next has something to do.
    pub(super) fn wake(&self, settings: &CoordinatorSettings) -> Option<Instant> {
        match self.phase {
            Phase::Outside(at) => Some(at),
            Phase::Inside { next, .. } if planted!("revived") => Some(next),
            Phase::Inside { next, .. } => self.until(settings).map(|until| until.min(next)),
            Phase::Joining | Phase::Over => None,
        }
    }

    /// The write that is due, if one is.
    pub(super) fn due(&mut self, settings: &CoordinatorSettings, now: Instant, n: &mut u64) -> Option<(Expect, Bytes)> {
        let expect = match &mut self.phase {
            Phase::Outside(at) if *at <= now => {
                self.phase = Phase::Joining;
                Expect::Absent
            }
            Phase::Inside { version, next, .. } if *next <= now => {
                *next = now + settings.heartbeat;
                if planted!("no-heartbeat") {
                    return None;
                }
                Expect::Is(version.clone())
            }
            _ => return None,
        };
        *n += 1;
        if self.doubts.len() == DOUBTS {
            self.doubts.remove(0); // should it still land, it is ours, and renews nothing
        }
        self.doubts.push((*n, now));
        let row = MemberRow { nonce: Nonce { by: Arc::clone(&self.id), n: *n }, heir_of: self.heir_of.clone() };
        Some((expect, encode(&row)))
    }

    /// The write `n` was stored.
    pub(super) fn stored(&mut self, settings: &CoordinatorSettings, version: Version, n: u64, now: Instant) {
        let sent = self.doubts.iter().find(|(doubt, _)| *doubt == n).map(|(_, sent)| *sent);
        self.doubts.retain(|(doubt, _)| *doubt > n);
        self.failures = 0;
        let sent = if planted!("belief-from-reply") { sent.map(|_| now) } else { sent };
        match &mut self.phase {
            Phase::Joining => {
                let Some(from) = sent else { return };
                self.phase = Phase::Inside { version, from, next: from + settings.heartbeat };
            }
            Phase::Inside { version: known, from, .. } => {
                *known = version;
                *from = (*from).max(sent.unwrap_or(*from));
            }
            Phase::Outside(_) | Phase::Over => {}
        }
    }

    /// Something else than the row says that it lives: which is no reason to believe it.
    pub(super) fn hint(&mut self, now: Instant) {
        if let Phase::Inside { from, .. } = &mut self.phase
            && planted!("belief-from-commits")
        {
            *from = now;
        }
    }

    /// The write `n` was not stored and will not be.
    pub(super) fn failed(&mut self, settings: &CoordinatorSettings, n: u64, now: Instant) {
        self.doubts.retain(|(doubt, _)| *doubt != n);
        self.again(settings, now);
    }

    /// What was written last may still land: it is written again, expecting the same.
    pub(super) fn again(&mut self, settings: &CoordinatorSettings, now: Instant) {
        self.failures += 1;
        let pause = settings.pause.saturating_mul(1 << self.failures.min(4)).min(settings.heartbeat);
        match &mut self.phase {
            Phase::Inside { next, .. } => *next = (*next).min(now + pause),
            Phase::Joining => self.phase = Phase::Outside(now + pause),
            Phase::Outside(_) | Phase::Over => {}
        }
    }

    /// Whether the row is as it was when it was last known to be written.
    pub(super) fn is_at(&self, version: &Version) -> bool {
        matches!(&self.phase, Phase::Inside { version: known, .. } if known == version)
    }
}
