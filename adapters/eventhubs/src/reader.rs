//! Reading a partition.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use strait_core::{Budget, Error, ErrorKind, Id, Lag, Message, Position, Result};
use strait_kit::{Page, Reader, Record, Start};
use tokio::time::Instant;

use crate::{
    client::{Client, Events, PartitionProperties, Place, Read},
    error::Failed,
};

/// After how long without an event an empty page is told.
const PATIENCE: Duration = Duration::from_secs(1);
/// How often the service is asked for the properties of a partition where nothing comes.
const LOOK: Duration = Duration::from_secs(10);
/// Most bytes that a reader holds by itself, which is what the service sends in half a second to a namespace of one unit; and
/// fewest, unless it is opened with less.
const MOST_AHEAD: usize = 1 << 20;
const LEAST_AHEAD: usize = 32 << 10;
/// The header of what cannot be decoded.
const FLAW: &str = "strait-eventhubs-flaw";

/// Reads a partition by a link. Sequence numbers have no holes, but where events expired.
#[derive(Debug)]
pub(crate) struct PartitionReader {
    client: Arc<Client>,
    partition: Arc<str>,
    /// None where the place to read from is not there.
    events: Option<Events>,
    /// What came and is not handed out.
    came: VecDeque<Read>,
    /// The sequence number that comes next, where that is known.
    next: Option<u64>,
    /// The time at which it was to start.
    since: Option<SystemTime>,
    looked: Option<Instant>,
    ahead: usize,
}

impl PartitionReader {
    pub(crate) async fn open(
        client: &Arc<Client>,
        group: &str,
        partition: &str,
        start: &Start,
        epoch: i64,
        ahead: usize,
    ) -> Result<Self> {
        let (place, next, since) = match start {
            Start::Earliest => (Place::Earliest, None, None),
            Start::Latest => (Place::Latest, None, None),
            Start::At(time) => (Place::At(*time), None, Some(*time)),
            Start::After(Position::Number(sequence)) => (Place::After(*sequence), sequence.checked_add(1), None),
            Start::After(position) => {
                let text = format!("eventhubs: {position:?} is no sequence number");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            other => return Err(Error::new(ErrorKind::Unsupported, format!("eventhubs: cannot start at {other:?}"))),
        };
        let ahead = ahead.min(MOST_AHEAD);
        let events = match client.open(partition, group, place, epoch).await? {
            Ok(events) => Some(events),
            Err(failed) if failed.is_no_place() && next.is_some() => None,
            Err(failed) => return Err(failed.into_error(&what(client, partition))),
        };
        let (client, partition, came) = (Arc::clone(client), partition.into(), VecDeque::new());
        Ok(Self { client, partition, events, came, next, since, looked: None, ahead })
    }

    async fn look(&self) -> Result<PartitionProperties> {
        self.client.partition_properties(&self.partition).await
    }

    /// Hands out what came, up to a hole that has to be looked into.
    fn take(&mut self, budget: Budget) -> Vec<Record> {
        let (mut records, mut bytes) = (Vec::new(), 0);
        while records.len() < budget.messages && bytes < budget.bytes {
            let Some(first) = self.came.front() else { break };
            let sequence = match (first, self.next) {
                (Read::Event(event), _) => event.sequence,
                (Read::Undecodable(undecodable), next) => undecodable.sequence.or(next),
            };
            let is_hole = self.next.is_some_and(|next| sequence.is_some_and(|sequence| sequence > next));
            let Some(sequence) = sequence.filter(|_| !is_hole) else { break };
            let came = self.came.pop_front();
            if self.next.is_some_and(|next| sequence < next) {
                continue; // it came before
            }
            self.next = Some(sequence + 1);
            let (message, stored_at) = if let Some(Read::Event(event)) = came {
                (event.message, event.stored_at)
            } else {
                tracing::warn!(partition = %self.partition, sequence, "an event cannot be decoded");
                (Message::new("").with_header(FLAW, "undecodable"), None)
            };
            let mut record = Record { message, position: Position::Number(sequence), stored_at };
            let log = [self.client.host().as_bytes(), self.client.hub.as_bytes(), self.partition.as_bytes()];
            let derived = || Id::derived(log.into_iter().chain([&sequence.to_be_bytes()[..]]));
            record.message.id = Some(record.message.id.unwrap_or_else(derived));
            bytes += record.message.size();
            records.push(record);
        }
        records
    }

    /// Finds out why the next event is not the expected one: events expired or were compacted, or its number is unknown.
    async fn look_into(&mut self) -> Result<Option<Page>> {
        let begin = begin(&self.look().await?);
        if let Some(trimmed) = self.trimmed(begin) {
            return Ok(Some(trimmed));
        }
        self.next = match self.came.front() {
            Some(Read::Event(event)) if event.sequence.is_some() => event.sequence,
            Some(Read::Undecodable(undecodable)) if undecodable.sequence.is_some() => undecodable.sequence,
            // At least: what comes behind it tells more.
            _ => Some(self.next.unwrap_or(begin)),
        };
        if let (Some(Read::Event(event)), Some(next)) = (self.came.front_mut(), self.next) {
            event.sequence.get_or_insert(next);
        }
        Ok(None)
    }

    /// Whether the next event is no longer stored, where the oldest one is that of this number.
    fn trimmed(&self, begin: u64) -> Option<Page> {
        let is_trimmed = self.next.is_some_and(|next| begin > next);
        is_trimmed.then(|| Page::Trimmed { oldest: Some(Position::Number(begin)) })
    }

    /// An empty page, which says how far it is behind if it is time to ask for that.
    async fn nothing(&mut self) -> Result<Page> {
        let mut page = (None, false);
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK) {
            let looked = self.look().await;
            self.looked = Some(Instant::now());
            let now = match looked {
                Ok(now) => now,
                Err(error) => {
                    tracing::debug!(partition = %self.partition, %error, "it is not known how far behind a partition is");
                    return Ok(Page::Records { records: Vec::new(), lag: None, caught_up: false, resume: None });
                }
            };
            if let Some(trimmed) = self.trimmed(begin(&now)) {
                return Ok(trimmed);
            }
            let behind = match (self.next, u64::try_from(now.last).ok()) {
                (_, None) => Some(0),
                (Some(next), Some(last)) => Some((last + 1).saturating_sub(next)),
                // Nothing came yet: there is nothing, or all is before the start.
                (None, Some(_)) => {
                    let newest = SystemTime::UNIX_EPOCH
                        .checked_add(Duration::from_millis(u64::try_from(now.last_enqueued).unwrap_or(0)));
                    let is_before = self.since.is_some_and(|since| newest.is_some_and(|newest| newest < since));
                    (now.is_empty || is_before).then_some(0)
                }
            };
            page = (behind.map(Lag::Messages), behind == Some(0));
        }
        Ok(Page::Records { records: Vec::new(), lag: page.0, caught_up: page.1, resume: None })
    }
}

/// The sequence number of the oldest event.
fn begin(properties: &PartitionProperties) -> u64 {
    u64::try_from(properties.begin).unwrap_or(0)
}

fn what(client: &Client, partition: &str) -> String {
    format!("cannot read partition {partition:?} of {:?}", client.hub)
}

#[async_trait]
impl Reader for PartitionReader {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        loop {
            let records = self.take(budget);
            if !records.is_empty() {
                return Ok(Page::Records { records, lag: None, caught_up: false, resume: None });
            }
            if !self.came.is_empty() {
                if let Some(page) = self.look_into().await? {
                    return Ok(page);
                }
                continue;
            }
            let Some(events) = &mut self.events else { return Ok(Page::Trimmed { oldest: None }) };
            if budget.bytes < self.ahead {
                // More members left than there were, or more partitions came, and the share of each is smaller.
                self.ahead = (self.ahead / 2).max(LEAST_AHEAD);
            }
            match events.next(budget.messages.max(1), self.ahead, PATIENCE).await {
                Ok(came) if came.is_empty() => return self.nothing().await,
                Ok(came) => self.came.extend(came),
                // A hub that was made again, and has come less far.
                Err(failed) if failed.is_no_place() && self.next.is_some() => {
                    return Ok(Page::Trimmed { oldest: None });
                }
                Err(failed) => return Err(failed.into_error(&what(&self.client, &self.partition))),
            }
        }
    }

    fn ahead(&self) -> usize {
        self.ahead
    }

    async fn close(self: Box<Self>) -> Result<()> {
        let Some(events) = self.events else { return Ok(()) };
        let what = format!("cannot detach from partition {:?} of {:?}", self.partition, self.client.hub);
        events.close().await.map_err(|failed: Failed| failed.into_error(&what))
    }
}
