use std::{hash::BuildHasher as _, time::Instant};

use hashbrown::{DefaultHashBuilder, HashTable};
use strait_core::{Claim, Grant, Key, Moment, Position, Token};

/// Leases, each in a place that is used again: what was allocated for one serves the next, and nothing is moved.
///
/// A token is a place and the stamp that is found there. Where none is looked for by its position, as on queues that count
/// deliveries, there is no index to keep.
pub(super) struct Leases<H> {
    places: Vec<Lease<H>>,
    free: Vec<u32>,
    stamp: u64,
    /// Places by position, from the first time that one is looked for until nothing is in hand.
    index: Option<HashTable<u32>>,
    hasher: DefaultHashBuilder,
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
    /// How often extending it, or releasing it, failed in a row.
    pub(super) failures: u32,
    /// When releasing it is tried again, after that failed.
    pub(super) retry: Option<Instant>,
    /// Whether the provider took it away: then there is nothing to release.
    pub(super) gone: bool,
    /// The call under way that changes how long it lasts, if there is one: no other is to overtake it.
    pub(super) changing: Option<Changing>,
}

/// A call that changes how long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changing {
    Extending,
    Postponing,
}

/// For how long a batch was leased.
pub(super) struct Term {
    /// When it was asked for.
    pub(super) received: Instant,
    /// When the leases end, unless they are extended.
    pub(super) until: Moment,
    /// When they are to be extended.
    pub(super) due: Instant,
}

impl Term {
    #[cold]
    fn grant(&self) -> Grant {
        Grant::new(None, Some(self.until.into()))
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
        self.changing = None; // what is under way is for the name before
        self.turn = self.turn.wrapping_add(1);
    }
}

impl<H> Leases<H> {
    pub(super) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new(), stamp: 0, index: None, hasher: DefaultHashBuilder::default() }
    }

    /// Adds a lease and claims it.
    #[inline]
    pub(super) fn add(&mut self, handle: H, key: Option<Key>, position: Position, term: &Term) -> Claim {
        self.stamp += 1;
        let source = self.free.pop().unwrap_or_else(|| self.grow(term));
        let lease = &mut self.places[source as usize];
        if !lease.grant.reuse(Some(term.until)) {
            lease.grant = term.grant();
        }
        (lease.stamp, lease.handle, lease.key, lease.position) = (self.stamp, Some(handle), key, position);
        (lease.received, lease.due, lease.failures, lease.gone) = (term.received, term.due, 0, false);
        (lease.retry, lease.changing) = (None, None);
        let claim = lease.grant.claim(Token { source, entry: self.stamp });
        if let Some(index) = &mut self.index {
            insert(index, &self.hasher, &self.places, source);
        }
        claim
    }

    /// The lease on the message at `position`.
    pub(super) fn find(&mut self, position: &Position) -> Option<Token> {
        let Self { places, hasher, .. } = self;
        let index = self.index.get_or_insert_with(|| {
            let mut index = HashTable::with_capacity(places.len() - self.free.len());
            for (place, _) in (0..).zip(&*places).filter(|(_, lease)| lease.stamp > 0) {
                insert(&mut index, hasher, places, place);
            }
            index
        });
        let at = |place: &u32| places[*place as usize].position == *position;
        let source = *index.find(hasher.hash_one(position), at)?;
        Some(Token { source, entry: places[source as usize].stamp })
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
            retry: None,
            gone: false,
            changing: None,
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
        if self.index.is_some() {
            self.unindex(token.source);
        }
    }

    fn unindex(&mut self, place: u32) {
        if self.free.len() == self.places.len() {
            self.index = None;
        } else if let Some(index) = &mut self.index {
            let hash = self.hasher.hash_one(&self.places[place as usize].position);
            if let Ok(found) = index.find_entry(hash, |other| *other == place) {
                found.remove();
            }
        }
    }

    /// Forgets one that is not settled, and loses its claim.
    pub(super) fn remove(&mut self, token: Token) {
        if let Some(lease) = self.get_mut(token) {
            lease.grant.lose();
            self.settle(token);
        }
    }
}

fn insert<H>(index: &mut HashTable<u32>, hasher: &DefaultHashBuilder, places: &[Lease<H>], place: u32) {
    let hash = |place: &u32| hasher.hash_one(&places[*place as usize].position);
    index.insert_unique(hash(&place), place, hash);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use strait_core::ClaimState;

    use super::*;

    fn add(leases: &mut Leases<&'static str>, handle: &'static str) -> Claim {
        add_at(leases, handle, 7)
    }

    fn add_at(leases: &mut Leases<&'static str>, handle: &'static str, position: u64) -> Claim {
        let now = Instant::now();
        let until = (now + Duration::from_secs(60)).into();
        leases.add(handle, None, position.into(), &Term { received: now, until, due: now })
    }

    #[test]
    fn a_place_is_used_again_under_another_name() {
        let mut leases = Leases::new();
        let first = add(&mut leases, "a");
        let token = first.token();
        leases.settle(token);
        drop(first);
        let second = add(&mut leases, "b");
        assert_eq!((second.token().source, leases.places.len()), (token.source, 1));
        assert!(leases.get(token).is_none(), "the name of what was there before names nothing");
        leases.settle(token);
        assert_eq!(leases.get(second.token()).map(Lease::handle), Some("b"));
        assert_eq!(leases.iter().count(), 1);
    }

    #[test]
    fn the_claim_of_a_settled_one_stays_as_it_was_whatever_comes_after_it() {
        let mut leases = Leases::new();
        let first = add(&mut leases, "a");
        leases.settle(first.token());
        assert_eq!(first.state(Instant::now), ClaimState::Held);
        let second = add(&mut leases, "b");
        leases.remove(second.token());
        assert_eq!(second.state(Instant::now), ClaimState::Lost);
        assert!(leases.get(second.token()).is_none(), "it is gone");
        let third = add(&mut leases, "c");
        assert_eq!(third.state(Instant::now), ClaimState::Held);
        assert_eq!(second.state(Instant::now), ClaimState::Lost, "for ever");
    }

    #[test]
    fn a_lease_is_found_by_its_position_whenever_it_was_added() {
        let mut leases = Leases::new();
        let claims: Vec<_> = (0..50).map(|position| add_at(&mut leases, "early", position)).collect();
        let found = |leases: &mut Leases<_>, position: u64| leases.find(&position.into());
        assert_eq!(found(&mut leases, 49), Some(claims[49].token()));
        let late = add_at(&mut leases, "late", 50);
        assert_eq!(found(&mut leases, 50), Some(late.token()));
        leases.settle(claims[20].token());
        let again = add_at(&mut leases, "in the same place", 51);
        assert_eq!((found(&mut leases, 20), found(&mut leases, 51)), (None, Some(again.token())));
        for claim in claims.iter().chain([&late, &again]) {
            leases.settle(claim.token());
        }
        assert!(leases.index.is_none(), "nothing is in hand, and nothing to be kept");
        assert_eq!(found(&mut leases, 3), None);
        let last = add_at(&mut leases, "after all", 3);
        assert_eq!(found(&mut leases, 3), Some(last.token()));
    }
}
