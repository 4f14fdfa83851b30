use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
};

use fe2o3_amqp_types::performatives::{Attach, Begin, Open};

use crate::wire::frame::Performative;

/// How many are kept, the newest.
const MOST: usize = 1000;

/// What a client sent when it connected, for golden tests.
#[derive(Clone, Debug)]
pub struct Record {
    /// The connection, counted from 0.
    pub connection: u64,
    /// What the client sent.
    pub sent: Recorded,
}

/// What is recorded of a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Recorded {
    /// The Open of a connection.
    Open(Box<Open>),
    /// The Begin of a session.
    Begin(Box<Begin>),
    /// The Attach of a link.
    Attach(Box<Attach>),
    /// A put-token request. The token itself is not kept.
    PutToken {
        /// The type of the token, such as `servicebus.windows.net:sastoken`.
        kind: String,
        /// The resource that the token is for.
        name: String,
        /// The names and types of all application properties.
        properties: Vec<(String, &'static str)>,
        /// Whether the token was accepted.
        accepted: bool,
    },
}

/// All records of an emulator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Records(Arc<Mutex<VecDeque<Record>>>);

impl Records {
    pub(crate) fn all(&self) -> Vec<Record> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn of(&self, connection: u64) -> Recorder {
        Recorder { records: self.clone(), connection }
    }
}

/// Records what is said on one connection.
#[derive(Clone, Debug)]
pub(crate) struct Recorder {
    records: Records,
    connection: u64,
}

impl Recorder {
    pub(crate) fn said(&self, said: Performative) {
        self.keep(match said {
            Performative::Open(open) => Recorded::Open(open),
            Performative::Begin(begin) => Recorded::Begin(begin),
            Performative::Attach(attach) => Recorded::Attach(attach),
        });
    }

    pub(crate) fn keep(&self, said: Recorded) {
        let mut records = self.records.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= MOST {
            records.pop_front();
        }
        records.push_back(Record { connection: self.connection, sent: said });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept() {
        let records = Records::default();
        let recorder = records.of(7);
        for index in 0..MOST + 2 {
            let (kind, name) = ("jwt".to_owned(), index.to_string());
            recorder.keep(Recorded::PutToken { kind, name, properties: Vec::new(), accepted: true });
        }
        let all = records.all();
        assert_eq!(all.len(), MOST);
        assert!(matches!(&all[0].sent, Recorded::PutToken { name, .. } if name == "2"));
        records.clear();
        assert!(records.all().is_empty());
    }
}
