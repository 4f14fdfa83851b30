use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::{Error, ErrorKind, Result};
use strait_kit::{Expect, Put, Row, RowStore, Version};

/// Of a hundred calls, how many meet which fault. At most 100 in all.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Any call fails, and does nothing.
    pub outage: u8,
    /// A put or a delete is done, and reported as an ambiguous failure.
    pub lost_reply: u8,
    /// A put is done, and reported as refused: what a client does that repeats a conditional put.
    pub own_refused: u8,
    /// A put is reported as an ambiguous failure, and tried only later, between other calls.
    pub late: u8,
}

/// How many faults did what they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fired {
    /// Calls that did nothing.
    pub outages: u64,
    /// Changes that were done and reported as ambiguous.
    pub lost_replies: u64,
    /// Puts that were done and reported as refused.
    pub own_refused: u64,
    /// Puts that were stored after they had been reported as ambiguous.
    pub landed_late: u64,
    /// Puts that came too late to be stored.
    pub came_too_late: u64,
}

/// A store that fails in the ways that stores fail, as often as asked, by a seed.
pub struct FaultyRows {
    rows: Arc<dyn RowStore>,
    faults: Faults,
    state: Mutex<State>,
}

struct State {
    random: fastrand::Rng,
    fired: Fired,
    late: VecDeque<(String, Expect, Bytes)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    Outage,
    LostReply,
    OwnRefused,
    Late,
}

/// Most puts that are on their way.
const MOST_LATE: usize = 16;

impl FaultyRows {
    /// Puts faults before `rows`.
    pub fn new(rows: Arc<dyn RowStore>, faults: Faults, seed: u64) -> Self {
        let state = State { random: fastrand::Rng::with_seed(seed), fired: Fired::default(), late: VecDeque::new() };
        Self { rows, faults, state: Mutex::new(state) }
    }

    /// What fired so far.
    pub fn fired(&self) -> Fired {
        self.state().fired
    }

    /// Lets everything arrive that is on its way.
    ///
    /// # Errors
    ///
    /// What the store beneath reported.
    pub async fn arrive(&self) -> Result<()> {
        while self.arrive_one().await? {}
        Ok(())
    }

    async fn arrive_one(&self) -> Result<bool> {
        let Some((key, expect, value)) = self.state().late.pop_front() else { return Ok(false) };
        let landed = matches!(self.rows.put(&key, expect, value).await?, Put::Done(_));
        let mut state = self.state();
        *if landed { &mut state.fired.landed_late } else { &mut state.fired.came_too_late } += 1;
        Ok(true)
    }

    /// Draws what this call meets. Every other call lets something arrive that was late.
    async fn draw(&self) -> Result<Fault> {
        let (fault, arrives) = {
            let mut state = self.state();
            let mut rest = state.random.u8(0..100);
            let faults = [
                (self.faults.outage, Fault::Outage),
                (self.faults.lost_reply, Fault::LostReply),
                (self.faults.own_refused, Fault::OwnRefused),
                (self.faults.late, Fault::Late),
            ];
            let mut fault = Fault::None;
            for (share, kind) in faults {
                if rest < share {
                    fault = kind;
                    break;
                }
                rest -= share;
            }
            (fault, state.random.bool() || state.late.len() >= MOST_LATE)
        };
        if arrives {
            self.arrive_one().await?;
        }
        if fault == Fault::Outage {
            self.state().fired.outages += 1;
            return Err(Error::new(ErrorKind::Unavailable, "faulty: an outage"));
        }
        Ok(fault)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding this")
    }
}

impl fmt::Debug for FaultyRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyRows").field("rows", &self.rows).field("faults", &self.faults).finish_non_exhaustive()
    }
}

#[async_trait]
impl RowStore for FaultyRows {
    fn value_bytes(&self) -> usize {
        self.rows.value_bytes()
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        self.draw().await?;
        self.rows.get(key).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        self.draw().await?;
        self.rows.versions(prefix).await
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        let fault = self.draw().await?;
        if fault == Fault::Late {
            self.state().late.push_back((key.to_owned(), expect, value));
            return Err(lost());
        }
        let outcome = self.rows.put(key, expect, value).await?;
        match (fault, outcome) {
            (Fault::LostReply, Put::Done(_)) => {
                self.state().fired.lost_replies += 1;
                Err(lost())
            }
            (Fault::OwnRefused, Put::Done(_)) => {
                self.state().fired.own_refused += 1;
                Ok(Put::Refused)
            }
            (_, outcome) => Ok(outcome),
        }
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let fault = self.draw().await?;
        self.rows.delete(key).await?;
        if fault == Fault::LostReply {
            self.state().fired.lost_replies += 1;
            return Err(lost());
        }
        Ok(())
    }
}

fn lost() -> Error {
    Error::new(ErrorKind::Unavailable, "faulty: the reply was lost").into_ambiguous()
}
