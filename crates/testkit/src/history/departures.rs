use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use super::{Close, Departure, End, Event, How, Name, Place, Report, Unsettled};

/// Whether processes went as they are to: one that closes hands everything over, in time, and nothing that it processed
/// is processed again; of one that is killed no more is than it could not yet have settled.
pub(super) fn check(events: &[Event], report: &mut Report) {
    let work = Work::of(events);
    for event in events {
        let Event::Gone(member, Departure { claims_lost, lost, how }) = event else { continue };
        let mut bad = |text: String| report.bad_ends.push(format!("member {member} {text}"));
        let unsettled = match how {
            How::Killed(unsettled) => {
                report.kills += 1;
                Some(unsettled)
            }
            How::Closed(close) => {
                report.closes += 1;
                report.full += usize::from(close.held >= 100);
                report.forced += usize::from(close.forced.is_some());
                for wrong in wrongs(close, work.last(*member)) {
                    bad(wrong);
                }
                close.forced.as_ref()
            }
        };
        let replays = work.replays.range(sources(*member)).filter(|(place, _)| !lost.contains(&place.source));
        match unsettled {
            None => {
                let names: Vec<_> = replays.flat_map(|(_, names)| names).collect();
                if names.len() > *claims_lost {
                    let count = names.len();
                    bad(format!(
                        "handed over in good order and lost {claims_lost} claims, but {count} that it had processed were \
                         processed again: {}",
                        some(&names)
                    ));
                }
            }
            Some(unsettled) => {
                for (place, names) in replays {
                    report.replayed_after_crashes += names.len();
                    let most = work.may_come_again(place, unsettled) + claims_lost;
                    if names.len() > most {
                        let (count, source) = (names.len(), &place.source);
                        bad(format!(
                            "went without having settled everything, and of {source:?} {most} may be processed again, but \
                             {count} were: {}",
                            some(names)
                        ));
                    }
                }
            }
        }
    }
}

/// What is wrong with a close, before which the last handler ended then.
fn wrongs(close: &Close, last_handler: Option<Instant>) -> Vec<String> {
    let Close { outcome, begun, ended, drain, rest, lag, kept, .. } = close;
    let took = *ended - *begun;
    let mut wrongs = Vec::new();
    match outcome {
        Ok(()) if kept.is_empty() => {}
        Ok(()) => wrongs.push(format!("said that it had closed, and kept {}: {}", kept.len(), some(kept))),
        // It could not give everything back, or had no time for it, and said so.
        Err(error) if error.is_transient() && (!kept.is_empty() || took >= *drain) => {}
        Err(error) => wrongs.push(format!("did not close: {error:?}; it kept {}", kept.len())),
    }
    let busy = last_handler.map_or(Duration::ZERO, |last| last.saturating_duration_since(*begun)).min(*drain);
    if took > (busy + *rest).min(*drain + *lag) {
        wrongs.push(format!("took {took:?} to close, of which its handlers took {busy:?}"));
    }
    wrongs
}

/// The first few of many.
fn some<T: std::fmt::Debug>(all: &[T]) -> String {
    let more = if all.len() > 5 { ", .." } else { "" };
    format!("{:?}{more}", &all[..all.len().min(5)])
}

/// All places of a member.
fn sources(member: usize) -> std::ops::Range<Place> {
    let first = |member| Place { member, source: "".into() };
    first(member)..first(member + 1)
}

/// What was processed where.
#[derive(Default)]
struct Work<'a> {
    /// When, at each place.
    done: BTreeMap<&'a Place, Vec<Instant>>,
    /// What was processed there and then again.
    replays: BTreeMap<Place, Vec<&'a Name>>,
    /// When the last handler of each member ended.
    last: HashMap<usize, Instant>,
}

impl<'a> Work<'a> {
    fn of(events: &'a [Event]) -> Self {
        let mut work = Self::default();
        let mut running: HashMap<u64, &Place> = HashMap::new();
        let mut before: HashMap<&Name, &Place> = HashMap::new();
        for event in events {
            match event {
                Event::Started { attempt, place, .. } => drop(running.insert(*attempt, place)),
                Event::Ended { name, attempt, end, at } => {
                    let Some(place) = running.get(attempt) else { continue };
                    work.last.insert(place.member, *at);
                    if !matches!(end, End::Processed | End::GivenUp) {
                        continue;
                    }
                    work.done.entry(place).or_default().push(*at);
                    if let Some(before) = before.insert(name, place) {
                        work.replays.entry(before.clone()).or_default().push(name);
                    }
                }
                _ => {}
            }
        }
        work
    }

    /// When the last handler of a member ended.
    fn last(&self, member: usize) -> Option<Instant> {
        self.last.get(&member).copied()
    }

    /// How much of what was processed there may be processed again.
    fn may_come_again(&self, place: &Place, Unsettled { since, in_hand }: &Unsettled) -> usize {
        let done = self.done.get(place).map_or(&[][..], Vec::as_slice);
        done.iter().filter(|at| *at >= since).count() + in_hand
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strait_core::{Error, ErrorKind};

    use super::*;
    use crate::History;

    const SECOND: Duration = Duration::from_secs(1);

    fn process(history: &History, member: usize, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let name: Name = ("a".into(), number);
            let attempt = history.started(name.clone(), Place { member, source: "p0".into() });
            history.ended(name, attempt, End::Processed);
        }
    }

    fn closed(change: impl FnOnce(&mut Close)) -> Departure {
        let begun = Instant::now();
        let ended = begun + SECOND;
        let (drain, rest, lag) = (9 * SECOND, 2 * SECOND, Duration::ZERO);
        let mut close =
            Close { outcome: Ok(()), begun, ended, drain, rest, lag, held: 100, kept: Vec::new(), forced: None };
        change(&mut close);
        Departure { claims_lost: 0, lost: BTreeSet::new(), how: How::Closed(close) }
    }

    fn bad_ends(history: &History) -> usize {
        history.check(false).bad_ends.len()
    }

    #[test]
    fn a_close_that_says_ok_keeps_nothing_and_is_in_time() {
        let unavailable = Error::new(ErrorKind::Unavailable, "it could not be given back");
        let denied = Error::new(ErrorKind::Denied, "a report of something else");
        let history = History::default();
        history.gone(0, closed(|_| {}));
        history.gone(1, closed(|close| (close.outcome, close.kept) = (Err(unavailable), vec!["lease 1".into()])));
        assert_eq!(bad_ends(&history), 0);
        history.gone(2, closed(|close| close.kept = vec!["lease 2".into()]));
        history.gone(3, closed(|close| close.outcome = Err(denied)));
        history.gone(4, closed(|close| close.ended += 2 * SECOND));
        assert_eq!(bad_ends(&history), 3);
        assert_eq!(history.check(false).closes, 5);
    }

    #[test]
    fn nothing_is_processed_again_after_a_close_but_what_was_lost() {
        let history = History::default();
        process(&history, 0, 0..5);
        process(&history, 1, 4..9);
        history.gone(0, Departure { claims_lost: 1, ..closed(|_| {}) });
        assert_eq!(bad_ends(&history), 0);
        process(&history, 1, 3..4);
        assert_eq!(bad_ends(&history), 1);
        history.gone(0, Departure { lost: ["p0".into()].into(), ..closed(|_| {}) });
        assert_eq!(bad_ends(&history), 1, "what was lost is no hand-over");
    }

    #[test]
    fn after_a_crash_what_was_settled_is_not_processed_again() {
        let history = History::default();
        process(&history, 0, 0..5);
        let since = Instant::now() + SECOND;
        history.gone(0, Departure { how: How::Killed(Unsettled { since, in_hand: 2 }), ..closed(|_| {}) });
        process(&history, 1, 3..9);
        assert_eq!((bad_ends(&history), history.check(false).replayed_after_crashes), (0, 2));
        process(&history, 1, 2..3);
        assert_eq!(bad_ends(&history), 1);
    }
}
