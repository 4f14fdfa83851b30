use std::{sync::Arc, time::Duration};

use strait_core::{Error, ErrorKind, Measure, Position, Result, planted};
use tokio::time;

use super::{
    Became, Page, Reader, Record, Start, Trimmed,
    consumer::{Shared, now},
    driver::{failed, lose, pause},
    pages::Measured,
    reading::{Ended, Stop},
    tenure::Tenure,
};
use crate::{compare, guard::guard};

/// How long a reader may take to close, and a partition to be opened that is not to be read any more.
const STOPPING: Duration = Duration::from_secs(2);

/// The task that reads one tenure of a partition, until that is over, the partition ends, or it is told to stop. It begins
/// once every `former` reader of the partition is closed, and ends once its own is.
///
/// After a failure, and a panic of the adapter is one, it opens the partition again at the exact place: behind the last
/// record that it brought.
pub(super) async fn read(shared: Arc<Shared>, number: u32, mut stop: Stop, former: Vec<Ended>) {
    for former in former {
        former.wait().await;
    }
    let begin = |tenure: &Tenure| (Arc::clone(&tenure.partition), tenure.epoch, tenure.begin(), tenure.settled.clone());
    let begin = shared.tenures().get(number).map(begin);
    let Some((partition, epoch, start, settled)) = begin else { return };
    let mut place = Place { shared, number, partition, epoch, start, settled, failures: 0, ahead: 0, is_read: false };
    loop {
        let went = match place.open(&mut stop).await {
            Some(Ok(reader)) => place.read_on(reader, &mut stop).await,
            Some(Err(error)) => Err(error),
            None => return,
        };
        match went {
            Ok(Then::Again) => {}
            Ok(Then::End) => return,
            Err(error) if error.kind() == ErrorKind::Lost && !planted!("cut-off-reader-opened-again") => {
                tracing::warn!(partition = %place.partition, %error, "the provider gave a partition to another reader");
                return lose(&place.shared, number);
            }
            Err(error) => {
                tokio::select! {
                    biased;
                    () = stop.told() => return,
                    () = place.failed(error) => {}
                }
            }
        }
    }
}

struct Place {
    shared: Arc<Shared>,
    number: u32,
    partition: Arc<str>,
    epoch: u64,
    start: Start,
    /// What may come again and is settled, until something comes that is behind it.
    settled: Option<Position>,
    failures: u32,
    /// How many bytes its reader may hold by itself.
    ahead: usize,
    /// Whether it was measured that it is read: since this task began, and since that failed.
    is_read: bool,
}

/// What follows once a reader is closed.
enum Then {
    /// The partition is opened again.
    Again,
    /// Nothing.
    End,
}

impl Place {
    /// Opens the partition, unless it is told to stop and that takes too long.
    async fn open(&self, stop: &mut Stop) -> Option<Result<Box<dyn Reader>>> {
        let ahead = self.shared.tenures().ahead(&self.shared.settings);
        let given_up = async {
            stop.told().await;
            time::sleep(STOPPING).await;
        };
        let open = || self.shared.log.open(&self.partition, &self.start, self.epoch, ahead);
        tokio::select! {
            biased;
            opened = guard(open) => Some(opened),
            () = given_up => None,
        }
    }

    /// Reads until it fails or is over, and closes the reader.
    async fn read_on(&mut self, mut reader: Box<dyn Reader>, stop: &mut Stop) -> Result<Then> {
        self.reads_ahead(reader.ahead());
        let went = loop {
            let went = tokio::select! {
                biased;
                () = stop.told() => break Ok(Then::End),
                went = self.read_page(&mut *reader) => went,
            };
            if let Some(over) = went.transpose() {
                break over;
            }
        };
        match time::timeout(STOPPING, guard(|| reader.close())).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(partition = %self.partition, %error, "a reader did not close in order"),
            Err(_) => tracing::warn!(partition = %self.partition, "a reader did not close in time, and was dropped"),
        }
        self.reads_ahead(0);
        went
    }

    /// Its reader may hold so many bytes by itself.
    fn reads_ahead(&mut self, bytes: usize) {
        if std::mem::replace(&mut self.ahead, bytes) != bytes {
            self.shared.tenures().reads_ahead(self.number, bytes);
        }
    }

    /// Waits for room, and reads a page. Returns what follows, once this reader has nothing more. Cancel-safe: a page is
    /// taken in as soon as it is read.
    async fn read_page(&mut self, reader: &mut dyn Reader) -> Result<Option<Then>> {
        let found = self.shared.tenures().room(self.number, &self.shared.settings);
        let Some((budget, room)) = found else { return Ok(Some(Then::End)) };
        let Some(budget) = budget else {
            room.notified().await;
            return Ok(None);
        };
        let page = guard(|| reader.next(budget)).await?;
        self.reads_ahead(reader.ahead());
        match page {
            Page::Records { mut records, lag, caught_up, resume } => {
                if std::mem::take(&mut self.failures) > 0 {
                    tracing::info!(partition = %self.partition, "a partition can be read again");
                }
                if !std::mem::replace(&mut self.is_read, true) {
                    self.observe(Measure::Reading { partition: &self.partition, failed: None });
                }
                if let Some(lag) = lag {
                    self.observe(Measure::Lag { partition: &self.partition, lag });
                }
                let start = records.last().map(|last| Start::After(last.position.clone()));
                self.drop_settled(&mut records)?;
                if let Some(start) = start {
                    self.start = start;
                }
                if records.is_empty() {
                    self.found_nothing(caught_up, resume);
                } else {
                    let page = Measured::new(records);
                    self.shared.tenures().arrive(self.number, page, resume);
                    self.shared.ready.notify_one();
                }
                Ok(None)
            }
            Page::End { children } => Ok(Some(self.ended(Became::Children(children)))),
            Page::Removed => Ok(Some(self.ended(Became::Nothing))),
            Page::Trimmed { oldest } => self.trimmed(oldest.as_ref()).map(Some),
        }
    }

    fn ended(&self, became: Became) -> Then {
        if let Some(tenure) = self.shared.tenures().get_mut(self.number) {
            tenure.became = Some(became);
        }
        self.shared.work.notify_one();
        Then::End
    }

    /// Drops what is settled of what comes first.
    fn drop_settled(&mut self, records: &mut Vec<Record>) -> Result<()> {
        let Some(settled) = self.settled.as_ref().filter(|_| !planted!("resume-forgets-what-is-settled")) else {
            return Ok(());
        };
        let mut count = 0;
        for record in &*records {
            if compare(&record.position, settled)?.is_gt() {
                self.settled = None;
                break;
            }
            count += 1;
        }
        records.drain(..count);
        Ok(())
    }

    fn found_nothing(&self, caught_up: bool, resume: Option<Start>) {
        let mut tenures = self.shared.tenures();
        if let Some(tenure) = tenures.get_mut(self.number)
            && resume.is_some()
        {
            tenure.resume = resume;
            tenure.stored.get_or_insert_with(now);
        }
        if caught_up {
            tenures.caught_up(self.number);
        }
        if tenures.answered(now()) {
            self.shared.ready.notify_one();
        }
    }

    fn trimmed(&mut self, oldest: Option<&Position>) -> Result<Then> {
        let Self { partition, start, .. } = self;
        let skips = self.shared.settings.trimmed == Trimmed::Skip || planted!("trimmed-place-skipped");
        if skips && *start != Start::Earliest {
            let oldest = oldest.map(tracing::field::display);
            tracing::warn!(%partition, oldest, "what was to be read is no longer stored: it goes on at the oldest record");
            self.start = Start::Earliest;
            return Ok(Then::Again);
        }
        let oldest = oldest.map_or_else(String::new, |oldest| format!("; its oldest record is {oldest}"));
        let text = format!("partition {partition:?} is no longer stored from {start:?} on{oldest}");
        Err(Error::new(ErrorKind::NotFound, text))
    }

    /// Waits before the next attempt. What does not mend itself is also reported.
    async fn failed(&mut self, error: Error) {
        failed(&self.shared, "read", error.kind());
        self.observe(Measure::Reading { partition: &self.partition, failed: Some(error.kind()) });
        (self.failures, self.is_read) = (self.failures.saturating_add(1), false);
        if self.failures == 1 {
            tracing::warn!(partition = %self.partition, %error, "a partition cannot be read, and is tried again");
        } else {
            tracing::debug!(partition = %self.partition, %error, failures = self.failures, "a partition still cannot be read");
        }
        let pause = error.pause(pause(self.failures));
        // An error of kind Closed would say that the consumer is.
        if !error.is_transient() && error.kind() != ErrorKind::Closed {
            self.shared.tenures().report(self.number, error);
            self.shared.ready.notify_one();
        }
        if planted!("reopen-at-latest") {
            self.start = Start::Latest;
        }
        time::sleep(pause).await;
    }

    /// Measures something of the partition, unless its release was measured before.
    fn observe(&self, measure: Measure<'_>) {
        let tenures = self.shared.tenures();
        if tenures.get(self.number).is_some() {
            self.shared.settings.observer.observe(measure);
        }
    }
}
