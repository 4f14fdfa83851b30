//! A log in memory whose partitions are read as they are written.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{Budget, Guarantees, Key, Message, Ordering, Position, Result};
use strait_kit::{Identity, Log, Page, Partition, Reader, Record, Start};
use tokio::{sync::Notify, time};

use crate::rows::Wire;

/// Partitions of records: which key, and its how manieth.
#[derive(Debug)]
pub(crate) struct Stream {
    partitions: Mutex<Vec<Vec<(u32, u64)>>>,
    appended: Vec<Notify>,
}

pub(crate) fn name(partition: usize) -> String {
    format!("p{partition}")
}

fn number(partition: &str) -> usize {
    partition.trim_start_matches('p').parse().expect("partitions are named so")
}

impl Stream {
    pub(crate) fn new(partitions: usize) -> Arc<Self> {
        Arc::new(Self {
            partitions: Mutex::new(vec![Vec::new(); partitions]),
            appended: (0..partitions).map(|_| Notify::new()).collect(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<(u32, u64)>>> {
        self.partitions.lock().expect("no test panics while holding this")
    }

    pub(crate) fn append(&self, key: u32, sequence: u64) {
        let partition = key as usize % self.appended.len();
        self.lock()[partition].push((key, sequence));
        self.appended[partition].notify_waiters();
    }
}

/// The log as a process sees it, until that is killed.
#[derive(Debug)]
pub(crate) struct View {
    pub(crate) stream: Arc<Stream>,
    pub(crate) wire: Arc<Wire>,
}

#[async_trait]
impl Log for View {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("test", "stream").with_ordering(Ordering::Key)
    }

    fn identity(&self) -> Option<Identity> {
        None
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        let count = self.stream.lock().len();
        Ok((0..count).map(|index| Partition::new(name(index))).collect())
    }

    async fn open(&self, partition: &str, start: &Start, _: u64, _: usize) -> Result<Box<dyn Reader>> {
        let next = match start {
            Start::After(Position::Number(last)) => usize::try_from(*last).expect("it is an index") + 1,
            _ => 0,
        };
        let (stream, wire) = (Arc::clone(&self.stream), Arc::clone(&self.wire));
        Ok(Box::new(Reading { stream, wire, partition: number(partition), next }))
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

struct Reading {
    stream: Arc<Stream>,
    wire: Arc<Wire>,
    partition: usize,
    next: usize,
}

#[async_trait]
impl Reader for Reading {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        if self.wire.is_killed() {
            std::future::pending::<()>().await;
        }
        let mut page = Vec::new();
        for wait in [true, false] {
            let mut appended = std::pin::pin!(self.stream.appended[self.partition].notified());
            appended.as_mut().enable();
            {
                let partitions = self.stream.lock();
                let new = partitions[self.partition].iter().enumerate().skip(self.next).take(budget.messages);
                page.extend(new.map(|(index, record)| (index, *record)));
            }
            if !page.is_empty() || !wait {
                break;
            }
            let _ = time::timeout(Duration::from_secs(1), appended).await;
        }
        self.next += page.len();
        let records = page.into_iter().map(|(index, (key, sequence))| Record {
            message: Message::new(format!("{sequence}")).with_key(Key::new(&format!("k{key}")).expect("it is short")),
            position: Position::Number(index as u64),
            stored_at: None,
        });
        Ok(Page::Records { records: records.collect(), lag: None, caught_up: false, resume: None })
    }

    fn ahead(&self) -> usize {
        0
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}
