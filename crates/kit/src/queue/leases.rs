use std::time::Instant;

use strait_core::{Claim, Grant, Key, Moment, Position, Token};

/// Leases, each in a place that is used again: what was allocated for one serves the next, and nothing is moved.
///
/// A token is a place and the stamp that is found there.
pub(super) struct Leases<H> {
    places: Vec<Lease<H>>,
    free: Vec<u32>,
    stamp: u64,
}

/// A lease on a message in hand.
pub(super) struct Lease<H> {
    /// Tells apart what is in the same place one after the other. 0 while the place is free.
    stamp: u64,
    /// `None` only while the place is free.
    handle: Option<H>,
    /// Which handle it is, if the message was leased again meanwhile.
    pub(super) turn: u32,
    /// Stays in a free place, for the next.
    pub(super) grant: Grant,
    pub(super) key: Option<Key>,
    pub(super) position: Position,
    pub(super) received: Instant,
    /// When it is to be extended.
    pub(super) due: Instant,
    /// How often extending it failed in a row.
    pub(super) failures: u32,
    /// Whether the provider took it away: then there is nothing to release.
    pub(super) gone: bool,
}

/// For how long a batch was leased.
pub(super) struct Term {
    /// When it was asked for.
    pub(super) received: Instant,
    /// When the leases end, if the engine keeps them.
    pub(super) until: Option<Moment>,
    /// When they are to be extended.
    pub(super) due: Instant,
}

impl Term {
    #[cold]
    fn grant(&self) -> Grant {
        Grant::new(None, self.until.map(Instant::from))
    }
}

impl<H: Clone> Lease<H> {
    /// What names it at the provider.
    #[inline]
    pub(super) fn handle(&self) -> H {
        self.handle.clone().expect("only what is in use is found")
    }

    /// It was leased again under another name.
    pub(super) fn again(&mut self, handle: H, term: &Term) {
        (self.handle, self.due, self.failures) = (Some(handle), term.due, 0);
        self.turn = self.turn.wrapping_add(1);
    }
}

impl<H> Leases<H> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), stamp: 0 }
    }

    /// Adds a lease, under `grant` if it has one of its own, and claims it.
    #[inline]
    pub(super) fn add(
        &mut self,
        handle: H,
        grant: Option<Grant>,
        key: Option<Key>,
        position: Position,
        term: &Term,
    ) -> Claim {
        self.stamp += 1;
        let source = self.free.pop().unwrap_or_else(|| self.grow(term));
        let lease = &mut self.places[source as usize];
        match grant {
            Some(grant) => lease.grant = grant,
            None if lease.grant.reuse(term.until) => {}
            None => lease.grant = term.grant(),
        }
        (lease.stamp, lease.handle, lease.key, lease.position) = (self.stamp, Some(handle), key, position);
        (lease.received, lease.due, lease.failures, lease.gone) = (term.received, term.due, 0, false);
        lease.grant.claim(Token { source, entry: self.stamp })
    }

    /// Makes a place.
    #[cold]
    fn grow(&mut self, term: &Term) -> u32 {
        self.places.push(Lease {
            stamp: 0,
            handle: None,
            turn: 0,
            grant: term.grant(),
            key: None,
            position: Position::default(),
            received: term.received,
            due: term.due,
            failures: 0,
            gone: false,
        });
        u32::try_from(self.places.len() - 1).expect("fewer than 2^32 messages in hand")
    }

    #[inline]
    pub(super) fn get(&self, token: Token) -> Option<&Lease<H>> {
        self.places.get(token.source as usize).filter(|lease| lease.stamp == token.entry)
    }

    #[inline]
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Lease<H>> {
        self.places.get_mut(token.source as usize).filter(|lease| lease.stamp == token.entry)
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Lease<H>)> {
        let leases = (0..).zip(&self.places).filter(|(_, lease)| lease.stamp > 0);
        leases.map(|(source, lease)| (Token { source, entry: lease.stamp }, lease))
    }

    /// The same, to change them.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Token, &mut Lease<H>)> {
        let leases = (0..).zip(&mut self.places).filter(|(_, lease)| lease.stamp > 0);
        leases.map(|(source, lease)| (Token { source, entry: lease.stamp }, lease))
    }

    /// Forgets a settled one. Its claim may still be about.
    #[inline]
    pub(super) fn settle(&mut self, token: Token) {
        let Some(lease) = self.get_mut(token) else { return };
        (lease.stamp, lease.handle, lease.key) = (0, None, None);
        self.free.push(token.source);
    }

    /// Forgets one that is not settled, and loses its claim. Returns its handle.
    pub(super) fn remove(&mut self, token: Token) -> Option<H> {
        let lease = self.get_mut(token)?;
        lease.grant.lose();
        let handle = lease.handle.take();
        self.settle(token);
        handle
    }
}

#[cfg(test)]
mod tests {
    use strait_core::ClaimState;

    use super::*;

    fn add(leases: &mut Leases<&'static str>, handle: &'static str, grant: Option<Grant>) -> Claim {
        let now = Instant::now();
        leases.add(handle, grant, None, 7.into(), &Term { received: now, until: None, due: now })
    }

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let mut leases = Leases::new();
        let first = add(&mut leases, "a", None);
        let token = first.token();
        leases.settle(token);
        drop(first);
        let second = add(&mut leases, "b", None);
        assert_eq!((second.token().source, leases.places.len()), (token.source, 1));
        assert!(leases.get(token).is_none(), "the name of what was there before names nothing");
        leases.settle(token);
        assert_eq!(leases.get(second.token()).map(Lease::handle), Some("b"));
        assert_eq!(leases.iter().count(), 1);
    }

    #[test]
    fn the_claim_of_a_settled_one_stays_as_it_was_whatever_comes_after_it() {
        let mut leases = Leases::new();
        let first = add(&mut leases, "a", None);
        leases.settle(first.token());
        assert_eq!(first.state(Instant::now), ClaimState::Held);
        let second = add(&mut leases, "b", None);
        assert_eq!(leases.remove(second.token()), Some("b"));
        assert_eq!(second.state(Instant::now), ClaimState::Lost);
        assert_eq!(leases.remove(second.token()), None, "it is gone");
        let third = add(&mut leases, "c", Some(Grant::new(Some("own".into()), None)));
        assert_eq!(third.partition(), Some("own"));
        assert_eq!(second.state(Instant::now), ClaimState::Lost, "for ever");
    }
}
