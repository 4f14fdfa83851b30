//! What goes wrong, and how often, in one run.

use fastrand::Rng;
use strait_kit::{
    Identity, Start,
    coordination::{CoordinatorSettings, Event},
};

use bytes::Bytes;

use crate::{
    history::{Pid, Time, What},
    world::{Happening, SECOND, World},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Kill,
    Freeze,
    Outage,
    Deaf,
    Join,
    Leave,
    Storm,
    Split,
    Merge,
    DeleteMember,
    DeletePart,
    DeletePlan,
    Corrupt,
    Wall,
}

/// What a run is like.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing that may go wrong")]
pub(crate) struct Weather {
    pub(crate) processes: u32,
    pub(crate) partitions: u32,
    /// When all trouble ends.
    pub(crate) trouble: Time,
    /// The mean pause between faults.
    pub(crate) pause: Time,
    /// 0 for a network without faults, 1 for a bad one.
    pub(crate) network: f64,
    /// How often a process is killed at a step.
    pub(crate) kills: f64,
    /// How often a handler fails.
    pub(crate) failing: f64,
    /// How long most handlers take at most, and how often one takes seconds.
    handler: Time,
    slow: f64,
    /// Whether an operator changes rows.
    pub(crate) tampering: bool,
    walls: bool,
    latest: bool,
    /// Whether some processes cannot tell which log they read.
    nameless: bool,
    audit: u64,
}

impl Weather {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut chance = |share: f64| rng.f64() < share;
        let (calm, deadly, tampering, walls, latest, audits) =
            (chance(0.25), chance(0.4), chance(0.25), chance(0.4), chance(0.2), chance(0.5));
        Self {
            processes: rng.u32(1..5),
            partitions: rng.u32(1..9),
            trouble: rng.u64(40..90) * SECOND,
            pause: rng.u64(2..8) * SECOND,
            network: if calm { 0.0 } else { rng.f64() * 1.5 },
            kills: if deadly { 0.03 } else { 0.0 },
            failing: rng.f64() * 0.1,
            handler: rng.u64(1..150) * SECOND / 1000,
            slow: if rng.bool() { 0.01 } else { 0.0 },
            tampering: tampering && !latest,
            walls: walls && !latest,
            latest,
            nameless: tampering || rng.f64() < 0.2,
            // What an operator changes is mended by the next audit: there has to be one before the end.
            audit: if audits || (tampering && !latest) { 12 } else { 100 },
        }
    }

    /// Whether the way to the store is always good.
    pub(crate) fn is_calm(&self) -> bool {
        self.network == 0.0
    }

    pub(crate) fn settings(&self) -> CoordinatorSettings {
        let mut settings = CoordinatorSettings::default();
        settings.audit = std::time::Duration::from_secs(self.audit);
        settings.calls = 8;
        settings.start = if self.latest { Start::Latest } else { Start::Earliest };
        settings
    }

    /// Which log a process reads, as far as it can tell.
    pub(crate) fn log(&self, rng: &mut Rng) -> Option<Identity> {
        (!self.nameless || rng.bool()).then(|| Identity::new("log").with_made("first"))
    }

    pub(crate) fn wall_offset(&self, rng: &mut Rng) -> i64 {
        if self.walls { [0, 3600, -3600, 86_400, -86_400][rng.usize(0..5)] } else { 0 }
    }

    pub(crate) fn handler(&self, rng: &mut Rng, quiet: bool) -> Time {
        if !quiet && rng.f64() < self.slow { rng.u64(SECOND..9 * SECOND) } else { rng.u64(500..self.handler.max(501)) }
    }

    pub(crate) fn fault(&self, rng: &mut Rng) -> Fault {
        use Fault::{
            Corrupt, Deaf, DeleteMember, DeletePart, DeletePlan, Freeze, Join, Kill, Leave, Merge, Outage, Split,
            Storm, Wall,
        };
        if self.tampering && rng.f64() < 0.3 {
            return [DeleteMember, DeletePart, DeletePlan, Corrupt][rng.usize(0..4)];
        }
        if self.walls && rng.f64() < 0.2 {
            return Wall;
        }
        let (outage, deaf) = if self.is_calm() { (Kill, Join) } else { (Outage, Deaf) };
        [Kill, Freeze, outage, deaf, Join, Join, Leave, Storm, Split, Split, Merge][rng.usize(0..11)]
    }
}

impl World {
    fn living(&self) -> Vec<Pid> {
        (0..self.processes.len()).filter(|pid| self.processes[*pid].alive && !self.processes[*pid].leaving).collect()
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> Option<T> {
        if list.is_empty() { None } else { Some(list[self.rng.usize(0..list.len())]) }
    }

    /// Whether a process may be killed: somebody else starts in its place.
    pub(crate) fn may_die(&self, pid: Pid) -> bool {
        !self.quiet && self.processes[pid].alive
    }

    pub(crate) fn kill(&mut self, pid: Pid) {
        self.processes[pid].alive = false;
        self.note(What::Died { pid });
        let after = self.rng.u64(0..20 * SECOND).min(self.weather.trouble - self.now);
        self.at(after, Happening::Begin);
    }

    pub(crate) fn is_cut_off(&self, pid: Pid) -> bool {
        self.now < self.outage.0 && self.outage.1.is_none_or(|cut| cut == pid)
    }

    pub(crate) fn strike(&mut self, fault: Fault) {
        if self.quiet {
            return;
        }
        let living = self.living();
        let shards = self.log.open_shards();
        match fault {
            Fault::Kill => {
                let Some(pid) = self.pick(&living) else { return };
                self.fire("killed");
                self.kill(pid);
            }
            Fault::Freeze => {
                let Some(pid) = self.pick(&living) else { return };
                let long = [5, 9, 10, 15, 30][self.rng.usize(0..5)] * SECOND + self.rng.u64(0..SECOND);
                let long = long.min(self.weather.trouble - self.now);
                self.processes[pid].frozen = self.now + long;
                self.fire(if long > 10 * SECOND { "frozen beyond the expiry" } else { "frozen within the expiry" });
            }
            Fault::Outage => {
                let long = self.rng.u64(SECOND..14 * SECOND);
                let whose = if self.rng.bool() { self.pick(&living) } else { None };
                self.outage = (self.now + long, whose);
            }
            Fault::Deaf => {
                let Some(pid) = self.pick(&living) else { return };
                self.fire("replies held up");
                self.deaf = (self.now + self.rng.u64(6 * SECOND..12 * SECOND), pid);
            }
            Fault::Join if living.len() < 8 => {
                self.fire("joined");
                self.begin();
                if !self.weather.nameless && self.has_plan() && self.rng.f64() < 0.3 {
                    self.fire("joined with another log");
                    self.begin_with(Some(Identity::new("log").with_made("second")));
                }
            }
            Fault::Leave if living.len() > 1 => {
                let Some(pid) = self.pick(&living) else { return };
                self.fire("left");
                self.leave(pid);
            }
            Fault::Storm => {
                self.fire("storm");
                for _ in 0..self.rng.u32(1..4) {
                    if self.living().len() < 8 {
                        self.begin();
                    }
                }
                for pid in living {
                    if self.rng.f64() < 0.4 && self.living().len() > 1 {
                        self.leave(pid);
                    }
                }
            }
            Fault::Split => {
                let Some(shard) = self.pick(&shards) else { return };
                if self.log.shards.len() < 40 && self.log.split(shard, self.now) {
                    self.closed("split", &[shard]);
                }
            }
            Fault::Merge => {
                let Some(shard) = self.pick(&shards) else { return };
                if let Some(other) = self.log.merge(shard, self.now) {
                    self.closed("merge", &[shard, other]);
                }
            }
            Fault::DeleteMember => self.tamper("member/", "member row deleted", None),
            Fault::DeletePart => self.tamper("part/", "part row deleted", None),
            Fault::DeletePlan => self.tamper("plan", "plan deleted", None),
            Fault::Corrupt => self.tamper("", "row corrupted", Some(Bytes::from_static(b"{\"v\":1,\"oops\":"))),
            Fault::Wall => {
                let Some(pid) = self.pick(&living) else { return };
                self.processes[pid].wall = [0, 3600, -3600, 86_400, -86_400][self.rng.usize(0..5)];
                self.fire("wall clock jumped");
            }
            Fault::Join | Fault::Leave => {}
        }
    }

    /// Whether the group has a plan, and with it a log.
    fn has_plan(&self) -> bool {
        self.store.get("plan").is_some()
    }

    fn leave(&mut self, pid: Pid) {
        self.processes[pid].leaving = true;
        if self.processes[pid].frozen <= self.now {
            self.tell(pid, Event::Close);
        } else {
            self.kill(pid); // a process that is frozen does not leave
        }
    }

    fn closed(&mut self, what: &str, parents: &[usize]) {
        self.fire(what);
        for parent in parents {
            let children = self.log.shards[*parent].children.clone();
            self.note(What::Closed { partition: *parent, children });
        }
        for pid in 0..self.processes.len() {
            if self.processes[pid].alive {
                self.plan_work(pid, SECOND / 50);
            }
        }
    }

    /// An operator deletes a row, or writes over it.
    fn tamper(&mut self, prefix: &str, what: &str, value: Option<Bytes>) {
        let keys: Vec<String> = self.store.keys().into_iter().filter(|key| key.starts_with(prefix)).collect();
        if keys.is_empty() {
            return;
        }
        let key = keys[self.rng.usize(0..keys.len())].clone();
        self.fire(what);
        self.note(What::Tampered { key: key.clone() });
        match value {
            Some(value) => {
                self.store.write(&key, value, self.now);
            }
            None => {
                self.store.delete(&key, self.now);
            }
        }
    }

    /// Partitions that are read to their ends are listed no longer, after a while.
    pub(crate) fn unlist(&mut self) {
        for shard in 0..self.log.shards.len() {
            let old = self.log.shards[shard].closed.is_some_and(|closed| closed + 20 * SECOND < self.now);
            if !old || !self.log.shards[shard].listed {
                continue;
            }
            let row = self.store.get(&format!("part/{}", crate::log::name(shard)));
            let finished = row.is_some_and(|row| row.value.windows(15).any(|text| text == b"\"finished\":true"));
            if finished {
                self.log.shards[shard].listed = false;
                self.note(What::Unlisted { partition: shard });
                self.fire("partition no longer listed");
            }
        }
    }

    /// From here on nothing fails any more, and somebody lives.
    pub(crate) fn be_quiet(&mut self) {
        self.quiet = true;
        self.weather.network = 0.0;
        self.weather.failing = 0.0;
        self.outage = (0, None);
        self.note(What::Quiet);
        if self.living().is_empty() {
            self.begin();
        }
        let timers: Vec<Pid> = (0..self.processes.len()).filter(|pid| self.processes[*pid].alive).collect();
        for pid in timers {
            self.plan_work(pid, 1);
        }
    }
}
