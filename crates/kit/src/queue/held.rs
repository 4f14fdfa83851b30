use std::{
    mem,
    time::{Duration, Instant},
};

use strait_core::{Claim, ClaimState, Moment, Origin, Token, planted};

use super::{
    Leased,
    leases::{Lease, Leases, Term},
};

/// What is in hand.
///
/// No calls and no clock: the consumer brings what was leased, the keeper asks what is due. Messages of one key are
/// looked for only when one of them is lost or given back, which is rare.
pub(super) struct Held<H> {
    leases: Leases<H>,
    /// Whether order by key is kept, so that the claims of a key stand and fall together.
    ordered: bool,
    /// Whether what was lost is released too.
    release_lost: bool,
}

/// A lease by the handle that it has now: it gets another if its message is delivered again, and what is said of the one
/// before is not said of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    token: Token,
    turn: u32,
}

/// What the keeper found.
pub(super) struct Findings<H> {
    /// To be released, in this order.
    pub(super) release: Vec<H>,
    /// How many claims were found lost.
    pub(super) lost: usize,
    /// When the oldest of what is left was received.
    pub(super) oldest: Option<Instant>,
}

impl<H: Clone> Held<H> {
    pub(super) fn new(ordered: bool, release_lost: bool) -> Self {
        Self { leases: Leases::new(), ordered, release_lost }
    }

    /// Whether this is a second delivery of a message in hand: then its handle replaces the one before, and it is not
    /// delivered. What has ended by `now` is not in hand, although it was when the second was asked for.
    pub(super) fn renew(&mut self, leased: &Leased<H>, term: &Term, now: Instant) -> bool {
        let Some(token) = self.find(&leased.origin) else { return false };
        let Some(lease) = self.leases.get_mut(token) else { return false };
        if lease.grant.renew(term.until.map(Instant::from), now) && !planted!("second-delivery-handed-out") {
            lease.again(leased.handle.clone(), term);
            return true;
        }
        self.leases.remove(token); // lost to us meanwhile: this is a delivery of its own
        false
    }

    /// Takes in what was leased, and claims it. The message stays where it is: it is large to move.
    #[inline]
    pub(super) fn enter(&mut self, leased: &mut Leased<H>, term: &Term) -> Claim {
        let key = if self.ordered { leased.message.key.clone() } else { None };
        let position = leased.origin.position().clone();
        self.leases.add(leased.handle.clone(), leased.grant.take(), key, position, term)
    }

    fn find(&self, origin: &Origin) -> Option<Token> {
        self.leases.iter().find(|(_, lease)| lease.position == *origin.position()).map(|(token, _)| token)
    }

    /// The handle of a claim that is ours at `now`. If it has ended, the later ones of its key are lost with it.
    #[inline]
    pub(super) fn handle(&self, token: Token, now: Moment) -> Option<(Named, H)> {
        let lease = self.leases.get(token)?;
        if lease.grant.state_at(now) == ClaimState::Lost {
            self.lose_behind(token);
            return None;
        }
        Some((Named { token, turn: lease.turn }, lease.handle()))
    }

    /// Whether it has another handle by now.
    #[inline]
    pub(super) fn is_replaced(&self, Named { token, turn }: Named) -> bool {
        self.leases.get(token).is_some_and(|lease| lease.turn != turn)
    }

    /// It is settled.
    #[inline]
    pub(super) fn forget(&mut self, named: Named) {
        self.leases.settle(named.token);
    }

    /// The provider took it away. The later claims of its key are lost with it. Returns how many are.
    pub(super) fn lose(&mut self, named: Named) -> usize {
        if self.is_replaced(named) { 0 } else { self.give_up(named.token) }
    }

    fn give_up(&mut self, token: Token) -> usize {
        let Some(lease) = self.leases.get_mut(token) else { return 0 };
        lease.gone = true;
        let own = usize::from(lease.grant.lose());
        own + self.lose_behind(token)
    }

    /// Loses the claims of the same key that came later. They are still leased, and will be released.
    fn lose_behind(&self, token: Token) -> usize {
        let Some(key) = self.leases.get(token).and_then(|lease| lease.key.as_ref()) else { return 0 };
        if planted!("lost-key-mates-kept") {
            return 0;
        }
        let behind =
            self.leases.iter().filter(|(other, lease)| other.entry > token.entry && lease.key.as_ref() == Some(key));
        behind.filter(|(_, lease)| lease.grant.lose()).count()
    }

    /// Finds what ended by itself, and what nobody holds any more. The latter is released oldest first, and of a key
    /// only once nothing before it is in hand.
    pub(super) fn sweep(&mut self, now: Instant) -> Findings<H> {
        let ended: Vec<Token> = self
            .leases
            .iter()
            .filter(|(_, lease)| !lease.gone && lease.grant.until().is_some_and(|until| until <= now))
            .map(|(token, _)| token)
            .collect();
        let mut lost: usize = ended.into_iter().map(|token| self.give_up(token)).sum();

        let mut idle: Vec<Token> = self
            .leases
            .iter()
            .filter(|(_, lease)| lease.grant.is_idle() && !planted!("dropped-claim-kept"))
            .map(|(token, _)| token)
            .collect();
        idle.sort_unstable_by_key(|token| token.entry);
        let mut release = Vec::new();
        for token in idle {
            let Some(lease) = self.leases.get(token) else { continue };
            if lease.gone && !self.release_lost {
                self.leases.remove(token);
            } else if !self.is_behind(token, lease) {
                lost += self.lose_behind(token);
                release.extend(self.leases.remove(token));
            }
        }
        if planted!("release-newest-first") {
            release.reverse();
        }
        let oldest = self.leases.iter().map(|(_, lease)| lease.received).min();
        Findings { release, lost, oldest }
    }

    /// Whether an earlier message of its key is in hand.
    fn is_behind(&self, token: Token, lease: &Lease<H>) -> bool {
        let Some(key) = &lease.key else { return false };
        let before = |(other, lease): (Token, &Lease<H>)| {
            other.entry < token.entry && lease.key.as_ref() == Some(key) && (self.release_lost || !lease.gone)
        };
        self.leases.iter().any(before)
    }

    /// What is to be extended at `now`: held, due, and not longer in hand than `longest`. It is due again at `again`,
    /// unless it is extended before.
    pub(super) fn due(&mut self, now: Instant, longest: Duration, again: Instant) -> Vec<(Named, H)> {
        let due = |lease: &Lease<H>| {
            !lease.gone
                && lease.due <= now
                && now < lease.received + longest
                && !lease.grant.is_idle()
                && lease.grant.state(|| now) != ClaimState::Lost
        };
        let leases = self.leases.iter_mut().filter(|(_, lease)| due(lease));
        let named = leases.map(|(token, lease)| {
            lease.due = again;
            (Named { token, turn: lease.turn }, lease.handle())
        });
        named.collect()
    }

    /// It was extended. Returns how many claims are lost, if it came too late. An answer that comes after that of a later
    /// extension changes nothing.
    pub(super) fn extended(&mut self, named: Named, until: Instant, now: Instant, due: Instant) -> usize {
        let Some(lease) = self.named(named) else { return 0 };
        if lease.grant.until().is_some_and(|later| until <= later) {
            return 0;
        }
        (lease.due, lease.failures) = (due, 0);
        if lease.grant.renew(Some(until), now) { 0 } else { self.give_up(named.token) }
    }

    /// Extending it failed for now. It is tried again after a pause that grows.
    pub(super) fn not_extended(&mut self, named: Named, now: Instant, first: Duration, longest: Duration) {
        if let Some(lease) = self.named(named) {
            lease.due = now + first.saturating_mul(1 << lease.failures.min(16)).min(longest);
            lease.failures += 1;
        }
    }

    fn named(&mut self, Named { token, turn }: Named) -> Option<&mut Lease<H>> {
        self.leases.get_mut(token).filter(|lease| lease.turn == turn)
    }

    /// Gives up everything, and returns what is still ours at `now`, oldest first. What has ended may be somebody else's
    /// by now, and on some providers giving it back would take it from them.
    pub(super) fn drain(&mut self, now: Instant) -> Vec<H> {
        let leases = mem::replace(&mut self.leases, Leases::new());
        let ended = |lease: &Lease<H>| lease.gone || lease.grant.until().is_some_and(|until| now >= until);
        let mut held: Vec<_> = leases.iter().filter(|(_, lease)| self.release_lost || !ended(lease)).collect();
        held.sort_unstable_by_key(|(token, _)| token.entry);
        held.into_iter().map(|(_, lease)| lease.handle()).collect()
    }
}

#[cfg(test)]
mod tests {
    use strait_core::{Grant, Key, Message};

    use super::*;

    /// Three messages of a key and one of another, the first lost, all claims dropped: what is released, round by round.
    fn released(release_lost: bool) -> Vec<&'static str> {
        let now = Instant::now();
        let mut held = Held::new(true, release_lost);
        let mut enter = |name: &'static str, key| {
            let message = Message::new(name).with_key(Key::new(key).expect("it is one"));
            let grant = Some(Grant::new(None, None));
            let mut leased = Leased { message, handle: name, origin: Origin::new(name), grant };
            held.enter(&mut leased, &Term { received: now, until: None, due: now })
        };
        let claims = [enter("a1", "a"), enter("a2", "a"), enter("b1", "b"), enter("a3", "a")];
        assert_eq!(held.give_up(claims[0].token()), 3, "the claims of a key are lost together");
        let [first, rest @ ..] = claims;
        drop(rest);
        let mut all = held.sweep(now).release;
        drop(first); // its handler ends last
        all.push("then");
        all.extend(held.sweep(now).release);
        all
    }

    #[test]
    fn what_was_lost_is_released_in_its_turn_only_where_that_is_asked_for() {
        assert_eq!(released(false), ["a2", "b1", "a3", "then"]);
        assert_eq!(released(true), ["b1", "then", "a1", "a2", "a3"]);
    }
}
