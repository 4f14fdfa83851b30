//! The model's counterexample to the obvious protocol, step by step on the real state machine: a heartbeat that lands
//! just after the observer's last read revives the owner in retrospect, and the taker's swap still succeeds.

use std::{
    collections::VecDeque,
    time::{Duration, Instant, SystemTime},
};

use strait_kit::{
    Change, Partition,
    coordination::{Call, CoordinatorSettings, Event, Machine, Now, Output, Reply},
};

use crate::store::Store;

const TICK: Duration = Duration::from_millis(100);

/// The rows, and the time that all clocks show.
struct World {
    store: Store,
    begin: Instant,
    now: Duration,
}

struct Side {
    machine: Machine,
    /// What it has asked for and not been answered.
    calls: VecDeque<(u64, Call)>,
    /// Whether it was told that it owns the partition.
    holds: bool,
}

impl World {
    fn time(&self) -> Now {
        Now {
            instant: self.begin + self.now,
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000) + self.now,
        }
    }

    fn member(&self, name: &'static str) -> Side {
        let mut lives = 0;
        let names = move || {
            lives += 1;
            format!("{name}{lives}").into()
        };
        let machine = Machine::new(CoordinatorSettings::default(), None, self.time(), Box::new(names)).expect("sound");
        Side { machine, calls: VecDeque::new(), holds: false }
    }

    fn tell(&self, side: &mut Side, event: Event) {
        side.machine.handle(self.time(), event);
        while let Some(output) = side.machine.output() {
            match output {
                Output::Call { id, call } => side.calls.push_back((id, call)),
                Output::Change(Change::Gained { .. }) => side.holds = true,
                Output::Change(Change::Lost { .. }) => side.holds = false,
                _ => {}
            }
        }
    }

    /// What a call does when it lands.
    fn land(&mut self, call: Call) -> Reply {
        let micros = u64::try_from(self.now.as_micros()).expect("it is short");
        match call {
            Call::Get(key) => Reply::Row(Ok(self.store.get(&key))),
            Call::Versions(prefix) => Reply::Versions(Ok(self.store.versions(prefix, micros, 0))),
            Call::Put { key, expect, value } => Reply::Put(Ok(self.store.put(&key, &expect, value, micros))),
            Call::Delete(key) => {
                self.store.delete(&key, micros);
                Reply::Deleted(Ok(()))
            }
            _ => Reply::Partitions(Ok(vec![Partition::new("p0")])),
        }
    }

    /// Lets all calls of `side` land and be answered, and those that follow, until one that `held` holds back.
    fn answer(&mut self, side: &mut Side, held: impl Fn(&Call) -> bool) {
        while let Some(index) = side.calls.iter().position(|(_, call)| !held(call))
            && let Some((id, call)) = side.calls.remove(index)
        {
            let reply = self.land(call);
            self.tell(side, Event::Reply { call: id, reply });
        }
    }

    /// Lets a tick pass, and `side` do what it wants to.
    fn tick(&mut self, side: &mut Side) {
        self.now += TICK;
        self.tell(side, Event::Tick);
        self.answer(side, |_| false);
    }

    fn believes(&self, side: &Side) -> bool {
        side.machine.until().is_some_and(|until| self.time().instant < until)
    }
}

fn is_beat(call: &Call) -> bool {
    matches!(call, Call::Put { key, .. } if key.starts_with("member/"))
}

fn is_read_of(member: &'static str) -> impl Fn(&Call) -> bool {
    move |call| matches!(call, Call::Get(key) if *key == format!("member/{member}1"))
}

#[test]
fn a_heartbeat_that_lands_after_the_last_read_revives_nobody() {
    let mut world = World { store: Store::default(), begin: Instant::now(), now: Duration::ZERO };
    let mut a = world.member("a");
    while !a.holds {
        world.tick(&mut a);
    }
    let mut b = world.member("b");
    for _ in 0..20 {
        world.tick(&mut b);
    }
    assert!(!b.holds, "the owner lives");
    // B has read A's row. A sends another beat while it believes; it is slow.
    world.now += Duration::from_secs(1);
    world.tell(&mut a, Event::Tick);
    let index = a.calls.iter().position(|(_, call)| is_beat(call)).expect("it is time for a heartbeat");
    let (beat, put) = a.calls.remove(index).expect("just found");
    assert!(world.believes(&a));
    // B sees the same row for the expiry, and reads it a last time.
    while !b.calls.iter().any(|(_, call)| is_read_of("a")(call)) {
        world.now += TICK;
        world.tell(&mut b, Event::Tick);
        world.answer(&mut b, is_read_of("a"));
        assert!(!b.holds && world.now < Duration::from_secs(20));
    }
    let index = b.calls.iter().position(|(_, call)| is_read_of("a")(call)).expect("just found");
    let (read, get) = b.calls.remove(index).expect("just found");
    let last = world.land(get);
    // Only now A's beat lands, and A hears that it did.
    let reply = world.land(put);
    assert!(matches!(&reply, Reply::Put(Ok(strait_kit::Put::Done(_)))), "it is stored: {reply:?}");
    world.tell(&mut a, Event::Reply { call: beat, reply });
    // B hears of its read, plans, reads the partition's row, and its swap lands.
    world.tell(&mut b, Event::Reply { call: read, reply: last });
    world.answer(&mut b, |_| false);
    assert!(b.holds && world.believes(&b), "dead is final: B takes what A owned");
    assert!(!(a.holds && world.believes(&a)), "A and B both believe to own the partition");
    assert!(!a.holds, "A has lapsed, and said so");
}
