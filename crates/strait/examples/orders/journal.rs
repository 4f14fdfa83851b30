//! Notes every delivery that a service handled: checks that they come in order, and leaves them in files on request.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::Serialize;
use serde_json::value::RawValue;
use strait::{Delivery, Entry, Message};
use tokio::sync::watch;

use crate::{accident::Accident, expected::Expected};

/// Which channel each receiver receives from.
pub(crate) const RECEIVERS: [(&str, &str); 7] = [
    ("payment", "orders"),
    ("management-orders", "orders"),
    ("shipping", "payments"),
    ("management-payments", "payments"),
    ("management-shipments", "shipments"),
    ("management-dead", "shipping-dead"),
    ("storefront", "status"),
];

/// How the attempt at a delivery ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Ending {
    Done,
    Retry,
    Rejected,
}

/// One delivery, as a service saw it.
#[derive(Debug)]
pub(crate) struct Seen {
    message: Message,
    id: String,
    partition: Option<String>,
    position: String,
    attempt: u32,
}

impl From<&Delivery> for Seen {
    fn from(delivery: &Delivery) -> Self {
        Self {
            message: delivery.message().clone(),
            id: delivery.id(),
            partition: delivery.partition().map(str::to_owned),
            position: delivery.origin().position().to_string(),
            attempt: delivery.attempt(),
        }
    }
}

impl From<&Entry<'_>> for Seen {
    fn from(entry: &Entry<'_>) -> Self {
        Self {
            message: entry.message().clone(),
            id: entry.id(),
            partition: entry.partition().map(str::to_owned),
            position: entry.origin().position().to_string(),
            attempt: entry.attempt(),
        }
    }
}

/// A line of the files.
#[derive(Serialize)]
struct Line<'a> {
    seq: u64,
    receiver: &'a str,
    ending: Ending,
    key: &'a str,
    id: &'a str,
    partition: Option<&'a str>,
    position: &'a str,
    attempt: u32,
    payload: &'a RawValue,
}

/// The journal; clones write the same one.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    book: Arc<Mutex<Book>>,
    /// Tells that something was handled.
    handled: watch::Sender<()>,
    accident: Arc<Accident>,
    /// Whether payment and shipping are left to other processes.
    apart: bool,
}

#[derive(Debug, Default)]
struct Book {
    files: HashMap<&'static str, (u64, BufWriter<File>)>,
    /// By receiver and key: the last number.
    last: HashMap<(&'static str, String), u64>,
    /// By receiver: all numbers.
    done: HashMap<&'static str, HashSet<u64>>,
    retried: HashSet<(&'static str, u64)>,
    out_of_order: u64,
    broken: Option<io::Error>,
}

impl Journal {
    /// A journal that writes into `directory`, if there is one. `apart`, it hears nothing of payment and shipping.
    pub(crate) fn create(directory: Option<&Path>, accident: Arc<Accident>, apart: bool) -> io::Result<Self> {
        let mut book = Book::default();
        for (_, channel) in RECEIVERS {
            if let (Some(directory), false) = (directory, book.files.contains_key(channel)) {
                let file = File::create(directory.join(format!("{channel}.jsonl")))?;
                book.files.insert(channel, (0, BufWriter::new(file)));
            }
        }
        Ok(Self { book: Arc::new(Mutex::new(book)), handled: watch::Sender::default(), accident, apart })
    }

    /// `receiver` handled a delivery. The `number` of what it is about only ever rises for a customer, except where
    /// messages come again.
    pub(crate) fn record(&self, receiver: &'static str, seen: &Seen, number: u64, ending: Ending) {
        let mut book = self.book();
        let key = seen.message.key.as_ref().map_or("", |key| key.as_str());
        if ending == Ending::Retry {
            book.retried.insert((receiver, number));
        } else if book.done.entry(receiver).or_default().insert(number) {
            let last = book.last.entry((receiver, key.to_owned())).or_default();
            let in_order = *last < number;
            *last = number.max(*last);
            book.out_of_order += u64::from(!in_order);
        }
        if let Err(error) = book.write(receiver, key, seen, ending) {
            book.broken.get_or_insert(error);
        }
        drop(book);
        self.handled.send_replace(());
        self.accident.count(receiver);
    }

    /// Changes whenever something is handled.
    pub(crate) fn follow(&self) -> watch::Receiver<()> {
        self.handled.subscribe()
    }

    /// Whether every receiver handled as many different messages as it must.
    pub(crate) fn is_complete(&self, expected: &Expected) -> bool {
        let book = self.book();
        let done = |receiver: &str| book.done.get(receiver).map_or(0, HashSet::len) as u64;
        let ours = |receiver: &&str| !self.apart || receiver.starts_with("management");
        ["payment", "management-orders", "shipping", "management-payments"]
            .into_iter()
            .filter(ours)
            .all(|receiver| done(receiver) == expected.orders)
            && done("management-shipments") == expected.labels()
            && done("management-dead") == expected.dead_lettered
    }

    pub(crate) fn out_of_order(&self) -> u64 {
        self.book().out_of_order
    }

    /// How many messages `receiver` had to try again, unless other processes do its work.
    pub(crate) fn retried(&self, receiver: &str) -> Option<u64> {
        let retried = self.book().retried.iter().filter(|(name, _)| *name == receiver).count() as u64;
        (!self.apart).then_some(retried)
    }

    /// Writes what is buffered.
    pub(crate) fn close(&self) -> io::Result<()> {
        let mut book = self.book();
        book.files.values_mut().try_for_each(|(_, file)| file.flush())?;
        book.broken.take().map_or(Ok(()), Err)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    fn write(&mut self, receiver: &'static str, key: &str, seen: &Seen, ending: Ending) -> io::Result<()> {
        let channel = RECEIVERS.iter().find(|(name, _)| *name == receiver).map(|(_, channel)| *channel);
        let Some((seq, file)) = channel.and_then(|channel| self.files.get_mut(channel)) else { return Ok(()) };
        *seq += 1;
        let line = Line {
            seq: *seq,
            receiver,
            ending,
            key,
            id: &seen.id,
            partition: seen.partition.as_deref(),
            position: &seen.position,
            attempt: seen.attempt,
            payload: serde_json::from_slice(&seen.message.payload)?,
        };
        serde_json::to_writer(&mut *file, &line)?;
        file.write_all(b"\n")
    }
}
