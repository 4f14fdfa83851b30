use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use strait_core::planted;

use super::rows::Name;
use crate::Version;

/// What is known of the others: whose row is listed, since when it is unchanged, and who is dead.
///
/// X is dead once two reads showed the same version of its row, the second of them linearizable and *sent* at least the
/// expiry after the *reply* to the first. Versions never come back, so that the first may be of a stale list. Absence
/// does come back: it counts only from linearizable reads, of a member that is known to have joined.
#[derive(Debug, Default)]
pub(super) struct Members {
    seen: BTreeMap<Name, Seen>,
}

#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is set and cleared on its own")]
struct Seen {
    listed: bool,
    /// What the first of the two reads showed, and when its reply came.
    first: Option<(Option<Version>, Instant)>,
    /// The row is to be read, whatever its age: it is no longer listed, or never was.
    suspect: bool,
    asked: bool,
    dead: bool,
    /// A part row names it.
    wanted: bool,
}

impl Members {
    /// The rows that are listed now.
    pub(super) fn listed(&mut self, rows: impl IntoIterator<Item = (Name, Version)>, now: Instant) {
        for seen in self.seen.values_mut() {
            seen.listed = false;
        }
        for (id, version) in rows {
            let seen = self.seen.entry(id).or_default();
            seen.listed = true;
            if seen.first.as_ref().is_none_or(|(first, _)| first.as_ref() != Some(&version)) {
                seen.first = Some((Some(version), now));
            }
        }
        for seen in self.seen.values_mut().filter(|seen| !seen.listed && !seen.dead) {
            seen.suspect |= matches!(seen.first, Some((Some(_), _)) | None);
        }
        self.seen.retain(|_, seen| seen.listed || seen.wanted || seen.dead);
    }

    /// A part row, or the plan, names `id`.
    pub(super) fn want(&mut self, id: &Name) {
        let seen = self.seen.entry(Arc::clone(id)).or_default();
        seen.wanted = true;
        seen.suspect |= seen.first.is_none();
    }

    /// Whose row is to be read now. Each is then being read, until [`got`](Self::got) or [`unread`](Self::unread).
    pub(super) fn due(&mut self, expiry: Duration, now: Instant, me: &str) -> Vec<Name> {
        let expiry = if planted!("dead-at-reply") { expiry / 2 } else { observed(expiry) };
        let due = |seen: &Seen| {
            let old = seen.first.as_ref().is_some_and(|(_, since)| now >= *since + expiry);
            !seen.dead && !seen.asked && (seen.suspect || old && (seen.wanted || seen.listed))
        };
        let due = self.seen.iter_mut().filter(|(id, seen)| &***id != me && due(seen));
        due.map(|(id, seen)| {
            seen.asked = true;
            Arc::clone(id)
        })
        .collect()
    }

    /// A read that was sent at `sent` showed this. Returns whether it says that the member is dead.
    pub(super) fn got(
        &mut self,
        id: &str,
        version: Option<Version>,
        sent: Instant,
        expiry: Duration,
        now: Instant,
    ) -> bool {
        let Some(seen) = self.seen.get_mut(id) else { return false };
        (seen.asked, seen.suspect) = (false, false);
        match &seen.first {
            Some((first, since)) if *first == version => {
                let judged = if planted!("dead-at-reply") { now } else { sent };
                seen.dead |= judged >= *since + observed(expiry);
            }
            _ => {
                seen.first = Some((version, now));
            }
        }
        seen.dead
    }

    /// A read failed.
    pub(super) fn unread(&mut self, id: &str) {
        if let Some(seen) = self.seen.get_mut(id) {
            seen.asked = false;
        }
    }

    /// The reads under way are of no use any more.
    pub(super) fn unread_all(&mut self) {
        for seen in self.seen.values_mut() {
            seen.asked = false;
        }
    }

    pub(super) fn is_dead(&self, id: &str) -> bool {
        self.seen.get(id).is_some_and(|seen| seen.dead)
    }

    /// Whether its row was read, and was not there.
    pub(super) fn is_absent(&self, id: &str) -> bool {
        self.seen.get(id).is_some_and(|seen| !seen.listed && matches!(seen.first, Some((None, _))))
    }

    pub(super) fn is_listed(&self, id: &str) -> bool {
        self.seen.get(id).is_some_and(|seen| seen.listed)
    }

    /// Those listed that are not known to be dead.
    pub(super) fn living(&self) -> impl Iterator<Item = &Name> {
        self.seen.iter().filter(|(_, seen)| seen.listed && !seen.dead).map(|(id, _)| id)
    }

    /// Dead members whose rows are still there.
    pub(super) fn leftovers(&self) -> impl Iterator<Item = &Name> {
        self.seen.iter().filter(|(_, seen)| seen.listed && seen.dead).map(|(id, _)| id)
    }

    /// Forgets those who are gone, except the ones that are still named somewhere.
    pub(super) fn forget_except(&mut self, named: &BTreeSet<Name>) {
        for (id, seen) in &mut self.seen {
            seen.wanted = named.contains(id);
        }
        self.seen.retain(|_, seen| seen.listed || seen.wanted);
    }
}

/// How long an observer waits.
fn observed(expiry: Duration) -> Duration {
    if planted!("impatient-observer") { expiry * 3 / 4 } else { expiry }
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: Duration = Duration::from_secs(10);
    const SECOND: Duration = Duration::from_secs(1);

    fn list(members: &mut Members, version: &str, now: Instant) {
        members.listed([("x".into(), Version::new(version))], now);
    }

    #[test]
    fn only_a_read_sent_after_the_expiry_says_dead() {
        let (mut members, start) = (Members::default(), Instant::now());
        list(&mut members, "1", start);
        assert!(members.due(D, start + 9 * SECOND, "me").is_empty());
        assert_eq!(members.due(D, start + D, "me").len(), 1);
        assert!(members.due(D, start + D, "me").is_empty(), "it is being read");
        // Sent too early, however late the reply.
        assert!(!members.got("x", Some(Version::new("1")), start + 9 * SECOND, D, start + 30 * SECOND));
        assert!(members.got("x", Some(Version::new("1")), start + D, D, start + 30 * SECOND));
        assert!(members.is_dead("x"));
        list(&mut members, "2", start + 40 * SECOND);
        assert!(members.is_dead("x"), "dead is final");
    }

    #[test]
    fn a_heartbeat_starts_over() {
        let (mut members, start) = (Members::default(), Instant::now());
        list(&mut members, "1", start);
        assert!(!members.got("x", Some(Version::new("2")), start + D, D, start + D));
        assert!(!members.got("x", Some(Version::new("2")), start + 19 * SECOND, D, start + 3 * D));
        assert!(members.got("x", Some(Version::new("2")), start + 2 * D, D, start + 3 * D));
    }

    #[test]
    fn absence_counts_from_a_read_never_from_a_list() {
        let (mut members, start) = (Members::default(), Instant::now());
        list(&mut members, "1", start);
        members.want(&"x".into());
        members.listed([], start + SECOND);
        assert_eq!(members.due(D, start + SECOND, "me").len(), 1, "read at once");
        assert!(!members.got("x", None, start + 15 * SECOND, D, start + 16 * SECOND));
        assert!(members.due(D, start + 25 * SECOND, "me").is_empty());
        assert!(members.got("x", None, start + 26 * SECOND, D, start + 27 * SECOND));
    }
}
