use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{End, Event, Fate, Name, Report};

/// Whether everything that was stored was processed, and nothing else; and, where `ordered` by key was promised, in order
/// and one at a time.
pub(super) fn deliveries(events: &[Event], ordered: bool, report: &mut Report) {
    let mut fates: BTreeMap<&Name, Fate> = BTreeMap::new();
    for event in events {
        if let Event::Sent(name, fate) = event {
            fates.insert(name, *fate);
            match fate {
                Fate::Stored => report.stored += 1,
                Fate::NotStored => report.not_stored += 1,
                Fate::Unknown => report.unknown += 1,
            }
        }
    }
    let mut done: BTreeMap<&Name, usize> = BTreeMap::new();
    let mut seen: BTreeSet<&Name> = BTreeSet::new();
    // Of each key, the attempts that run. One whose claim is lost before it ends overlaps with nothing: nobody can
    // stop a handler.
    let ends: HashMap<u64, End> = events
        .iter()
        .filter_map(|event| match event {
            Event::Ended { attempt, end, .. } => Some((*attempt, *end)),
            _ => None,
        })
        .collect();
    let mut running: HashMap<&str, usize> = HashMap::new();
    for event in events {
        match event {
            Event::Sent(..) | Event::Gone(..) => {}
            Event::Started { name, attempt, .. } => {
                report.attempts += 1;
                match fates.get(name) {
                    None => report.unexpected.push(name.clone()),
                    Some(Fate::NotStored) => report.aborted_reads.push(name.clone()),
                    Some(_) => {}
                }
                if ordered && !seen.contains(name) {
                    let before = fates.range((name.0.clone(), 0)..name.clone());
                    let skipped = before.filter(|(_, fate)| **fate == Fate::Stored);
                    let skipped = skipped.filter(|(before, _)| !done.contains_key(*before)).count();
                    report.inversions.extend((skipped > 0).then(|| name.clone()));
                }
                seen.insert(name);
                // An attempt without an end died with its process.
                if ends.get(attempt).is_some_and(|end| *end != End::Lost) {
                    let of_key = running.entry(name.0.as_str()).or_default();
                    report.overlaps.extend((ordered && *of_key > 0).then(|| name.clone()));
                    *of_key += 1;
                }
            }
            Event::Ended { name, end, .. } => {
                if *end != End::Lost
                    && let Some(of_key) = running.get_mut(name.0.as_str())
                {
                    *of_key -= 1;
                }
                match end {
                    End::Processed | End::GivenUp => *done.entry(name).or_default() += 1,
                    End::Failed => report.failed += 1,
                    End::Lost => report.lost_claims += 1,
                }
            }
        }
    }
    report.duplicates = done.values().map(|count| count - 1).sum();
    let unknown = |name: &&Name| fates.get(name) == Some(&Fate::Unknown);
    report.recovered = done.keys().filter(|name| unknown(name)).count();
    let stored = fates.iter().filter(|(_, fate)| **fate == Fate::Stored);
    report.lost = stored.filter(|(name, _)| !done.contains_key(*name)).map(|(name, _)| (*name).clone()).collect();
}

#[cfg(test)]
mod tests {
    use strait_core::{Error, ErrorKind, Receipt};
    use strait_runtime::Outcome;

    use super::*;
    use crate::history::{History, Place};

    fn place() -> Place {
        Place { member: 0, source: "p0".into() }
    }

    fn name(number: usize) -> Name {
        ("a".into(), number)
    }

    fn history(count: usize) -> History {
        let history = History::default();
        for number in 0..count {
            history.sent(name(number), &Outcome::Sent(Receipt::new(number as u64)));
        }
        history
    }

    fn process(history: &History, number: usize, end: End) {
        let attempt = history.started(name(number), place());
        history.ended(name(number), attempt, end);
    }

    #[test]
    fn a_replay_in_order_is_valid() {
        let history = history(3);
        process(&history, 0, End::Failed);
        for number in [0, 1, 0, 1, 2] {
            process(&history, number, End::Processed);
        }
        let report = history.check(true);
        assert!(report.is_valid(), "{report:?}");
        assert_eq!((report.stored, report.attempts, report.failed, report.duplicates), (3, 6, 1, 2));
    }

    #[test]
    fn what_never_comes_is_lost_and_what_was_not_stored_must_not_come() {
        let history = history(2);
        let error = || Error::new(ErrorKind::Invalid, "no");
        history.sent(name(2), &Outcome::NotSent(error()));
        history.sent(name(3), &Outcome::Unknown(error()));
        for number in [0, 2, 3, 4] {
            process(&history, number, End::Processed);
        }
        let report = history.check(false);
        assert_eq!(report.lost, [name(1)]);
        assert_eq!(report.aborted_reads, [name(2)]);
        assert_eq!(report.unexpected, [name(4)]);
        assert_eq!((report.recovered, report.is_valid()), (1, false));
    }

    #[test]
    fn what_begins_too_early_is_out_of_order() {
        let history = history(3);
        process(&history, 0, End::Failed);
        process(&history, 1, End::Processed); // 0 was to come again before
        process(&history, 0, End::GivenUp);
        process(&history, 2, End::Processed);
        assert_eq!(history.check(true).inversions, [name(1)]);
        assert!(history.check(false).is_valid(), "unless no order was promised");
    }

    #[test]
    fn two_of_a_key_at_once_overlap_unless_one_had_lost_its_claim() {
        for (end, valid) in [(End::Processed, false), (End::Lost, true)] {
            let history = history(1);
            let first = history.started(name(0), place());
            let second = history.started(name(0), place());
            history.ended(name(0), first, end);
            history.ended(name(0), second, End::Processed);
            assert_eq!(history.check(true).is_valid(), valid);
        }
    }
}
