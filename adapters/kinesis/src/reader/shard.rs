//! Where reading is in a shard, whichever way its records come.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_sdk_kinesis::types;
use strait_aws::Call;
use strait_core::{Budget, Lag, Position};
use strait_kit::{Page, Partition, Record, Start};
use tokio::time::Instant;

use super::Found;
use crate::{
    brought::Brought,
    clock::Clock,
    listing,
    place::{Place, is_behind},
    stream::Stream,
};

/// How long before an answer without records all that is stored was seen, in spite of whatever comes late. What is read twice
/// for it is dropped by the engine.
const LATE: Duration = Duration::from_mins(1);

/// A shard, and the place where reading goes on.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) stream: Stream,
    pub(crate) id: Arc<str>,
    /// What ids are derived from, for messages that have none.
    log: Arc<str>,
    /// That of the calls that read it.
    pub(crate) clock: Clock,
    /// Where a new iterator, or a new subscription, begins.
    place: Place,
    /// The time at which it was to start.
    start: Option<SystemTime>,
    /// Whether the record of the place comes next: if another one does, it is no longer stored.
    expects: bool,
    /// Whether the record of the place did not come though nothing was behind it.
    doubts: bool,
    brought: Brought,
    lag: Option<Lag>,
    caught_up: bool,
    /// Up to when all that was stored had come, by the time of the service, if nothing was behind it.
    seen: Option<SystemTime>,
    /// What the shard became, as its last answer said.
    end: Option<Vec<Partition>>,
}

/// What the service answered to a call, or pushed.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) records: Vec<types::Record>,
    /// How far they are behind the newest record.
    pub(crate) behind: Duration,
    /// Whether more may be stored though nothing is behind them.
    pub(crate) may_be_more: bool,
    /// When it was answered, by the time of the service.
    pub(crate) at: Option<SystemTime>,
    /// The number up to which the shard was read, of records or of none.
    pub(crate) continuation: Option<String>,
    /// What the shard became, if it ends here.
    pub(crate) end: Option<Vec<types::ChildShard>>,
}

impl Shard {
    pub(crate) fn new(stream: &Stream, id: &str, place: Place) -> Self {
        Self {
            id: id.into(),
            log: stream.arn.clone().unwrap_or_else(|| Arc::clone(&stream.name)),
            clock: Clock::default(),
            start: place.time(),
            place,
            expects: false,
            doubts: false,
            brought: Brought::new(stream.record_bytes),
            lag: None,
            caught_up: false,
            seen: None,
            end: None,
            stream: stream.clone(),
        }
    }

    /// A call that cannot do `verb` with the shard if it fails: `read`.
    pub(crate) fn call(&self, verb: &str, action: &'static str) -> Call {
        self.stream.call(&format!("{verb} shard {:?} of", self.id), action)
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// An iterator or a subscription begins at the place. Whether what was stored there may be forgotten, as far as a time
    /// tells that.
    pub(crate) fn begins(&mut self) -> bool {
        self.expects = matches!(self.place, Place::Behind { .. });
        self.doubts = false;
        match (&self.place, self.clock.now()) {
            (Place::Time(time), Some(now)) => self.stream.forgot(*time, now),
            (Place::Passed { since, .. }, _) => self.stream.forgets_within(since.elapsed()),
            (Place::Newest, now) => {
                // Should it end before anything came, another one must not pass what came meanwhile.
                let now = now.unwrap_or_else(SystemTime::now);
                (self.place, self.start) = (Place::Time(now), Some(now));
                false
            }
            _ => false,
        }
    }

    /// Whether the service's clock has not reached the time to start at, if it refused that with this code. Then nothing is
    /// known of what is stored.
    pub(crate) fn is_early(&mut self, code: Option<&str>) -> bool {
        let ahead = self.place.time().zip(self.clock.now()).is_some_and(|(time, now)| time >= now);
        let is_early = ahead && code == Some("InvalidArgumentException");
        if is_early {
            (self.lag, self.caught_up) = (None, false);
        }
        is_early
    }

    /// Takes in what came.
    pub(crate) fn take_in(&mut self, answer: Answer) -> Found {
        let Answer { records, behind, may_be_more, at, continuation, end } = answer;
        let mut skipped = 0;
        if self.expects
            && let Place::Behind { sequence, messages } = &self.place
        {
            match records.first() {
                Some(first) if first.sequence_number == *sequence => skipped = messages.unwrap_or(usize::MAX),
                Some(first) => return Found::Trimmed(Some(Position::from(&*first.sequence_number))),
                None if end.is_some() || self.stream.forgets_within(behind) => return Found::Trimmed(None),
                // A record that is stored may be missing in one answer: what is lost is so in the next one, too.
                None if behind.is_zero() && self.doubts => return Found::Trimmed(None),
                None if behind.is_zero() => {
                    self.doubts = true;
                    return Found::Again;
                }
                // It may take several calls to come to a record.
                None => {
                    (self.lag, self.caught_up) = (Some(Lag::Time(behind)), false);
                    return Found::Records;
                }
            }
            self.expects = false;
        }
        (self.lag, self.caught_up, self.seen) = (Some(Lag::Time(behind)), behind.is_zero() && !may_be_more, at);
        if let Some(last) = records.last() {
            self.place = Place::Behind { sequence: last.sequence_number.clone(), messages: None };
        } else if let Some(sequence) = continuation.filter(|sequence| is_behind(sequence, &self.place)) {
            self.place = Place::Passed { sequence, since: Instant::now() };
        }
        self.brought.fill(records, skipped);
        self.end = end.map(|children| children.into_iter().map(listing::child).collect());
        Found::Records
    }

    /// What is there without another answer: records that came, or the end.
    pub(crate) fn page(&mut self, budget: Budget) -> Option<Page> {
        let records = self.brought.take(budget, &self.log);
        if !records.is_empty() {
            return Some(self.records(records));
        }
        self.end.as_ref().map(|children| Page::End { children: children.clone() })
    }

    /// Whether neither a record came, nor the end.
    pub(crate) fn has_nothing(&self) -> bool {
        self.brought.is_empty() && self.end.is_none()
    }

    /// A page without records.
    pub(crate) fn nothing(&self) -> Page {
        self.records(Vec::new())
    }

    /// Whether nothing is stored behind what came.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.caught_up
    }

    /// How many bytes it holds that were not handed out.
    pub(crate) fn brought(&self) -> usize {
        self.brought.bytes()
    }

    /// Records that are handed out, and how far behind they end.
    fn records(&self, records: Vec<Record>) -> Page {
        let caught_up = self.caught_up && self.brought.is_empty();
        let seen = self.seen.filter(|_| caught_up).map(|at| at - LATE);
        // What is before the start is not this group's.
        let resume = seen.map(|seen| Start::At(self.start.map_or(seen, |start| start.max(seen))));
        Page::Records { records, lag: self.lag, caught_up, resume }
    }
}
