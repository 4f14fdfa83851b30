use std::{
    collections::{BTreeMap, VecDeque},
    iter, mem,
};

use super::Request;

/// How many routes keep their memory when they have nothing to send. There may be as many routes as keys.
const SPARE_ROUTES: usize = 16;

/// The routes by number. A provider without routes sends everything on route 0, which is not looked for in the map.
#[derive(Debug, Default)]
pub(super) struct Routes {
    common: Route,
    others: BTreeMap<u64, Route>,
}

/// What may be sent on a route, in turn. It takes turns with the others while it has an open request.
#[derive(Debug, Default)]
pub(super) struct Route {
    /// Requests that have no room for what came next. None without an open one behind them.
    full: VecDeque<Request>,
    /// The last one. It is never empty, and what comes joins it while it has room.
    pub(super) open: Option<Request>,
}

impl Route {
    /// What leaves next, and whether another is behind it.
    #[inline]
    pub(super) fn first(&self) -> Option<(&Request, bool)> {
        match self.full.front() {
            Some(first) => Some((first, true)),
            None => self.open.as_ref().map(|open| (open, false)),
        }
    }

    /// Takes out what leaves next.
    pub(super) fn take(&mut self) -> Option<Request> {
        self.full.pop_front().or_else(|| self.open.take())
    }

    /// Opens a request behind all others.
    pub(super) fn begin(&mut self, request: Request) -> &mut Request {
        self.full.extend(self.open.take());
        self.open.insert(request)
    }

    /// Takes out everything, in turn.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Request> + use<> {
        mem::take(&mut self.full).into_iter().chain(self.open.take())
    }
}

impl Routes {
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
    pub(super) fn open(&mut self, number: u64) -> &mut Route {
        if number == 0 { &mut self.common } else { self.others.entry(number).or_default() }
    }

    /// Forgets a route that has nothing to send, unless few are known.
    pub(super) fn forget_if_many(&mut self, number: u64) {
        if self.others.len() > SPARE_ROUTES {
            self.others.remove(&number);
        }
    }

    /// Forgets everything. Returns the requests there were.
    pub(super) fn clear(&mut self) -> impl Iterator<Item = Request> + use<> {
        let Self { common, others } = mem::take(self);
        iter::once(common).chain(others.into_values()).flat_map(|mut route| route.take_all())
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.others.len()
    }
}
