//! Seeded chaos: senders, members that come, go and are killed, and faults at every call, for a while. Then everything
//! heals, and the history is checked.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use strait_core::{Message, Ordering};
use strait_runtime::{
    AfterFailure, Backoff, DeadLetter, Outcome, Receiver, ReceiverSettings, Retry, Sender, SenderSettings, Worker,
};
use tokio::{
    runtime::Builder,
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{
    Fired,
    handling::{ATTEMPTS, Process, Then, Turn},
};
use crate::{
    Channel, Faults, FaultyConsumer, FaultyProducer, GROUP, History, Join, Member, Needs, Report, Rig,
    stage::{PATIENCE, key, millis, secs},
};

/// How much happens in a run.
const KEYS: usize = 6;
const MESSAGES: usize = 25;
const TIME_OUT: Duration = secs(12);

/// Runs one seed, in a runtime of its own. Returns what its history says, and what went wrong how often.
///
/// # Panics
///
/// If it does not come to an end.
pub fn storm(rig: &dyn Rig, seed: u64) -> (Report, Fired) {
    fastrand::seed(seed);
    let paused = rig.capabilities().paused;
    let runtime = Builder::new_current_thread().enable_all().start_paused(paused).build().unwrap();
    runtime.block_on(run(rig, seed))
}

async fn run(rig: &dyn Rig, seed: u64) -> (Report, Fired) {
    let mut rng = Rng::with_seed(seed);
    let ordering = rig.capabilities().ordering;
    let faults = Faults::by_chance(seed, rng.u32(2..15));
    let history = History::default();
    let channel: Arc<dyn Channel> = Arc::from(rig.channel(Needs::default()).await.unwrap());
    let scene = Scene { channel, ordering, faults: faults.clone(), history: history.clone() };

    let mut senders = JoinSet::new();
    for name in 0..KEYS {
        senders.spawn(scene.clone().send(format!("k{name}-"), rng.fork()));
    }
    let mut crew: Vec<Hand> = Vec::new();
    let mut rounds = 0;
    while !senders.is_empty() || rounds < 12 {
        rounds += 1;
        match rng.u8(..6) {
            0 | 1 if crew.len() < 3 => crew.push(scene.hire(rounds, rng.fork()).await),
            2 if !crew.is_empty() => crew.swap_remove(rng.usize(..crew.len())).leave().await,
            3 if !crew.is_empty() => crew.swap_remove(rng.usize(..crew.len())).kill(),
            _ => {}
        }
        let _ = timeout(millis(rng.u64(200..4000)), senders.join_next()).await; // whoever ends first
    }
    while let Some(sender) = senders.join_next().await {
        sender.unwrap();
    }
    faults.heal();
    crew.push(scene.hire(rounds + 1, rng.fork()).await);
    scene.settled().await;
    for hand in crew {
        hand.leave().await;
    }
    (history.check(ordering == Ordering::Key), faults.fired())
}

#[derive(Clone, Debug)]
struct Scene {
    channel: Arc<dyn Channel>,
    ordering: Ordering,
    faults: Faults,
    history: History,
}

impl Scene {
    /// Sends the messages of a key, each once the one before has its outcome.
    async fn send(self, of_key: String, mut rng: Rng) {
        let producer = FaultyProducer::new(self.channel.producer(), self.faults.clone());
        let mut settings = SenderSettings::default();
        settings.deadline = secs(if rng.bool() { 1 } else { rng.u64(2..30) });
        settings.after_failure = AfterFailure::Continue;
        let sender = Sender::new(producer, settings).unwrap();
        for number in 0..MESSAGES {
            let message = Message::new(format!("{of_key}{number}")).with_key(key(&of_key));
            let outcome: Outcome = sender.enqueue(message).await.unwrap().await;
            self.history.sent((of_key.clone(), number), &outcome);
            sleep(millis(rng.u64(..400))).await;
        }
        sender.close().await.unwrap();
    }

    /// A process that works on what comes, and now and then fails.
    async fn hire(&self, number: usize, mut rng: Rng) -> Hand {
        let member = self.channel.join(Join::with(&self.faults)).await.unwrap();
        let consumer = FaultyConsumer::new(Arc::clone(&member.consumer), &self.faults);
        let mut settings = ReceiverSettings::new(DeadLetter::Discard);
        settings.ordering = self.ordering;
        settings.in_flight = rng.usize(1..8);
        settings.buffer = settings.in_flight + rng.usize(..40);
        settings.retry = Retry::new(ATTEMPTS, Backoff::new(millis(50), secs(2)));
        settings.drain = secs(rng.u64(1..20));
        settings.meter = member.meter.clone();
        let receiver = Receiver::new(consumer, settings).unwrap();
        let stop = CancellationToken::new();
        let worker = Worker::new(receiver.clone()).timeout(TIME_OUT).stop_on(stop.clone().cancelled_owned());
        let process = Process::new(number, &self.history, TIME_OUT);
        let handling = process.clone();
        let working = tokio::spawn(worker.run(move |delivery, _| {
            let process = handling.clone();
            async move { process.handle(&delivery, turn()).await }
        }));
        Hand { member, stop, working, process }
    }

    async fn settled(&self) {
        for _ in 0..PATIENCE.as_millis() * 4 / 100 {
            if self.channel.left(GROUP).await == 0 {
                return;
            }
            sleep(millis(100)).await;
        }
        panic!("{} messages are left, and nobody works on them", self.channel.left(GROUP).await);
    }
}

/// What a handler does in a storm.
fn turn() -> Turn {
    let then = match fastrand::u8(..100) {
        0..3 => Then::Panic,
        3..5 => Then::Hang,
        5..15 => Then::Fail,
        15..17 => Then::Reject,
        _ => Then::Process,
    };
    let longest = if fastrand::u8(..6) == 0 { 10_000 } else { 60 };
    Turn { pause: millis(fastrand::u64(..longest)), then }
}

/// A process of the run.
struct Hand {
    member: Member,
    stop: CancellationToken,
    working: tokio::task::JoinHandle<strait_core::Result<()>>,
    process: Process,
}

impl Hand {
    async fn leave(self) {
        self.stop.cancel();
        let left = timeout(PATIENCE, self.working).await.expect("it ends");
        drop(left.unwrap()); // what the provider reported at closing does not matter here
    }

    fn kill(self) {
        self.process.dead.store(true, Relaxed);
        self.member.kill();
        self.working.abort();
    }
}
