//! Reading a shard by asking for its records.

use std::time::Duration;

use aws_sdk_kinesis::{
    error::ProvideErrorMetadata as _, operation::get_records::GetRecordsOutput, primitives::DateTime,
};
use strait_aws::Call;
use strait_core::{ErrorKind, Result};

use super::{Answer, Fetch, Found, Shard};
use crate::{pace::Pace, place::Place};

/// Most records of a call.
const RECORDS: usize = 10_000;

/// Asks for the records of a shard.
#[derive(Debug)]
pub(crate) struct Polling {
    call: Call,
    /// What the next call is made with; none: one is to be asked for.
    iterator: Option<String>,
    pace: Pace,
    /// How many bytes may be held.
    ahead: usize,
    /// How many bytes a record has, as far as is known.
    record_bytes: usize,
}

/// An iterator, or why there is none.
enum Located {
    At(String),
    /// The service's clock has not reached the time to start at.
    Early,
}

impl Polling {
    /// `idle` is how long to wait where nothing comes, `ahead` how many bytes may be held. Until it is known how large
    /// records are they are taken to be as large as they may be.
    pub(crate) fn new(shard: &Shard, idle: Duration, ahead: usize) -> Self {
        Self {
            call: shard.call("read", "kinesis:GetRecords"),
            iterator: None,
            pace: Pace::new(idle),
            ahead,
            record_bytes: shard.stream.record_bytes,
        }
    }

    /// Asks for records, for so many bytes at most as far as their sizes are known.
    async fn ask(&mut self, shard: &mut Shard, bytes: usize) -> Result<Found> {
        if self.iterator.is_none() {
            match locate(shard).await? {
                Located::At(_) if shard.begins() => return Ok(Found::Trimmed(None)),
                Located::At(iterator) => self.iterator = Some(iterator),
                Located::Early => {
                    self.pace.answered(0, true);
                    return Ok(Found::Records);
                }
            }
        }
        let limit = (self.ahead.min(bytes) / self.record_bytes.max(1)).clamp(1, RECORDS);
        let request = shard.stream.client.get_records().set_shard_iterator(self.iterator.clone());
        let request = request.set_stream_arn(shard.stream.arn()).limit(i32::try_from(limit).unwrap_or(i32::MAX));
        match request.customize().interceptor(shard.clock.clone()).send().await {
            Ok(reply) => Ok(self.take_in(shard, reply, limit)),
            Err(error) if error.code() == Some("ExpiredIteratorException") => {
                // As it does where nobody asks for five minutes.
                self.iterator = None;
                if self.pace.refused() {
                    return Ok(Found::Again);
                }
                Err(self.call.error(ErrorKind::Unavailable, "iterators expire at once"))
            }
            Err(error) => match self.call.failed(&error) {
                error if error.kind() == ErrorKind::Throttled && self.pace.refused() => Ok(Found::Again),
                error => Err(error),
            },
        }
    }

    fn take_in(&mut self, shard: &mut Shard, reply: GetRecordsOutput, limit: usize) -> Found {
        let GetRecordsOutput { records, next_shard_iterator: next, millis_behind_latest, child_shards, .. } = reply;
        let behind = u64::try_from(millis_behind_latest.unwrap_or(0)).unwrap_or(0);
        let (count, bytes) = (records.len(), records.iter().map(|record| record.data.as_ref().len()).sum::<usize>());
        let found = shard.take_in(Answer {
            records,
            behind: Duration::from_millis(behind),
            // What is behind a full page may have been stored in the same millisecond.
            may_be_more: count >= limit,
            at: shard.clock.now(),
            continuation: None,
            end: next.is_none().then(|| child_shards.unwrap_or_default()),
        });
        match found {
            Found::Trimmed(_) => return found,
            // The same iterator, which may bring now what it did not.
            Found::Again => self.pace.answered(0, false),
            Found::Records => {
                if let Some(mean) = bytes.checked_div(count) {
                    // Of what grows less is asked for at once, of what shrinks eight times as much with each call: a shard
                    // with a backlog gives all that it may after a second, whatever size its first record was taken to have.
                    let mean = mean.max(1);
                    self.record_bytes = mean + self.record_bytes.saturating_sub(mean) / 8;
                }
                self.pace.answered(bytes, count == 0 && shard.is_caught_up());
                self.iterator = next;
            }
        }
        found
    }
}

impl Fetch for Polling {
    async fn fetch(&mut self, shard: &mut Shard, bytes: usize) -> Result<Found> {
        self.pace.wait().await;
        self.ask(shard, bytes).await
    }

    fn ahead(&self, brought: usize) -> usize {
        brought
    }
}

/// Asks for an iterator to the place where reading goes on.
async fn locate(shard: &mut Shard) -> Result<Located> {
    let call = shard.stream.call(&format!("find a place in shard {:?} of", shard.id), "kinesis:GetShardIterator");
    let request = shard.stream.client.get_shard_iterator().shard_id(&*shard.id);
    let request = request.set_stream_arn(shard.stream.arn()).set_stream_name(shard.stream.name_if_needed());
    let request = request.shard_iterator_type(shard.place().kind());
    let request = match shard.place() {
        Place::Oldest | Place::Newest => request,
        Place::Time(time) => request.timestamp(DateTime::from(*time)),
        Place::Behind { sequence, .. } | Place::Passed { sequence, .. } => request.starting_sequence_number(sequence),
    };
    match request.customize().interceptor(shard.clock.clone()).send().await {
        Ok(reply) => match reply.shard_iterator.filter(|iterator| !iterator.is_empty()) {
            Some(iterator) => Ok(Located::At(iterator)),
            None => Err(call.error(ErrorKind::Unavailable, "the answer has no iterator")),
        },
        Err(error) if shard.is_early(error.code()) => Ok(Located::Early),
        Err(error) => Err(call.failed(&error)),
    }
}
