use std::time::{Duration, Instant};

use slab::Slab;
use strait_core::{ClaimState, Grant, Key, Origin, Position, Received, Token, planted};

use super::Leased;

/// The leases in hand. A token is a place here and the stamp that is found there.
///
/// No calls and no clock: the consumer brings what was leased, the keeper asks what is due. Messages of one key are
/// looked for only when one of them is lost or given back, which is rare.
pub(super) struct Held<H> {
    leases: Slab<Lease<H>>,
    /// Grants to be used again.
    spare: Vec<Grant>,
    stamp: u64,
    /// Whether order by key is kept, so that the claims of a key stand and fall together.
    ordered: bool,
}

struct Lease<H> {
    stamp: u64,
    handle: H,
    grant: Grant,
    key: Option<Key>,
    position: Position,
    received: Instant,
    /// When it is to be extended.
    due: Instant,
    /// How often extending it failed in a row.
    failures: u32,
    /// Whether the provider took it away: then there is nothing to release.
    gone: bool,
}

/// A lease, by name.
pub(super) type Named<H> = (Token, H);

/// What the keeper found.
pub(super) struct Findings<H> {
    /// To be released, in this order.
    pub(super) release: Vec<Named<H>>,
    /// How many claims were found lost.
    pub(super) lost: usize,
    /// When the oldest of what is left was received.
    pub(super) oldest: Option<Instant>,
}

impl<H: Clone> Held<H> {
    pub(super) fn new(ordered: bool) -> Self {
        Self { leases: Slab::new(), spare: Vec::new(), stamp: 0, ordered }
    }

    /// Takes in what was leased until `until`. A second delivery of a message in hand replaces its handle, and is not
    /// delivered.
    pub(super) fn enter(
        &mut self,
        leased: Leased<H>,
        counts: bool,
        received: Instant,
        until: Option<Instant>,
        due: Instant,
    ) -> Option<Received> {
        let Leased { message, handle, origin, grant } = leased;
        if (!counts || origin.redeliveries() > 0)
            && let Some(place) = self.find(&origin)
        {
            let lease = &mut self.leases[place];
            if lease.grant.renew(until, received) && !planted!("second-delivery-handed-out") {
                (lease.handle, lease.due, lease.failures) = (handle, due, 0);
                return None;
            }
            self.leases.remove(place); // lost to us meanwhile: this is a delivery of its own
        }
        let grant = grant.unwrap_or_else(|| {
            self.spare.pop().and_then(|grant| grant.reuse(until)).unwrap_or_else(|| Grant::new(None, until))
        });
        self.stamp += 1;
        let place = self.leases.vacant_entry();
        let token = token(place.key(), self.stamp);
        let claim = grant.claim(token);
        let key = if self.ordered { message.key.clone() } else { None };
        let position = origin.position().clone();
        place.insert(Lease {
            stamp: self.stamp,
            handle,
            grant,
            key,
            position,
            received,
            due,
            failures: 0,
            gone: false,
        });
        Some(Received::new(message, claim, origin))
    }

    fn find(&self, origin: &Origin) -> Option<usize> {
        self.leases.iter().find(|(_, lease)| lease.position == *origin.position()).map(|(place, _)| place)
    }

    fn get(&self, token: Token) -> Option<&Lease<H>> {
        self.leases.get(token.source as usize).filter(|lease| lease.stamp == token.entry)
    }

    /// The handle of a claim that is ours at `now`.
    pub(super) fn handle(&self, token: Token, now: Instant) -> Option<H> {
        let lease = self.get(token)?;
        (lease.grant.state(|| now) != ClaimState::Lost).then(|| lease.handle.clone())
    }

    /// It is settled.
    pub(super) fn forget(&mut self, token: Token) {
        if self.get(token).is_some() {
            let grant = self.leases.remove(token.source as usize).grant;
            if self.spare.len() <= self.leases.len() {
                self.spare.push(grant);
            }
        }
    }

    /// The provider took it away. The later claims of its key are lost with it. Returns how many are.
    pub(super) fn lose(&mut self, token: Token) -> usize {
        let Some(lease) = self.leases.get_mut(token.source as usize).filter(|lease| lease.stamp == token.entry) else {
            return 0;
        };
        lease.gone = true;
        let own = usize::from(lease.grant.lose());
        own + self.lose_behind(token)
    }

    /// Loses the claims of the same key that came later. They are still leased, and will be released.
    fn lose_behind(&self, token: Token) -> usize {
        let Some(key) = self.get(token).and_then(|lease| lease.key.as_ref()) else { return 0 };
        if planted!("lost-key-mates-kept") {
            return 0;
        }
        let behind =
            self.leases.iter().filter(|(_, lease)| lease.stamp > token.entry && lease.key.as_ref() == Some(key));
        behind.filter(|(_, lease)| lease.grant.lose()).count()
    }

    /// Finds what ended by itself, and what nobody holds any more. The latter is released oldest first, and of a key
    /// only once nothing before it is in hand.
    pub(super) fn sweep(&mut self, now: Instant) -> Findings<H> {
        let ended: Vec<Token> = self
            .leases
            .iter()
            .filter(|(_, lease)| !lease.gone && lease.grant.until().is_some_and(|until| until <= now))
            .map(|(place, lease)| token(place, lease.stamp))
            .collect();
        let mut lost: usize = ended.into_iter().map(|token| self.lose(token)).sum();

        let mut idle: Vec<Token> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.grant.is_idle() && !planted!("dropped-claim-kept"))
            .map(|(place, lease)| token(place, lease.stamp))
            .collect();
        idle.sort_unstable_by_key(|token| token.entry);
        let mut release = Vec::new();
        for token in idle {
            let lease = &self.leases[token.source as usize];
            if lease.gone {
                self.leases.remove(token.source as usize);
            } else if !self.is_behind(lease) {
                lost += self.lose_behind(token);
                let lease = self.leases.remove(token.source as usize);
                release.push((token, lease.handle));
            }
        }
        if planted!("release-newest-first") {
            release.reverse();
        }
        let oldest = self.leases.iter().map(|(_, lease)| lease.received).min();
        Findings { release, lost, oldest }
    }

    /// Whether an earlier message of its key is in hand.
    fn is_behind(&self, lease: &Lease<H>) -> bool {
        let Some(key) = &lease.key else { return false };
        self.leases.iter().any(|(_, other)| other.stamp < lease.stamp && other.key.as_ref() == Some(key) && !other.gone)
    }

    /// What is to be extended at `now`: held, due, and not longer in hand than `longest`.
    pub(super) fn due(&self, now: Instant, longest: Duration) -> Vec<Named<H>> {
        let due = |lease: &Lease<H>| {
            !lease.gone
                && lease.due <= now
                && now < lease.received + longest
                && !lease.grant.is_idle()
                && lease.grant.state(|| now) != ClaimState::Lost
        };
        let leases = self.leases.iter().filter(|(_, lease)| due(lease));
        leases.map(|(place, lease)| (token(place, lease.stamp), lease.handle.clone())).collect()
    }

    /// It was extended. Returns how many claims are lost, if it came too late.
    pub(super) fn extended(&mut self, token: Token, until: Instant, now: Instant, due: Instant) -> usize {
        let Some(lease) = self.leases.get_mut(token.source as usize).filter(|lease| lease.stamp == token.entry) else {
            return 0;
        };
        (lease.due, lease.failures) = (due, 0);
        if lease.grant.renew(Some(until), now) { 0 } else { self.lose(token) }
    }

    /// Extending it failed for now. It is tried again after a pause that grows.
    pub(super) fn not_extended(&mut self, token: Token, now: Instant, first: Duration, longest: Duration) {
        if let Some(lease) = self.leases.get_mut(token.source as usize).filter(|lease| lease.stamp == token.entry) {
            lease.due = now + first.saturating_mul(1 << lease.failures.min(16)).min(longest);
            lease.failures += 1;
        }
    }

    /// Gives up everything, oldest first.
    pub(super) fn drain(&mut self) -> Vec<H> {
        let mut leases: Vec<_> = std::mem::take(&mut self.leases).into_iter().map(|(_, lease)| lease).collect();
        leases.sort_unstable_by_key(|lease| lease.stamp);
        leases.into_iter().filter(|lease| !lease.gone).map(|lease| lease.handle).collect()
    }
}

fn token(place: usize, stamp: u64) -> Token {
    Token { source: u32::try_from(place).expect("fewer than 2^32 messages in hand"), entry: stamp }
}
