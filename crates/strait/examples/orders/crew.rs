//! The members of the consumer groups, each in a task of its own.

use std::sync::Arc;

use strait::{Bus, Worker};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Error, accident::Accident};

#[derive(Debug)]
pub(crate) struct Crew {
    bus: Bus,
    members: usize,
    accident: Arc<Accident>,
    stop: CancellationToken,
    tasks: JoinSet<Result<(), Error>>,
    /// What the groups receive from.
    pub(crate) provider: String,
}

impl Crew {
    /// Nobody yet; everybody stops at `stop`.
    pub(crate) fn new(bus: Bus, members: usize, accident: Arc<Accident>, stop: CancellationToken) -> Self {
        Self { bus, members, accident, stop, tasks: JoinSet::new(), provider: String::new() }
    }

    /// Opens the receiver `name` for each member of its group, and lets each `work`.
    pub(crate) async fn hire<F>(&mut self, name: &'static str, work: impl Fn(Worker) -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<(), strait::Error>> + Send + 'static,
    {
        for member in 0..self.members {
            let receiver = self.bus.receiver(name).await?;
            self.provider = receiver.guarantees().provider.to_string();
            let work = work(Worker::new(receiver).stop_on(self.stop.clone().cancelled_owned()));
            let task = self.tasks.spawn(async move { Ok(work.await?) });
            if member == 0 && self.members > 1 {
                self.accident.choose(name, task);
            }
        }
        Ok(())
    }

    /// Adds a task that is no member of a group.
    pub(crate) fn add(&mut self, task: impl Future<Output = Result<(), Error>> + Send + 'static) {
        self.tasks.spawn(task);
    }

    /// Waits until somebody fails, or all are done. Cancel-safe.
    pub(crate) async fn done(&mut self) -> Result<(), Error> {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(outcome) => outcome?,
                Err(error) if error.is_cancelled() => {} // the accident
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
