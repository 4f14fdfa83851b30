//! A process of a run that ends: how it consumes, and how it goes.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use strait_core::{ErrorKind, Result};
use strait_runtime::{Backoff, DeadLetter, Receiver, ReceiverSettings, Retry, Worker};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use super::handling::{ATTEMPTS, Process, turn};
use crate::{
    Capabilities, Channel, Close, Departure, Fault, Faults, FaultyConsumer, History, How, Join, Member, Site,
    Unsettled,
    stage::{PATIENCE, millis, secs},
};

/// How long a handler takes at most.
const LONGEST: u64 = 500;

/// How many in a hundred handlers fail.
const FAILING: u8 = 12;

/// How long it may take at most from the end of a handler until its message is settled, if not every call fails.
const SETTLING: Duration = secs(5);

/// How long a close may take once its last handler has ended: for calls that are slow, or fail a few times.
const CLOSING: Duration = secs(20);

/// How much of the time to drain is kept for giving back, or half of it.
const RESERVE: Duration = secs(3);

/// How often a call goes wrong in a row at most.
const IN_A_ROW: u32 = 3;

/// Where processes come and go.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) channel: Box<dyn Channel>,
    pub(super) can: Capabilities,
    pub(super) history: History,
}

/// What a process is like.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kind {
    in_flight: usize,
    buffer: usize,
    drain: Duration,
    /// Whether it receives and starts handlers by itself, and has no worker for that.
    by_hand: bool,
    /// How often its calls go wrong, in percent.
    chance: u32,
}

impl Kind {
    /// One by chance: most hold hundreds of messages, and have time to settle all that they have started.
    pub(super) fn by_chance(rng: &mut Rng) -> Self {
        let buffer = [24, 200, 400, 1024][rng.usize(..4)];
        let drain = if rng.u8(..4) == 0 { rng.u64(2..8) } else { rng.u64(120..200) };
        Self { in_flight: rng.usize(1..12), buffer, drain: secs(drain), by_hand: rng.bool(), chance: rng.u32(2..12) }
    }

    /// One that settles what is left.
    pub(super) fn last() -> Self {
        Self { in_flight: 32, buffer: 1024, drain: secs(120), by_hand: false, chance: 0 }
    }
}

/// A process of the run.
pub(super) struct Hand {
    kind: Kind,
    faults: Faults,
    member: Member,
    stop: CancellationToken,
    working: JoinHandle<Result<()>>,
    process: Process,
    hired: Instant,
    is_log: bool,
}

impl Hand {
    /// A process that begins to consume. `seed` is that of what goes wrong with its calls.
    pub(super) async fn hire(scene: &Scene, number: usize, seed: u64, kind: Kind) -> Self {
        let Scene { channel, can, history } = scene;
        let faults = Faults::passing(seed, kind.chance, IN_A_ROW);
        let mut join = Join::with(&faults);
        // Long enough for whatever is started to be settled.
        (join.buffer, join.grace) = (Some(kind.buffer), Some(secs(200)));
        let member = channel.join(join).await.unwrap();
        let consumer = FaultyConsumer::new(Arc::clone(&member.consumer), &faults);
        let mut settings = ReceiverSettings::new(DeadLetter::Discard);
        settings.ordering = can.ordering;
        (settings.in_flight, settings.buffer, settings.drain) = (kind.in_flight, kind.buffer, kind.drain);
        settings.prefetch = Some(kind.buffer); // so that it is full, also on a queue
        settings.retry = Retry::new(ATTEMPTS, Backoff::new(millis(50), millis(800)));
        settings.meter = member.meter.clone();
        let receiver = Receiver::new(consumer, settings).unwrap();
        let (stop, process) = (CancellationToken::new(), Process::new(number, history, PATIENCE));
        let working = if kind.by_hand {
            tokio::spawn(work(receiver, process.clone(), stop.clone()))
        } else {
            let process = process.clone();
            tokio::spawn(Worker::new(receiver).stop_on(stop.clone().cancelled_owned()).run(move |delivery, _| {
                let process = process.clone();
                async move { process.handle(&delivery, turn(LONGEST, FAILING)).await }
            }))
        };
        Self { kind, faults, member, stop, working, process, hired: Instant::now(), is_log: can.is_log() }
    }

    /// What goes wrong with its calls.
    pub(super) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// From now on it receives nothing: every call fails, or is asked for patience.
    pub(super) fn cut_off(&self, rng: &mut Rng) {
        let fault =
            if rng.bool() { Fault::Fail(ErrorKind::Unavailable) } else { Fault::Patience(secs(rng.u64(1..90))) };
        self.faults.always(Site::Receive, fault);
    }

    /// Closes, and notes how that went.
    pub(super) async fn leave(mut self) {
        let (begun, held) = (Instant::now(), self.member.meter.counts().buffered_messages);
        let unsettled = self.unsettled(); // as of now, since that is the most there can be
        self.stop.cancel();
        let outcome = timeout(PATIENCE, &mut self.working).await.expect("it ends").unwrap();
        let ended = Instant::now();
        let (drain, kept) = (self.kind.drain, self.faults.in_hand());
        let forced = (ended >= begun + drain - RESERVE.min(drain / 2)).then_some(unsettled);
        let close = Close { outcome, begun, ended, drain, rest: CLOSING, lag: millis(LONGEST), held, kept, forced };
        self.process.history.gone(self.process.number, self.departure(How::Closed(close)));
    }

    /// Is killed.
    pub(super) fn kill(self) {
        self.process.dead.store(true, Relaxed);
        self.member.kill();
        self.working.abort();
        let killed = How::Killed(self.unsettled());
        self.process.history.gone(self.process.number, self.departure(killed));
    }

    fn departure(&self, how: How) -> Departure {
        let claims_lost = usize::try_from(self.member.meter.counts().claims_lost).unwrap_or(usize::MAX);
        Departure { claims_lost, lost: self.faults.lost(), how }
    }

    /// What it has processed and perhaps not yet settled: what came since its calls last went well and, on a log, what was
    /// settled while something before it was not.
    fn unsettled(&self) -> Unsettled {
        let good = |site| self.faults.last_good(site).unwrap_or(self.hired);
        let is_log = self.is_log;
        let last = good(Site::Settle).min(good(if is_log { Site::Commit } else { Site::Delete }));
        let in_hand = if is_log { self.kind.buffer } else { self.kind.in_flight };
        Unsettled { since: last.checked_sub(SETTLING).unwrap_or(last), in_hand }
    }
}

/// Receives by hand: a task for each delivery, until nothing more comes.
async fn work(receiver: Receiver, process: Process, stop: CancellationToken) -> Result<()> {
    let mut running = JoinSet::new();
    let handling = async {
        loop {
            tokio::select! {
                delivery = receiver.recv() => {
                    let Some(delivery) = delivery? else { break };
                    let process = process.clone();
                    running.spawn(async move {
                        match process.handle(&delivery, turn(LONGEST, FAILING)).await {
                            Ok(()) => delivery.ack(),
                            Err(failure) => delivery.fail(failure),
                        }
                    });
                }
                Some(_) = running.join_next() => {}
            }
        }
        while running.join_next().await.is_some() {}
        Ok(())
    };
    let closing = async {
        stop.cancelled().await;
        receiver.close().await
    };
    let (handled, closed) = tokio::join!(handling, closing);
    handled.and(closed)
}
