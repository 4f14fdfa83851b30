use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::watch;

use super::{Offset, Position, readers::Readers};
use crate::{clock::Clock, wire::message::Message};

/// The last enqueued time of a partition that never had an event: .NET's earliest, in milliseconds since 1970.
pub const NEVER: i64 = -62_135_596_800_000;

/// How long and how much a partition keeps. What exceeds it is trimmed, the oldest event first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// The age of the oldest event. A day by default.
    pub age: Duration,
    /// The number of events. Unlimited by default.
    pub events: usize,
    /// The bytes of all events, which are kept in memory. 256 MiB by default.
    pub bytes: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_hours(24), events: usize::MAX, bytes: 256 << 20 }
    }
}

/// The state of a partition, as a read of its properties answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionState {
    /// The sequence number of the oldest event that is kept, or of the next event.
    pub begin: i64,
    /// The sequence number of the last event, -1 if there never was one.
    pub last: i64,
    /// The offset of the last event; `None` if there never was one.
    pub last_offset: Option<Offset>,
    /// When the last event was stored, in milliseconds since 1970, or [`NEVER`].
    pub last_enqueued: i64,
    /// Whether no event is kept.
    pub empty: bool,
}

/// A position beyond the end: the hub may have been recreated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Invalid {
    Sequence { supplied: i64, last: i64 },
    Offset { supplied: String, last: String },
}

/// An event as it is stored: encoded, with what the service writes on it.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) sequence: i64,
    pub(crate) message: Bytes,
    enqueued: i64,
    offset: u64,
}

/// One partition: a log in memory.
#[derive(Debug)]
pub(crate) struct Partition {
    replicated: bool,
    retention: Retention,
    clock: Clock,
    log: Mutex<Log>,
    /// The sequence number that comes next, whenever it moves.
    next: watch::Sender<i64>,
    pub(crate) readers: Readers,
}

#[derive(Debug)]
struct Log {
    events: VecDeque<Event>,
    bytes: usize,
    next: i64,
    /// Where the next event begins.
    end: u64,
    last_offset: Option<u64>,
    last_enqueued: i64,
}

impl Partition {
    pub(crate) fn new(retention: Retention, replicated: bool, clock: Clock) -> Self {
        let log = Log { events: VecDeque::new(), bytes: 0, next: 0, end: 0, last_offset: None, last_enqueued: NEVER };
        let (log, next) = (Mutex::new(log), watch::Sender::new(0));
        Self { replicated, retention, clock, log, next, readers: Readers::default() }
    }

    /// Stores messages one behind the other, with nothing between.
    pub(crate) fn append(&self, messages: &[Message]) {
        let now = self.clock.now();
        let mut log = self.log();
        for message in messages {
            let (sequence, offset) = (log.next, log.end);
            // A clock that was set back does not turn the order of times.
            let enqueued = now.max(log.last_enqueued);
            let message = message.stamped(sequence, &self.offset(offset).to_string(), enqueued);
            log.bytes += message.len();
            log.end += message.len() as u64;
            log.next += 1;
            (log.last_offset, log.last_enqueued) = (Some(offset), enqueued);
            log.events.push_back(Event { sequence, message, enqueued, offset });
        }
        self.next.send_replace(log.next);
    }

    /// The sequence number that a reader from there begins with. What is older than all that is kept is the oldest.
    pub(crate) fn find(&self, position: &Position) -> Result<i64, Invalid> {
        let log = self.log();
        let at = |index: usize| log.events.get(index).map_or(log.next, |event| event.sequence);
        let last = log.next - 1;
        match position {
            Position::Earliest => Ok(at(0)),
            Position::Latest => Ok(log.next),
            // Inclusive, the one to come is a place too.
            Position::Sequence { number, inclusive } if *number > last.saturating_add(i64::from(*inclusive)) => {
                Err(Invalid::Sequence { supplied: *number, last })
            }
            Position::Sequence { number, inclusive } => Ok((number + i64::from(!inclusive)).max(at(0))),
            Position::Offset { offset, inclusive } => {
                let last = log.last_offset.map(|last| self.offset(last));
                let known = Offset::parse(offset, self.replicated).filter(|it| last.is_some_and(|last| *it <= last));
                let Some(Offset { position, .. }) = known else {
                    let last = last.map_or_else(|| "-1".to_owned(), |last| last.to_string());
                    return Err(Invalid::Offset { supplied: offset.clone(), last });
                };
                let before = |event: &Event| event.offset < position || (event.offset == position && !inclusive);
                Ok(at(log.events.partition_point(before)))
            }
            Position::Enqueued { millis, inclusive } => {
                let before = |event: &Event| event.enqueued < *millis || (event.enqueued == *millis && !inclusive);
                Ok(at(log.events.partition_point(before)))
            }
        }
    }

    /// Events from there on, or from the oldest, until they are so many bytes; one at least, if there is any.
    pub(crate) fn read(&self, from: i64, bytes: usize) -> Vec<Event> {
        let log = self.log();
        let Some(oldest) = log.events.front() else { return Vec::new() };
        let skipped = usize::try_from(from.saturating_sub(oldest.sequence)).unwrap_or(0);
        let mut total = 0;
        let fits = |event: &&Event| {
            let first = total == 0;
            total += event.message.len();
            first || total <= bytes
        };
        log.events.iter().skip(skipped).take_while(fits).cloned().collect()
    }

    pub(crate) fn state(&self) -> PartitionState {
        let log = self.log();
        PartitionState {
            begin: log.events.front().map_or(log.next, |event| event.sequence),
            last: log.next - 1,
            last_offset: log.last_offset.map(|offset| self.offset(offset)),
            last_enqueued: log.last_enqueued,
            empty: log.events.is_empty(),
        }
    }

    /// Follows the sequence number that comes next.
    pub(crate) fn follow(&self) -> watch::Receiver<i64> {
        self.next.subscribe()
    }

    fn offset(&self, position: u64) -> Offset {
        Offset { position, replicated: self.replicated }
    }

    /// The log, without what is not to be kept any more.
    fn log(&self) -> MutexGuard<'_, Log> {
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        let age = i64::try_from(self.retention.age.as_millis()).unwrap_or(i64::MAX);
        let oldest = self.clock.now().saturating_sub(age);
        while let Some(first) = log.events.front()
            && (first.enqueued < oldest || log.events.len() > self.retention.events || log.bytes > self.retention.bytes)
        {
            log.bytes -= first.message.len();
            log.events.pop_front();
        }
        log
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> Message {
        let body = [&[0, 0x53, 0x75, 0xa0, u8::try_from(text.len()).unwrap()][..], text.as_bytes()].concat();
        Message::parse(&body.into()).unwrap()
    }

    fn filled(count: usize, retention: Retention, clock: &Clock) -> Partition {
        let partition = Partition::new(retention, false, clock.clone());
        for index in 0..count {
            clock.set(1000 + 10 * i64::try_from(index).unwrap());
            partition.append(&[message("x")]);
        }
        partition
    }

    fn sequences(partition: &Partition, from: i64) -> Vec<i64> {
        partition.read(from, usize::MAX).iter().map(|event| event.sequence).collect()
    }

    #[test]
    fn a_partition_that_never_had_an_event_says_so() {
        let partition = Partition::new(Retention::default(), false, Clock::at(0));
        let state = PartitionState { begin: 0, last: -1, last_offset: None, last_enqueued: NEVER, empty: true };
        assert_eq!(partition.state(), state);
        for position in [Position::Earliest, Position::Latest, Position::Enqueued { millis: 5, inclusive: false }] {
            assert_eq!(partition.find(&position), Ok(0));
        }
        assert_eq!(partition.find(&Position::Sequence { number: -1, inclusive: false }), Ok(0));
        assert!(partition.read(0, 10).is_empty());
    }

    #[test]
    fn sequence_numbers_are_in_a_row_and_offsets_are_not_sequence_numbers() {
        let partition = filled(3, Retention::default(), &Clock::at(0));
        assert_eq!(sequences(&partition, 0), [0, 1, 2]);
        let state = partition.state();
        assert_eq!((state.begin, state.last, state.last_enqueued, state.empty), (0, 2, 1020, false));
        assert!(state.last_offset.unwrap().position > 100);
    }

    #[test]
    fn positions_are_found() {
        let partition = filled(5, Retention::default(), &Clock::at(0));
        let offset = partition.read(2, 1)[0].offset.to_string();
        let sequence = |number, inclusive| Position::Sequence { number, inclusive };
        let time = |millis, inclusive| Position::Enqueued { millis, inclusive };
        for (position, from) in [
            (Position::Earliest, 0),
            (Position::Latest, 5),
            (sequence(-1, false), 0),
            (sequence(2, false), 3),
            (sequence(2, true), 2),
            (sequence(4, false), 5),
            (sequence(5, true), 5),
            (Position::Offset { offset: offset.clone(), inclusive: false }, 3),
            (Position::Offset { offset, inclusive: true }, 2),
            (time(1020, false), 3),
            (time(1020, true), 2),
            (time(1015, false), 2),
            (time(0, false), 0),
            (time(9999, false), 5),
        ] {
            assert_eq!(partition.find(&position), Ok(from), "{position:?}");
        }
    }

    #[test]
    fn positions_beyond_the_end_are_invalid() {
        let partition = filled(3, Retention::default(), &Clock::at(0));
        let supplied = Position::Sequence { number: 488, inclusive: false };
        assert_eq!(partition.find(&supplied), Err(Invalid::Sequence { supplied: 488, last: 2 }));
        let supplied = Position::Sequence { number: i64::MAX, inclusive: true };
        assert_eq!(partition.find(&supplied), Err(Invalid::Sequence { supplied: i64::MAX, last: 2 }));
        for offset in ["99999999", "1:0", "abc"] {
            let found = partition.find(&Position::Offset { offset: offset.into(), inclusive: false });
            assert!(matches!(found, Err(Invalid::Offset { supplied, .. }) if supplied == offset));
        }
    }

    #[test]
    fn what_is_below_retention_is_the_oldest_that_is_kept() {
        let clock = Clock::at(0);
        let partition = filled(10, Retention { events: 4, ..Retention::default() }, &clock);
        assert_eq!(partition.state().begin, 6);
        assert_eq!(partition.find(&Position::Sequence { number: 2, inclusive: false }), Ok(6));
        assert_eq!(partition.find(&Position::Offset { offset: "0".into(), inclusive: false }), Ok(6));
        assert_eq!(sequences(&partition, 1), [6, 7, 8, 9]);
        assert_eq!(sequences(&partition, 8), [8, 9]);
    }

    #[test]
    fn what_is_too_old_or_too_much_is_gone() {
        let clock = Clock::at(0);
        let aged = filled(5, Retention { age: Duration::from_millis(25), ..Retention::default() }, &clock);
        assert_eq!(aged.state().begin, 2);
        clock.set(100_000);
        let state = aged.state();
        assert_eq!((state.begin, state.last, state.empty, state.last_enqueued), (5, 4, true, 1040));
        assert_eq!(aged.find(&Position::Earliest), Ok(5));

        let one = filled(1, Retention::default(), &clock).read(0, 1)[0].message.len();
        let bounded = filled(5, Retention { bytes: 2 * one + 4, ..Retention::default() }, &clock);
        assert_eq!(sequences(&bounded, 0), [3, 4]);
    }

    #[test]
    fn reads_are_bounded_in_bytes_and_have_one_event_at_least() {
        let partition = filled(5, Retention::default(), &Clock::at(0));
        let one = partition.read(1, 1);
        assert_eq!(one.len(), 1);
        assert_eq!(partition.read(0, 2 * one[0].message.len() + 1).len(), 2);
        assert!(partition.read(5, 1).is_empty());
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_turn_the_order_of_times() {
        let clock = Clock::at(0);
        let partition = filled(2, Retention::default(), &clock);
        clock.set(500);
        partition.append(&[message("late")]);
        assert_eq!(partition.state().last_enqueued, 1010);
    }
}
