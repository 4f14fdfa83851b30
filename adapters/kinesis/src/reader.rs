//! Reading a shard by polling.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_sdk_kinesis::{
    error::ProvideErrorMetadata as _, operation::get_records::GetRecordsOutput, primitives::DateTime,
};
use strait_aws::Call;
use strait_core::{Budget, ErrorKind, Lag, Position, Result};
use strait_kit::{Page, Partition, Reader, Record, Start};

use crate::{brought::Brought, clock::Clock, listing, pace::Pace, place::Place, stream::Stream};

/// Most records of a call.
const RECORDS: usize = 10_000;
/// How long before an answer without records all that is stored was seen, in spite of whatever comes late. What is read twice
/// for it is dropped by the engine.
const LATE: Duration = Duration::from_mins(1);

/// Reads a shard by asking for its records.
#[derive(Debug)]
pub(crate) struct ShardReader {
    stream: Stream,
    shard: Arc<str>,
    /// What ids are derived from, for messages that have none.
    log: Arc<str>,
    call: Call,
    clock: Clock,
    /// Where a new iterator begins.
    place: Place,
    /// The time at which it was to start.
    start: Option<SystemTime>,
    /// What the next call is made with; none: one is to be asked for.
    iterator: Option<String>,
    /// Whether the record of the place comes next: if another one does, it is no longer stored.
    expects: bool,
    pace: Pace,
    brought: Brought,
    /// How many bytes it may hold.
    ahead: usize,
    /// How many bytes a record has, as far as is known.
    record_bytes: usize,
    lag: Option<Lag>,
    caught_up: bool,
    /// What the shard became, as its last answer said.
    end: Option<Vec<Partition>>,
    /// Whether the record of the place did not come though nothing was behind it.
    doubts: bool,
}

/// What a call brought.
enum Found {
    /// Records to be handed out, or none.
    Records,
    /// Nothing that can be believed yet.
    Again,
    /// The place is no longer stored; the oldest one, if that is known.
    Trimmed(Option<Position>),
    /// The iterator has expired, as it does where nobody asks for five minutes.
    Expired,
}

/// An iterator, or why there is none.
enum Located {
    At(String),
    /// The service's clock has not reached the time to start at.
    Early,
    Trimmed,
}

impl ShardReader {
    /// `idle` is how long to wait where nothing comes, `ahead` how many bytes it may hold. Until it is known how large
    /// records are they are taken to be as large as they may be.
    pub(crate) fn new(stream: &Stream, shard: &str, place: Place, idle: Duration, ahead: usize) -> Self {
        Self {
            shard: shard.into(),
            log: stream.arn.clone().unwrap_or_else(|| Arc::clone(&stream.name)),
            call: stream.call(&format!("read shard {shard:?} of"), "kinesis:GetRecords"),
            clock: Clock::default(),
            start: place.time(),
            place,
            iterator: None,
            expects: false,
            pace: Pace::new(idle),
            brought: Brought::new(stream.record_bytes),
            ahead,
            record_bytes: stream.record_bytes,
            lag: None,
            caught_up: false,
            end: None,
            doubts: false,
            stream: stream.clone(),
        }
    }

    /// Asks for an iterator to the place where reading goes on.
    async fn locate(&self) -> Result<Located> {
        let call = self.stream.call(&format!("find a place in shard {:?} of", self.shard), "kinesis:GetShardIterator");
        let request = self.stream.client.get_shard_iterator().shard_id(&*self.shard);
        let request = request.set_stream_arn(self.stream.arn()).set_stream_name(self.stream.name_if_needed());
        let request = request.shard_iterator_type(self.place.kind());
        let request = match &self.place {
            Place::Oldest | Place::Newest => request,
            Place::Time(time) => request.timestamp(DateTime::from(*time)),
            Place::Behind { sequence, .. } => request.starting_sequence_number(sequence),
        };
        let reply = request.customize().interceptor(self.clock.clone()).send().await;
        let time = self.place.time();
        match reply {
            Ok(reply) => match reply.shard_iterator.filter(|iterator| !iterator.is_empty()) {
                Some(_) if time.zip(self.clock.now()).is_some_and(|(time, now)| self.stream.forgot(time, now)) => {
                    Ok(Located::Trimmed)
                }
                Some(iterator) => Ok(Located::At(iterator)),
                None => Err(call.error(ErrorKind::Unavailable, "the answer has no iterator")),
            },
            Err(error) => {
                let is_early = time.zip(self.clock.now()).is_some_and(|(time, now)| time >= now);
                if is_early && error.code() == Some("InvalidArgumentException") {
                    return Ok(Located::Early);
                }
                Err(call.failed(&error))
            }
        }
    }

    /// Asks for records, for so many bytes at most as far as their sizes are known. Cancel-safe: what is brought is taken in
    /// at once.
    async fn ask(&mut self, bytes: usize) -> Result<Found> {
        if self.iterator.is_none() {
            match self.locate().await? {
                Located::At(iterator) => self.iterator = Some(iterator),
                Located::Trimmed => return Ok(Found::Trimmed(None)),
                Located::Early => {
                    (self.lag, self.caught_up) = (None, false);
                    self.pace.answered(0, true);
                    return Ok(Found::Records);
                }
            }
            self.expects = matches!(self.place, Place::Behind { .. });
            self.doubts = false;
            if self.place == Place::Newest {
                // Should it expire before anything came, another one must not pass what came meanwhile.
                let now = self.clock.now().unwrap_or_else(SystemTime::now);
                (self.place, self.start) = (Place::Time(now), Some(now));
            }
        }
        let limit = (self.ahead.min(bytes) / self.record_bytes.max(1)).clamp(1, RECORDS);
        let request = self.stream.client.get_records().set_shard_iterator(self.iterator.clone());
        let request = request.set_stream_arn(self.stream.arn()).limit(i32::try_from(limit).unwrap_or(i32::MAX));
        match request.customize().interceptor(self.clock.clone()).send().await {
            Ok(reply) => Ok(self.take_in(reply, limit)),
            Err(error) if error.code() == Some("ExpiredIteratorException") => {
                self.iterator = None;
                Ok(Found::Expired)
            }
            Err(error) => Err(self.call.failed(&error)),
        }
    }

    fn take_in(&mut self, reply: GetRecordsOutput, limit: usize) -> Found {
        let behind = u64::try_from(reply.millis_behind_latest.unwrap_or(0)).unwrap_or(0);
        let (behind, is_over) = (Duration::from_millis(behind), reply.next_shard_iterator.is_none());
        let records = reply.records;
        let mut skipped = 0;
        if self.expects
            && let Place::Behind { sequence, messages } = &self.place
        {
            match records.first() {
                Some(first) if first.sequence_number == *sequence => skipped = messages.unwrap_or(usize::MAX),
                Some(first) => return Found::Trimmed(Some(Position::from(&*first.sequence_number))),
                None if is_over || self.stream.forgets_within(behind) => return Found::Trimmed(None),
                // A record that is stored may be missing in one answer: what is lost is so in the next one, too.
                None if behind.is_zero() && self.doubts => return Found::Trimmed(None),
                None if behind.is_zero() => {
                    self.doubts = true;
                    self.pace.answered(0, false);
                    return Found::Again;
                }
                // It may take several calls to come to a record.
                None => {
                    self.iterator = reply.next_shard_iterator;
                    (self.lag, self.caught_up) = (Some(Lag::Time(behind)), false);
                    self.pace.answered(0, false);
                    return Found::Records;
                }
            }
            self.expects = false;
        }
        // What is behind a full page may have been stored in the same millisecond.
        (self.lag, self.caught_up) = (Some(Lag::Time(behind)), behind.is_zero() && records.len() < limit);
        let bytes: usize = records.iter().map(|record| record.data.as_ref().len()).sum();
        if let Some(last) = records.last() {
            // Of what grows less is asked for at once, of what shrinks more by and by.
            let mean = (bytes / records.len()).max(1);
            self.record_bytes = mean.max(usize::midpoint(mean, self.record_bytes));
            self.place = Place::Behind { sequence: last.sequence_number.clone(), messages: None };
        }
        self.pace.answered(bytes, records.is_empty() && self.caught_up);
        self.brought.fill(records, skipped);
        self.iterator = reply.next_shard_iterator;
        if is_over {
            self.end = Some(reply.child_shards.unwrap_or_default().into_iter().map(listing::child).collect());
        }
        Found::Records
    }

    /// Records that are handed out, and how far behind they end.
    fn page(&self, records: Vec<Record>) -> Page {
        let caught_up = self.caught_up && self.brought.is_empty();
        let seen = self.clock.now().filter(|_| caught_up).map(|now| now - LATE);
        // What is before the start is not this group's.
        let resume = seen.map(|seen| Start::At(self.start.map_or(seen, |start| start.max(seen))));
        Page::Records { records, lag: self.lag, caught_up, resume }
    }
}

#[async_trait]
impl Reader for ShardReader {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        loop {
            let records = self.brought.take(budget, &self.log);
            if !records.is_empty() {
                return Ok(self.page(records));
            }
            if let Some(children) = &self.end {
                return Ok(Page::End { children: children.clone() });
            }
            self.pace.wait().await;
            match self.ask(budget.bytes).await {
                Ok(Found::Again) => {}
                Ok(Found::Records) => {
                    if self.brought.is_empty() && self.end.is_none() {
                        return Ok(self.page(Vec::new()));
                    }
                }
                Ok(Found::Trimmed(oldest)) => return Ok(Page::Trimmed { oldest }),
                Ok(Found::Expired) if self.pace.refused() => {}
                Ok(Found::Expired) => return Err(self.call.error(ErrorKind::Unavailable, "iterators expire at once")),
                Err(error) if error.kind() == ErrorKind::Throttled && self.pace.refused() => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn ahead(&self) -> usize {
        self.brought.bytes()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
