use std::sync::Arc;

use strait_core::{Error, ErrorKind, Measure, Position, Result, planted};
use tokio::time;

use super::{
    Page, Reader, Start, Trimmed,
    consumer::{Shared, now},
    driver::{failed, pause},
};

/// The task that reads one tenure of a partition, until that is over or the partition ends.
///
/// After a failure it opens the partition again at the exact place: behind the last record that it brought.
pub(super) async fn read(shared: Arc<Shared>, number: u32) {
    let begin =
        shared.tenures().get(number).map(|tenure| (Arc::clone(&tenure.partition), tenure.epoch, tenure.begin()));
    let Some((partition, epoch, start)) = begin else { return };
    let mut place = Place { shared, number, partition, epoch, start, failures: 0 };
    loop {
        match place.read_on().await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => place.failed(error).await,
        }
    }
}

struct Place {
    shared: Arc<Shared>,
    number: u32,
    partition: Arc<str>,
    epoch: u64,
    start: Start,
    failures: u32,
}

impl Place {
    /// Opens the partition and reads until it fails. Returns whether to open it again.
    async fn read_on(&mut self) -> Result<bool> {
        let mut reader = self.shared.log.open(&self.partition, &self.start, self.epoch).await?;
        loop {
            let Some(room) = self.shared.tenures().get(self.number).map(|tenure| Arc::clone(&tenure.room)) else {
                return close(reader).await;
            };
            let budget = self.shared.tenures().room(self.number, &self.shared.settings);
            let Some(budget) = budget else { return close(reader).await };
            if budget.messages == 0 {
                room.notified().await;
                continue;
            }
            match reader.next(budget).await? {
                Page::Records { records, lag, caught_up } => {
                    self.failures = 0;
                    if let Some(lag) = lag {
                        self.shared.settings.observer.observe(Measure::Lag { partition: &self.partition, lag });
                    }
                    if let Some(last) = records.last() {
                        self.start = Start::After(last.position.clone());
                        self.shared.tenures().arrive(self.number, records);
                        self.shared.ready.notify_one();
                    } else {
                        self.found_nothing(caught_up);
                    }
                }
                Page::End { children } => {
                    if let Some(tenure) = self.shared.tenures().get_mut(self.number) {
                        tenure.children = Some(children);
                    }
                    return close(reader).await;
                }
                Page::Trimmed { oldest } => return Ok(self.trimmed(oldest.as_ref())),
            }
        }
    }

    fn found_nothing(&self, caught_up: bool) {
        let mut tenures = self.shared.tenures();
        if caught_up {
            tenures.caught_up(self.number);
        }
        if tenures.answered(now()) {
            self.shared.ready.notify_one();
        }
    }

    fn trimmed(&mut self, oldest: Option<&Position>) -> bool {
        let Self { partition, start, .. } = self;
        if self.shared.settings.trimmed == Trimmed::Skip || planted!("trimmed-place-skipped") {
            tracing::warn!(%partition, oldest = oldest.map(tracing::field::display), "what was to be read is no longer stored: it goes on at the oldest record");
            self.start = Start::Earliest;
            return true;
        }
        let oldest = oldest.map_or_else(String::new, |oldest| format!("; its oldest record is {oldest}"));
        let text = format!("partition {partition:?} is no longer stored from {start:?} on{oldest}");
        self.report(Error::new(ErrorKind::NotFound, text));
        false
    }

    /// Waits before the next attempt. What does not mend itself is also reported.
    async fn failed(&mut self, error: Error) {
        failed(&self.shared, "read", error.kind());
        self.failures += 1;
        tracing::warn!(partition = %self.partition, %error, failures = self.failures, "a partition cannot be read, and is tried again");
        let pause = error.pause(pause(self.failures));
        if !error.is_transient() {
            self.report(error);
        }
        if planted!("reopen-at-latest") {
            self.start = Start::Latest;
        }
        time::sleep(pause).await;
    }

    fn report(&self, error: Error) {
        self.shared.tenures().errors.push_back(error);
        self.shared.ready.notify_one();
    }
}

async fn close(reader: Box<dyn Reader>) -> Result<bool> {
    reader.close().await.map(|()| false)
}
