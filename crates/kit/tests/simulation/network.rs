//! The way to the store and back: slow, lossy, and sometimes lying.

use bytes::Bytes;
use strait_core::{Error, ErrorKind};
use strait_kit::{
    Expect, Put,
    coordination::{Call, Reply},
};

use crate::{
    history::{Pid, Time, What},
    store::STALE,
    world::{Happening, World},
};

/// What a client waits for at most.
const DEADLINE: Time = 2_000_000;

/// A call on its way.
#[derive(Debug)]
pub(crate) struct Trip {
    pub(crate) pid: Pid,
    pub(crate) id: u64,
    pub(crate) call: Call,
    /// How long the reply takes; none if nobody waits for it any more.
    back: Option<Time>,
    /// The client's own second attempt is refused by its first, and says so.
    own_success_refused: bool,
    /// The process dies when this has taken effect.
    fatal: bool,
    step: &'static str,
}

impl World {
    /// Sends a call, or loses it.
    pub(crate) fn send(&mut self, pid: Pid, id: u64, call: Call) {
        *self.calls.entry(kind(&call)).or_default() += 1;
        let step = self.step_of(&call);
        let fatal = if !self.quiet && !step.is_empty() && self.rng.f64() < self.weather.kills && self.may_die(pid) {
            if self.rng.bool() {
                self.fire(&format!("killed before: {step}"));
                return self.kill(pid);
            }
            true
        } else {
            false
        };
        let there = self.latency();
        let mut trip = Trip { pid, id, call, back: Some(self.latency()), own_success_refused: false, fatal, step };
        let dice = self.rng.f64() / self.weather.network.max(f64::MIN_POSITIVE);
        let writes = matches!(trip.call, Call::Put { .. } | Call::Delete(_));
        if self.is_cut_off(pid) {
            self.fire("outage");
            return self.lose(trip, writes);
        }
        match dice {
            dice if dice < 0.01 => {
                self.fire("request lost");
                self.lose(trip, writes);
            }
            dice if dice < 0.02 => {
                self.fire("reply lost");
                trip.back = None;
                let (pid, id) = (trip.pid, trip.id);
                let reply = failed(&trip.call, "timed out", writes);
                self.at(DEADLINE, Happening::Reply(pid, id, reply));
                self.at(there, Happening::Land(trip));
            }
            dice if dice < 0.035 && writes => {
                self.fire("write landed late");
                trip.back = None;
                let (pid, id) = (trip.pid, trip.id);
                let reply = failed(&trip.call, "timed out", true);
                self.at(DEADLINE, Happening::Reply(pid, id, reply));
                let late = DEADLINE + self.rng.u64(0..14_000_000);
                let late = late.min(self.weather.trouble.saturating_sub(self.now)).max(DEADLINE);
                self.at(late, Happening::Land(trip));
            }
            dice if dice < 0.06 => {
                self.fire("slow");
                let (slow, back) = (self.rng.u64(0..1_500_000), self.rng.u64(0..6_000_000));
                trip.back = Some(back);
                self.at(there + slow, Happening::Land(trip));
            }
            dice if dice < 0.075 && matches!(trip.call, Call::Put { .. }) => {
                trip.own_success_refused = true;
                self.at(there, Happening::Land(trip));
            }
            dice if dice < 0.085 => {
                self.fire("throttled");
                let reply = failed(&trip.call, "throttled", false);
                self.at(there, Happening::Reply(trip.pid, trip.id, reply));
            }
            _ => self.at(there, Happening::Land(trip)),
        }
    }

    fn latency(&mut self) -> Time {
        self.rng.u64(500..20_000)
    }

    fn lose(&mut self, trip: Trip, writes: bool) {
        let reply = failed(&trip.call, "timed out", writes);
        self.at(DEADLINE, Happening::Reply(trip.pid, trip.id, reply));
    }

    /// A call takes effect.
    pub(crate) fn land(&mut self, trip: Trip) {
        let reply = match &trip.call {
            Call::Get(key) => Reply::Row(Ok(self.store.get(key))),
            Call::Versions(prefix) => {
                let stale = !self.quiet && self.rng.f64() < 0.2 * self.weather.network;
                let lag = if stale { self.rng.u64(0..STALE) } else { 0 };
                self.count("stale list", u64::from(stale));
                Reply::Versions(Ok(self.store.versions(prefix, self.now, lag)))
            }
            Call::Put { key, expect, value } => {
                let (key, expect, value) = (key.clone(), expect.clone(), value.clone());
                let put = self.store.put(&key, &expect, value.clone(), self.now);
                match &put {
                    Put::Done(_) => self.note(What::Stored { key, value: Some(value) }),
                    Put::Refused => self.fire("refused"),
                }
                let lie = trip.own_success_refused && matches!(put, Put::Done(_));
                self.count("own success refused", u64::from(lie));
                Reply::Put(Ok(if lie { Put::Refused } else { put }))
            }
            Call::Delete(key) => {
                let key = key.clone();
                if self.store.delete(&key, self.now) {
                    self.note(What::Stored { key, value: None });
                }
                Reply::Deleted(Ok(()))
            }
            _ => Reply::Partitions(Ok(self.log.partitions())),
        };
        if trip.fatal && self.may_die(trip.pid) {
            self.fire(&format!("killed after: {}", trip.step));
            return self.kill(trip.pid);
        }
        if let Some(back) = trip.back {
            let held = if self.deaf.1 == trip.pid { self.deaf.0.saturating_sub(self.now) } else { 0 };
            let back = back + held;
            self.at(back, Happening::Reply(trip.pid, trip.id, reply));
        }
    }

    /// Which step of a hand-over or a reshard a call is.
    fn step_of(&self, call: &Call) -> &'static str {
        let Call::Put { key, expect, value } = call else {
            return if matches!(call, Call::Delete(_)) { "delete" } else { "" };
        };
        if key == "plan" {
            return "plan";
        }
        if key.starts_with("member/") {
            return if *expect == Expect::Absent { "join" } else { "" };
        }
        let owner = |value: &Bytes| field(value, "owner");
        let before = self.store.get(key).map(|row| owner(&row.value));
        match (owner(value), before) {
            (None, None) => "child row",
            (None, _) if field(value, "finished").is_some() => "finish",
            (None, _) => "release",
            (owner, before) if before != Some(owner.clone()) => "take",
            _ => "commit",
        }
    }
}

/// A field of a row that is there, and not null or false.
fn field(value: &Bytes, name: &str) -> Option<serde_json::Value> {
    let row: serde_json::Value = serde_json::from_slice(value).ok()?;
    row.get(name).filter(|value| !value.is_null() && **value != serde_json::Value::Bool(false)).cloned()
}

fn kind(call: &Call) -> &'static str {
    match call {
        Call::Get(_) => "get",
        Call::Versions(_) => "list",
        Call::Put { .. } => "put",
        Call::Delete(_) => "delete",
        _ => "partitions",
    }
}

fn failed(call: &Call, why: &str, ambiguous: bool) -> Reply {
    let kind = if why == "throttled" { ErrorKind::Throttled } else { ErrorKind::Unavailable };
    let error = Error::new(kind, format!("simulated: {why}"));
    let error = if ambiguous { error.into_ambiguous() } else { error };
    match call {
        Call::Get(_) => Reply::Row(Err(error)),
        Call::Versions(_) => Reply::Versions(Err(error)),
        Call::Put { .. } => Reply::Put(Err(error)),
        Call::Delete(_) => Reply::Deleted(Err(error)),
        _ => Reply::Partitions(Err(error)),
    }
}
