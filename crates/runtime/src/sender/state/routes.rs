use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    ops::{AddAssign, SubAssign},
};

use strait_core::Plan;
use tokio::time::Instant;

/// How many routes keep their memory when they have nothing to send. There may be as many routes as keys.
const SPARE_ROUTES: usize = 16;

/// The routes by number. A provider without routes sends everything on route 0, which is not looked for in the map.
#[derive(Debug)]
pub(super) struct Routes {
    common: Route,
    others: BTreeMap<u64, Route>,
}

/// What may be sent on a route. It takes turns with the others while its list is not empty.
#[derive(Debug)]
pub(super) struct Route {
    /// The first places of lanes, in turn.
    pub(super) ready: VecDeque<u32>,
    /// Since when the oldest of them waits. Known where messages linger.
    pub(super) since: Instant,
    /// What of it could share a request. Known where messages linger.
    pub(super) load: Load,
}

/// How much of a request is filled.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

impl AddAssign for Load {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.bytes += other.bytes;
    }
}

impl SubAssign for Load {
    fn sub_assign(&mut self, other: Self) {
        self.messages -= other.messages;
        self.bytes -= other.bytes;
    }
}

impl From<Plan> for Load {
    fn from(plan: Plan) -> Self {
        Self { messages: 1, bytes: plan.bytes }
    }
}

impl Route {
    fn new(since: Instant) -> Self {
        Self { ready: VecDeque::new(), since, load: Load::default() }
    }
}

impl Routes {
    pub(super) fn new(now: Instant) -> Self {
        Self { common: Route::new(now), others: BTreeMap::new() }
    }

    /// The route of this number, if it is known.
    #[inline]
    pub(super) fn get(&self, number: u64) -> Option<&Route> {
        if number == 0 { Some(&self.common) } else { self.others.get(&number) }
    }

    /// As [`get`](Self::get).
    #[inline]
    pub(super) fn get_mut(&mut self, number: u64) -> Option<&mut Route> {
        if number == 0 { Some(&mut self.common) } else { self.others.get_mut(&number) }
    }

    /// The route of this number, which is empty if it was not known.
    #[inline]
    pub(super) fn open(&mut self, number: u64, now: Instant) -> &mut Route {
        if number == 0 { &mut self.common } else { self.others.entry(number).or_insert_with(|| Route::new(now)) }
    }

    /// The list of a route whose turn it is. To be put back.
    pub(super) fn take_list(&mut self, number: u64) -> VecDeque<u32> {
        self.get_mut(number).map(|route| mem::take(&mut route.ready)).unwrap_or_default()
    }

    /// Forgets a route that has nothing to send, unless few are known.
    pub(super) fn forget_if_many(&mut self, number: u64) {
        if self.others.len() > SPARE_ROUTES {
            self.others.remove(&number);
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        let now = self.common.since;
        *self = Self::new(now);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.others.len()
    }
}
