//! What a batch becomes: records, and requests of them.
//!
//! Kinesis takes or refuses each record of a request for itself, so that a request never holds two records of a key: the
//! second might be stored without the first. What of a key does not fit into one record is in a later request, which is made
//! once the one before is stored.

use std::collections::{HashMap, VecDeque};

use strait_core::{Error, ErrorKind, Id, Key, Message, Receipt, Result};

use crate::{envelope::Envelope, kpl::Aggregate, position::position};

/// Most records of a request.
pub(crate) const REQUEST_RECORDS: usize = 500;
/// Most bytes of a request: of data and partition keys together.
pub(crate) const REQUEST_BYTES: usize = 10 << 20;

/// A record to be put.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) partition_key: String,
    pub(crate) explicit_hash_key: Option<String>,
    pub(crate) data: Vec<u8>,
    /// Where its messages are in the batch.
    places: Vec<usize>,
}

impl Record {
    /// As Kinesis counts them.
    fn bytes(&self) -> usize {
        self.data.len() + self.partition_key.len()
    }
}

/// The records of a batch that are still to be put, and what is known of its messages.
#[derive(Debug)]
pub(crate) struct Batch {
    /// Those of a key each, in order; those without a key each for itself.
    lanes: Vec<VecDeque<Record>>,
    outcomes: Vec<Option<Result<Receipt>>>,
}

impl Batch {
    /// Packs messages into records of at most `record_bytes`. `hash` says where the next record without a key goes.
    pub(crate) fn pack(
        envelope: Envelope,
        record_bytes: usize,
        messages: &[Message],
        mut hash: impl FnMut() -> u128,
    ) -> Self {
        let mut outcomes: Vec<Option<Result<Receipt>>> = Vec::new();
        outcomes.resize_with(messages.len(), || None);
        let mut keys: HashMap<Option<&Key>, usize> = HashMap::new();
        let mut packings: Vec<Packing<'_>> = Vec::new();
        for (place, message) in messages.iter().enumerate() {
            let key = message.key.as_ref();
            let index = *keys.entry(key).or_insert(packings.len());
            if index == packings.len() {
                packings.push(Packing { key, open: None, full: Vec::new(), refused: None });
            }
            if let Err(error) = packings[index].add(envelope, record_bytes, place, message, &mut hash) {
                outcomes[place] = Some(Err(error));
            }
        }
        let mut lanes: Vec<VecDeque<Record>> = Vec::new();
        for packing in packings {
            let is_keyed = packing.key.is_some();
            let records = packing.finish();
            if is_keyed {
                lanes.push(records.into());
            } else {
                lanes.extend(records.into_iter().map(|record| VecDeque::from([record])));
            }
        }
        Self { lanes, outcomes }
    }

    /// The next request: the first record of as many lanes as it has room for, with their numbers. Empty once there is
    /// nothing more to put. Each is to be [settled](Self::settle) before the next request is asked for.
    pub(crate) fn request(&mut self) -> Vec<(usize, Record)> {
        let (mut request, mut bytes) = (Vec::new(), 0);
        for (number, lane) in self.lanes.iter_mut().enumerate() {
            if request.len() == REQUEST_RECORDS {
                break;
            }
            let Some(record) = lane.front() else { continue };
            if request.is_empty() || bytes + record.bytes() <= REQUEST_BYTES {
                bytes += record.bytes();
                request.extend(lane.pop_front().map(|record| (number, record)));
            }
        }
        request
    }

    /// Takes down what became of a record: its sequence number, or why it was not stored. Then nothing behind it in its
    /// lane is put.
    pub(crate) fn settle(&mut self, lane: usize, record: &Record, outcome: Result<String>) {
        let count = record.places.len();
        let error = match outcome {
            Ok(sequence) => {
                for (index, place) in record.places.iter().enumerate() {
                    self.outcomes[*place] = Some(Ok(Receipt::new(position(&sequence, index, count))));
                }
                return;
            }
            Err(error) => error,
        };
        for place in &record.places {
            self.outcomes[*place] = Some(Err(error.clone()));
        }
        for place in self.lanes[lane].drain(..).flat_map(|record| record.places) {
            self.outcomes[place] = Some(Err(behind(&error)));
        }
    }

    /// What became of each message, in the order of the batch. Of what was never put nothing is known.
    pub(crate) fn outcomes(self, unknown: &Error) -> Vec<Result<Receipt>> {
        self.outcomes.into_iter().map(|outcome| outcome.unwrap_or_else(|| Err(unknown.clone()))).collect()
    }
}

/// What a message is told that was not sent, since one before it with its key failed.
fn behind(error: &Error) -> Error {
    let text = format!("not sent, since a message before it with its key failed: {error}");
    let behind = Error::new(error.kind(), text);
    match error.retry_after() {
        Some(pause) => behind.with_retry_after(pause),
        None => behind,
    }
}

/// Packs the messages of one key, or those without a key, into records.
struct Packing<'a> {
    key: Option<&'a Key>,
    /// What is being filled.
    open: Option<(Aggregate, Vec<usize>)>,
    full: Vec<Record>,
    /// Why a message of the key cannot be sent: those behind it are not sent either.
    refused: Option<Error>,
}

impl Packing<'_> {
    fn add(
        &mut self,
        envelope: Envelope,
        record_bytes: usize,
        place: usize,
        message: &Message,
        hash: &mut impl FnMut() -> u128,
    ) -> Result<()> {
        if let Some(error) = &self.refused {
            return Err(behind(error));
        }
        let added = match envelope {
            Envelope::Kpl => self.aggregate(record_bytes, place, message, hash),
            Envelope::Plain => plain(record_bytes, place, message).map(|record| self.full.push(record)),
        };
        self.refused = added.as_ref().err().filter(|_| self.key.is_some()).cloned();
        added
    }

    fn aggregate(
        &mut self,
        record_bytes: usize,
        place: usize,
        message: &Message,
        hash: &mut impl FnMut() -> u128,
    ) -> Result<()> {
        if let Some((aggregate, places)) = &mut self.open {
            if aggregate.push_within(message, record_bytes - aggregate.partition_key().len())? {
                places.push(place);
                return Ok(());
            }
            self.close();
        }
        // By the same measure as its plan, whatever the hash is: that has more digits or fewer.
        check_size(Envelope::Kpl.measure(message)?, record_bytes)?;
        let mut aggregate = self.key.map_or_else(|| Aggregate::keyless(hash()), Aggregate::of);
        aggregate.push(message)?;
        self.open = Some((aggregate, vec![place]));
        Ok(())
    }

    fn close(&mut self) {
        self.full.extend(self.open.take().map(|(aggregate, places)| Record {
            partition_key: aggregate.partition_key().to_owned(),
            explicit_hash_key: aggregate.explicit_hash_key().map(str::to_owned),
            data: aggregate.finish(),
            places,
        }));
    }

    fn finish(mut self) -> Vec<Record> {
        self.close();
        self.full
    }
}

fn check_size(bytes: usize, most: usize) -> Result<()> {
    if bytes <= most {
        return Ok(());
    }
    let text = format!("payload: the record would have {bytes} bytes, and may have {most}");
    Err(Error::new(ErrorKind::Invalid, text))
}

fn plain(record_bytes: usize, place: usize, message: &Message) -> Result<Record> {
    check_size(Envelope::Plain.measure(message)?, record_bytes)?;
    let key = message.key.as_ref().map(ToString::to_string);
    // A sender gives every message an id.
    let made_up = || message.id.unwrap_or(Id::from_bytes([0; 16])).to_string();
    Ok(Record {
        partition_key: key.unwrap_or_else(made_up),
        explicit_hash_key: None,
        data: message.payload.to_vec(),
        places: vec![place],
    })
}
