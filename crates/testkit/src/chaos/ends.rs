use fastrand::Rng;
use strait_core::Message;
use strait_runtime::Outcome;
use tokio::{runtime::Builder, time::sleep};

use super::{
    Fired,
    handling::text,
    member::{Hand, Kind, Scene},
};
use crate::{
    GROUP, History, Name, Needs, Report, Rig,
    stage::{PATIENCE, key, millis},
};

/// How much there is to do.
const KEYS: usize = 40;
const EACH: std::ops::Range<usize> = 5..13;

/// Runs one seed, in a runtime of its own. Returns what its history says, and what went wrong how often.
///
/// # Panics
///
/// If it does not come to an end.
pub fn ends(rig: &dyn Rig, seed: u64) -> (Report, Fired) {
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    runtime.block_on(run(rig, seed))
}

async fn run(rig: &dyn Rig, seed: u64) -> (Report, Fired) {
    let mut rng = Rng::with_seed(seed);
    let channel = rig.channel(Needs::default()).await.unwrap();
    let scene = Scene { channel, can: rig.capabilities(), history: History::default() };
    scene.fill(rng.usize(EACH)).await;

    let mut play = Play { scene, crew: Vec::new(), hired: 0, fired: Fired::new() };
    for _ in 0..rng.usize(4..9) {
        play.act(&mut rng).await;
        sleep(millis(rng.u64(100..2000))).await;
    }
    while !play.crew.is_empty() {
        play.leave(0).await;
    }
    play.hire(Kind::last(), seed).await;
    play.scene.settled().await;
    play.leave(0).await;
    (play.scene.history.check(play.scene.can.is_ordered()), play.fired)
}

struct Play {
    scene: Scene,
    crew: Vec<Hand>,
    hired: usize,
    fired: Fired,
}

impl Play {
    /// Something happens to those who are there.
    async fn act(&mut self, rng: &mut Rng) {
        let chosen = rng.usize(..self.crew.len().max(1));
        match rng.u8(..10) {
            0..=3 if self.crew.len() < 3 => self.hire(Kind::by_chance(rng), rng.u64(..)).await,
            4..=6 if !self.crew.is_empty() => self.leave(chosen).await,
            7 if !self.crew.is_empty() => self.crew.swap_remove(chosen).kill(),
            8 | 9 if !self.crew.is_empty() => self.crew[chosen].cut_off(rng),
            _ if self.crew.is_empty() => self.hire(Kind::by_chance(rng), rng.u64(..)).await,
            _ => {}
        }
    }

    async fn hire(&mut self, kind: Kind, seed: u64) {
        self.hired += 1;
        self.crew.push(Hand::hire(&self.scene, self.hired, seed, kind).await);
    }

    async fn leave(&mut self, index: usize) {
        let hand = self.crew.swap_remove(index);
        let faults = hand.faults().clone();
        hand.leave().await;
        for (site, times) in faults.fired() {
            *self.fired.entry(site).or_default() += times;
        }
    }
}

impl Scene {
    /// Stores messages of each key.
    async fn fill(&self, each: usize) {
        let producer = self.channel.producer();
        for number in 0..each {
            let names: Vec<Name> = (0..KEYS).map(|of| (format!("k{of}-"), number)).collect();
            let batch: Vec<_> = names.iter().map(|name| Message::new(text(name)).with_key(key(&name.0))).collect();
            for (name, outcome) in names.into_iter().zip(producer.send(&batch).await) {
                self.history.sent(name, &Outcome::Sent(outcome.unwrap()));
            }
        }
    }

    /// Waits until nothing is left to be settled.
    async fn settled(&self) {
        for _ in 0..PATIENCE.as_millis() / 100 {
            if self.channel.left(GROUP).await == 0 {
                return;
            }
            sleep(millis(100)).await;
        }
        panic!("{} messages are left, and nobody works on them", self.channel.left(GROUP).await);
    }
}
