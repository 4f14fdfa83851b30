//! Records that a call brought, until their messages are handed out.

use std::{collections::VecDeque, time::SystemTime};

use aws_sdk_kinesis::types;
use bytes::Bytes;
use strait_core::{Budget, Id, Key, Message};
use strait_kit::Record;

use crate::{
    kpl::{self, Messages, Opened},
    position::position,
};

/// The header that says why a record that looks like an aggregate was delivered as it is.
const FLAW: &str = "strait-kpl-flaw";

/// Records, and what is left of the one whose messages are being handed out.
#[derive(Debug)]
pub(crate) struct Brought {
    /// Most bytes of a message: none is made larger here.
    most: usize,
    records: VecDeque<types::Record>,
    open: Option<Open>,
    bytes: usize,
}

#[derive(Debug)]
struct Open {
    sequence: String,
    stored_at: Option<SystemTime>,
    bytes: usize,
    messages: Opening,
    /// How many were handed out.
    place: usize,
    count: usize,
}

#[derive(Debug)]
enum Opening {
    One(Option<Box<Message>>),
    Several(Messages),
}

impl Brought {
    /// Nothing yet, of a stream whose records have so many bytes at most.
    pub(crate) fn new(most: usize) -> Self {
        Self { most, records: VecDeque::new(), open: None, bytes: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records.is_empty() && self.open.is_none()
    }

    /// How many bytes records have that were not handed out.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes records in. Of the first one so many messages are behind us; all, if it has fewer.
    pub(crate) fn fill(&mut self, records: Vec<types::Record>, behind: usize) {
        self.bytes += records.iter().map(size).sum::<usize>();
        self.records.extend(records);
        if behind > 0
            && let Some(mut open) = self.records.pop_front().map(|record| Open::new(record, self.most))
        {
            while open.place < behind && open.next().is_some() {}
            self.open = Some(open);
            self.drop_done();
        }
    }

    /// Hands out what fits. `log` is what ids are derived from, for messages that have none.
    pub(crate) fn take(&mut self, budget: Budget, log: &str) -> Vec<Record> {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while taken.len() < budget.messages && bytes < budget.bytes {
            self.drop_done();
            if self.open.is_none() {
                let Some(record) = self.records.pop_front() else { break };
                self.open = Some(Open::new(record, self.most));
            }
            let Some(open) = &mut self.open else { break };
            let place = (open.place as u64).to_be_bytes();
            let Some(mut record) = open.next() else { continue };
            let derived = || Id::derived([log.as_bytes(), open.sequence.as_bytes(), &place]);
            record.message.id = Some(record.message.id.unwrap_or_else(derived));
            bytes += record.message.size();
            taken.push(record);
        }
        self.drop_done();
        taken
    }

    /// Lets go of the record that is handed out, once all of its messages are.
    fn drop_done(&mut self) {
        if let Some(done) = self.open.take_if(|open| open.is_done()) {
            self.bytes -= done.bytes;
        }
    }
}

impl Open {
    fn new(record: types::Record, most: usize) -> Self {
        let bytes = size(&record);
        let stored_at = record.approximate_arrival_timestamp.and_then(|time| SystemTime::try_from(time).ok());
        let data = Bytes::from(record.data.into_inner());
        let (messages, count) = match kpl::open(&data) {
            Opened::Messages(messages) => {
                let count = messages.len();
                (Opening::Several(messages), count)
            }
            Opened::Plain(flaw) => {
                let mut message = Message::new(data);
                message.key = record.partition_key.and_then(|key| Key::new(&key).ok());
                if let Some(flaw) = flaw {
                    tracing::warn!(sequence = record.sequence_number, flaw = flaw.as_str(), "a record is no aggregate");
                    if message.size() + FLAW.len() + flaw.as_str().len() <= most {
                        message.headers.insert(FLAW, flaw.as_str());
                    }
                }
                (Opening::One(Some(Box::new(message))), 1)
            }
        };
        Self { sequence: record.sequence_number, stored_at, bytes, messages, place: 0, count }
    }

    /// Whether all its messages were handed out.
    fn is_done(&self) -> bool {
        self.place == self.count
    }

    fn next(&mut self) -> Option<Record> {
        let message = match &mut self.messages {
            Opening::One(message) => *message.take()?,
            Opening::Several(messages) => messages.next()?,
        };
        let position = position(&self.sequence, self.place, self.count);
        self.place += 1;
        Some(Record { message, position, stored_at: self.stored_at })
    }
}

/// How many bytes a record counts.
pub(crate) fn size(record: &types::Record) -> usize {
    record.data.as_ref().len() + record.partition_key.as_ref().map_or(0, String::len)
}
