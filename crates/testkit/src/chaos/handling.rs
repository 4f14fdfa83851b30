//! Handlers of a run: what they do is by chance, and all of it is noted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_runtime::{Delivery, Failure};
use tokio::time::{Instant, sleep};

use crate::{End, History, Name, Place, stage::millis};

/// How often a message is tried.
pub(super) const ATTEMPTS: u32 = 4;

/// What a handler does.
pub(super) struct Turn {
    pub(super) pause: Duration,
    pub(super) then: Then,
}

pub(super) enum Then {
    Process,
    Fail,
    FailFor(Duration),
    Reject,
    Panic,
    Hang,
}

/// A process that handles messages, as those see it who note what it does.
#[derive(Clone, Debug)]
pub(super) struct Process {
    pub(super) number: usize,
    pub(super) history: History,
    /// Whether it was killed: then its handlers say nothing any more.
    pub(super) dead: Arc<AtomicBool>,
    /// How long a handler may take.
    pub(super) time_out: Duration,
}

impl Process {
    pub(super) fn new(number: usize, history: &History, time_out: Duration) -> Self {
        Self { number, history: history.clone(), dead: Arc::default(), time_out }
    }

    /// Handles a delivery.
    pub(super) async fn handle(&self, delivery: &Delivery, turn: Turn) -> Result<(), Failure> {
        let mut running = Running::begin(self, delivery);
        sleep(turn.pause).await;
        match turn.then {
            Then::Hang => std::future::pending::<()>().await,
            Then::Panic => {
                running.fail();
                std::panic::resume_unwind(Box::new("as planned")); // without a word on stderr
            }
            Then::Fail => running.fail(),
            Then::FailFor(pause) => {
                running.fail();
                return Err(Failure::retry_after("as planned", pause));
            }
            Then::Reject => {
                running.end(End::GivenUp);
                return Err(Failure::reject("as planned"));
            }
            Then::Process => {
                running.end(End::Processed);
                return Ok(());
            }
        }
        Err(Failure::retry("as planned"))
    }
}

/// The text of a message, by its name.
pub(super) fn text((of_key, number): &Name) -> String {
    format!("{of_key}{number}")
}

/// The name of a message.
fn name(delivery: &Delivery) -> Name {
    let text = String::from_utf8_lossy(&delivery.message().payload).into_owned();
    let (of_key, number) = text.split_once('-').expect("it was sent here");
    (format!("{of_key}-"), number.parse().expect("it was sent here"))
}

/// An attempt that runs.
struct Running<'a> {
    process: &'a Process,
    name: Name,
    attempt: u64,
    delivery: &'a Delivery,
    begun: Instant,
    ended: bool,
}

impl<'a> Running<'a> {
    fn begin(process: &'a Process, delivery: &'a Delivery) -> Self {
        let name = name(delivery);
        let place = Place { member: process.number, source: delivery.partition().unwrap_or_default().into() };
        let attempt = process.history.started(name.clone(), place);
        Self { process, name, attempt, delivery, begun: Instant::now(), ended: false }
    }

    fn end(&mut self, end: End) {
        self.ended = true;
        let end = if self.delivery.is_lost() { End::Lost } else { end };
        self.process.history.ended(self.name.clone(), self.attempt, end);
    }

    fn fail(&mut self) {
        self.end(if self.delivery.attempt() >= ATTEMPTS { End::GivenUp } else { End::Failed });
    }
}

/// It is cancelled: out of time, which counts as an attempt, or with its worker, which does not; or its process died, and
/// then nobody says anything.
impl Drop for Running<'_> {
    fn drop(&mut self) {
        if self.ended || self.process.dead.load(Relaxed) {
        } else if self.begun.elapsed() >= self.process.time_out {
            self.fail();
        } else {
            self.end(End::Failed);
        }
    }
}

/// A turn that takes up to so long, of which so many in a hundred fail in one way or the other.
pub(super) fn turn(longest: u64, failing: u8) -> Turn {
    let then = match fastrand::u8(..100) {
        chance if chance >= failing => Then::Process,
        chance => match chance % 8 {
            0 => Then::Panic,
            1 => Then::Reject,
            2 => Then::FailFor(millis(fastrand::u64(..1000))),
            _ => Then::Fail,
        },
    };
    Turn { pause: millis(fastrand::u64(..longest)), then }
}
