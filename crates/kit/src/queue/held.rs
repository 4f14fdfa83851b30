use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use strait_core::{Claim, ClaimState, Key, Moment, Token, planted};

use super::{
    Leased,
    leases::{Changing, Lease, Leases, Term},
};

/// What is in hand.
///
/// No calls and no clock: the consumer brings what was leased, the tasks that renew and release ask what is due. Messages
/// of one key are looked for only when one of them is lost or released, which is rare.
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

impl Named {
    /// The number of its delivery: they count.
    pub(super) fn entry(&self) -> u64 {
        self.token.entry
    }
}

/// Why a lease cannot be postponed now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotNow {
    Lost,
    /// Another call that changes it is under way.
    Changing,
}

/// What a sweep found.
pub(super) struct Findings<H> {
    /// To be released, in this order. Each stays in hand until that has an outcome.
    pub(super) release: Vec<(Named, H)>,
    /// When the oldest of what is left was received.
    pub(super) oldest: Option<Instant>,
}

/// The first entry of each key, where something happened that the later entries of the key share.
type Firsts = HashMap<Key, u64>;

fn note(firsts: &mut Firsts, key: &Key, entry: u64) {
    match firsts.get_mut(key) {
        Some(first) => *first = entry.min(*first),
        None => drop(firsts.insert(key.clone(), entry)),
    }
}

impl<H: Clone> Held<H> {
    pub(super) fn new(ordered: bool, release_lost: bool) -> Self {
        Self { leases: Leases::new(), ordered, release_lost }
    }

    /// Whether this is a second delivery of a message in hand: then its handle replaces the one before, and it is not
    /// delivered. What has ended by `now` is not in hand, although it was when the second was asked for.
    pub(super) fn renew(&mut self, leased: &Leased<H>, term: &Term, now: Instant) -> bool {
        let Some(token) = self.leases.find(leased.origin.position()) else { return false };
        let Some(lease) = self.leases.get_mut(token) else { return false };
        if lease.grant.renew(Some(term.until.into()), now) && !planted!("second-delivery-handed-out") {
            lease.again(leased.handle.clone(), term);
            return true;
        }
        self.leases.remove(token); // lost to us meanwhile, or released: this is a delivery of its own
        false
    }

    /// Takes in what was leased, and claims it. The message stays where it is: it is large to move.
    #[inline]
    pub(super) fn enter(&mut self, leased: &Leased<H>, term: &Term) -> Claim {
        let key = if self.ordered { leased.message.key.clone() } else { None };
        let position = leased.origin.position().clone();
        self.leases.add(leased.handle.clone(), key, position, term)
    }

    /// The handles of the claims that are ours at `now`, and which each token names. Where one has ended, the later ones of
    /// its key are lost with it.
    pub(super) fn handles(&self, tokens: &[Token], now: Moment) -> (Vec<Option<Named>>, Vec<H>) {
        let (mut named, mut handles) = (Vec::with_capacity(tokens.len()), Vec::with_capacity(tokens.len()));
        let mut lost = Firsts::new();
        for token in tokens {
            let found = self.leases.get(*token);
            let held = found.filter(|lease| lease.grant.state_at(now) != ClaimState::Lost);
            named.push(held.map(|lease| Named { token: *token, turn: lease.turn }));
            match held {
                Some(lease) => handles.push(lease.handle()),
                None => {
                    if let Some(key) = found.and_then(|lease| lease.key.as_ref()) {
                        note(&mut lost, key, token.entry);
                    }
                }
            }
        }
        self.lose_behind(&lost);
        (named, handles)
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

    /// The provider took these away. The later claims of their keys are lost with them.
    pub(super) fn lose(&mut self, all: impl IntoIterator<Item = Named>) {
        let mut firsts = Firsts::new();
        for Named { token, turn } in all {
            if let Some(lease) = self.leases.get_mut(token).filter(|lease| lease.turn == turn) {
                give_up(token, lease, &mut firsts);
            }
        }
        self.lose_behind(&firsts);
    }

    /// The claims of these are lost, but they are still leased: they will be released, and the later ones of their keys.
    pub(super) fn lose_claims(&mut self, all: impl IntoIterator<Item = Named>) {
        let mut firsts = Firsts::new();
        for named in all {
            if let Some(lease) = self.named(named) {
                lease.grant.lose();
                if let Some(key) = &lease.key {
                    note(&mut firsts, key, named.token.entry);
                }
            }
        }
        self.lose_behind(&firsts);
    }

    /// Loses the claims that came later than the first of their key. They are still leased, and will be released.
    fn lose_behind(&self, firsts: &Firsts) {
        if firsts.is_empty() || planted!("lost-key-mates-kept") {
            return;
        }
        for (token, lease) in self.leases.iter() {
            let first = lease.key.as_ref().and_then(|key| firsts.get(key));
            if first.is_some_and(|first| *first < token.entry) {
                lease.grant.lose();
            }
        }
    }

    /// Finds what ended by itself, and what nobody holds any more. The latter is released oldest first, and of a key
    /// only once nothing before it is in hand.
    pub(super) fn sweep(&mut self, now: Instant) -> Findings<H> {
        let mut firsts = Firsts::new();
        for (token, lease) in self.leases.iter_mut() {
            if !lease.gone && lease.grant.until().is_some_and(|until| until <= now) {
                give_up(token, lease, &mut firsts);
            }
        }
        let mut release = self.idle(now);
        for (Named { token, .. }, _) in &release {
            if let Some(lease) = self.leases.get(*token) {
                lease.grant.lose();
                if let Some(key) = &lease.key {
                    note(&mut firsts, key, token.entry);
                }
            }
        }
        self.lose_behind(&firsts);
        if planted!("release-newest-first") {
            release.reverse();
        }
        let oldest = self.leases.iter().map(|(_, lease)| lease.received).min();
        Findings { release, oldest }
    }

    /// What nobody holds any more, oldest first. Forgets what there is nothing to release of.
    fn idle(&mut self, now: Instant) -> Vec<(Named, H)> {
        let idle = |lease: &Lease<H>| {
            lease.grant.is_idle() && lease.retry.is_none_or(|retry| retry <= now) && !planted!("dropped-claim-kept")
        };
        let mut found: Vec<Token> =
            self.leases.iter().filter(|(_, lease)| idle(lease)).map(|(token, _)| token).collect();
        if found.is_empty() {
            return Vec::new();
        }
        if !self.release_lost {
            found.retain(|token| {
                let gone = self.leases.get(*token).is_some_and(|lease| lease.gone);
                if gone {
                    self.leases.remove(*token);
                }
                !gone
            });
        }
        found.sort_unstable_by_key(|token| token.entry);
        let mut before = Firsts::new();
        for (token, lease) in self.leases.iter() {
            if let Some(key) = lease.key.as_ref().filter(|_| (self.release_lost || !lease.gone) && !idle(lease)) {
                note(&mut before, key, token.entry);
            }
        }
        let turn = |token: Token| {
            let lease = self.leases.get(token)?;
            let first = lease.key.as_ref().and_then(|key| before.get(key));
            let is_behind = first.is_some_and(|first| *first < token.entry);
            (!is_behind).then(|| (Named { token, turn: lease.turn }, lease.handle()))
        };
        found.into_iter().filter_map(turn).collect()
    }

    /// It was released, or is nobody's to release any more.
    pub(super) fn released(&mut self, Named { token, turn }: Named) {
        if self.leases.get(token).is_some_and(|lease| lease.turn == turn) {
            self.leases.remove(token);
        }
    }

    /// Releasing it failed. That is tried again after a pause that grows, for as long as it is leased.
    pub(super) fn not_released(&mut self, named: Named, now: Instant, first: Duration, longest: Duration) {
        let Some(lease) = self.named(named) else { return };
        if lease.gone {
            self.leases.remove(named.token);
        } else {
            lease.failures = if lease.retry.is_some() { lease.failures + 1 } else { 0 };
            lease.retry = Some(now + pause(lease.failures, first, longest));
        }
    }

    /// What is to be extended at `now`: held, due, and not longer in hand than `longest`. It is due again at `again`,
    /// unless it is extended before.
    pub(super) fn due(&mut self, now: Instant, longest: Duration, again: Instant) -> Vec<(Named, H)> {
        let due = |lease: &Lease<H>| {
            !lease.gone
                && lease.due <= now
                && now.saturating_duration_since(lease.received) < longest
                && !lease.grant.is_idle()
                && lease.changing != Some(Changing::Postponing)
                && lease.grant.state(|| now) != ClaimState::Lost
        };
        let leases = self.leases.iter_mut().filter(|(_, lease)| due(lease));
        let named = leases.map(|(token, lease)| {
            (lease.due, lease.changing) = (again, Some(Changing::Extending));
            (Named { token, turn: lease.turn }, lease.handle())
        });
        named.collect()
    }

    /// It was extended. An answer that comes after that of a later extension changes nothing. Returns whether it is still
    /// ours: it may have come too late.
    #[must_use]
    pub(super) fn extended(&mut self, named: Named, until: Instant, now: Instant, due: Instant) -> bool {
        let Some(lease) = self.named(named) else { return true };
        lease.changing = None;
        if lease.grant.until().is_some_and(|later| until <= later) {
            return true;
        }
        (lease.due, lease.failures) = (due, 0);
        lease.grant.renew(Some(until), now)
    }

    /// Extending it failed for now. It is tried again after a pause that grows.
    pub(super) fn not_extended(&mut self, named: Named, now: Instant, first: Duration, longest: Duration) {
        if let Some(lease) = self.named(named) {
            lease.due = now + pause(lease.failures, first, longest);
            lease.failures += 1;
            lease.changing = None;
        }
    }

    /// What names the lease of this claim, which is ours at `now`, and how long it has been in hand. It is not extended
    /// until the outcome of postponing it is known, and cannot be postponed while it is being extended: of two calls under
    /// way, nobody knows which comes last.
    pub(super) fn postponing(&mut self, token: Token, now: Instant) -> Result<(Named, H, Duration), NotNow> {
        let Some(lease) = self.leases.get_mut(token) else { return Err(NotNow::Lost) };
        if lease.gone || lease.grant.state(|| now) == ClaimState::Lost {
            return Err(NotNow::Lost);
        }
        if lease.changing.is_some() {
            return Err(NotNow::Changing);
        }
        lease.changing = Some(Changing::Postponing);
        let named = Named { token, turn: lease.turn };
        Ok((named, lease.handle(), now.saturating_duration_since(lease.received)))
    }

    /// These are with the provider until their pauses are over. The later claims of their keys are lost with them.
    pub(super) fn postponed(&mut self, all: &[Named]) {
        let mut firsts = Firsts::new();
        for Named { token, .. } in all {
            if let Some(key) = self.leases.get(*token).and_then(|lease| lease.key.as_ref()) {
                note(&mut firsts, key, token.entry);
            }
            self.leases.remove(*token);
        }
        self.lose_behind(&firsts);
    }

    /// Postponing it failed: it is extended as before.
    pub(super) fn not_postponed(&mut self, named: Named) {
        if let Some(lease) = self.named(named) {
            lease.changing = None;
        }
    }

    fn named(&mut self, Named { token, turn }: Named) -> Option<&mut Lease<H>> {
        self.leases.get_mut(token).filter(|lease| lease.turn == turn)
    }

    /// Loses every claim: what is left is to be released.
    pub(super) fn lose_all(&self) {
        for (_, lease) in self.leases.iter() {
            lease.grant.lose();
        }
    }

    /// What is to be released at a close, oldest first, from behind `entry` on: so many at most. They stay in hand until
    /// that has an outcome. What has ended by `now` is forgotten: it may be somebody else's, and on some providers
    /// releasing it would take it from them.
    pub(super) fn left_behind(&mut self, entry: u64, most: usize, now: Instant) -> Vec<(Named, H)> {
        let ended = |lease: &Lease<H>| lease.gone || lease.grant.until().is_some_and(|until| now >= until);
        let tokens = |leases: &Leases<H>, meant: &dyn Fn(Token, &Lease<H>) -> bool| -> Vec<Token> {
            leases.iter().filter(|(token, lease)| meant(*token, lease)).map(|(token, _)| token).collect()
        };
        if !self.release_lost {
            for token in tokens(&self.leases, &|_, lease| ended(lease)) {
                self.leases.remove(token);
            }
        }
        let mut left = tokens(&self.leases, &|token, _| token.entry > entry);
        left.sort_unstable_by_key(|token| token.entry);
        left.truncate(most);
        let named = |token| self.leases.get(token).map(|lease| (Named { token, turn: lease.turn }, lease.handle()));
        left.into_iter().filter_map(named).collect()
    }
}

/// Marks what is leased to us no longer, and loses its claim.
fn give_up<H>(token: Token, lease: &mut Lease<H>, firsts: &mut Firsts) {
    lease.gone = true;
    lease.grant.lose();
    if let Some(key) = &lease.key {
        note(firsts, key, token.entry);
    }
}

/// How long to wait after so many failures before the last.
fn pause(failures: u32, first: Duration, longest: Duration) -> Duration {
    first.saturating_mul(1 << failures.min(16)).min(longest)
}

#[cfg(test)]
mod tests {
    use strait_core::{Message, Origin};

    use super::*;

    const HOUR: Duration = Duration::from_secs(60 * 60);

    fn hold(held: &mut Held<&'static str>, name: &'static str, key: &str, now: Instant) -> Claim {
        let message = Message::new(name).with_key(Key::new(key).expect("it is one"));
        let leased = Leased { message, handle: name, origin: Origin::new(name) };
        held.enter(&leased, &Term { received: now, until: (now + HOUR).into(), due: now })
    }

    fn named(held: &Held<&'static str>, claim: &Claim) -> Named {
        held.handles(&[claim.token()], Instant::now().into()).0[0].expect("it is held")
    }

    /// What a sweep finds is released at once.
    fn release(held: &mut Held<&'static str>, now: Instant) -> Vec<&'static str> {
        let found = held.sweep(now).release;
        for (named, _) in &found {
            held.released(*named);
        }
        found.into_iter().map(|(_, handle)| handle).collect()
    }

    /// Three messages of a key and one of another, the first lost, all claims dropped: what is released, round by round.
    fn released(release_lost: bool) -> Vec<&'static str> {
        let now = Instant::now();
        let mut held = Held::new(true, release_lost);
        let mut enter = |name, key| hold(&mut held, name, key, now);
        let claims = [enter("a1", "a"), enter("a2", "a"), enter("b1", "b"), enter("a3", "a")];
        let first = named(&held, &claims[0]);
        held.lose([first]);
        let states = claims.each_ref().map(|claim| claim.state(|| now) == ClaimState::Lost);
        assert_eq!(states, [true, true, false, true], "the claims of a key are lost together");
        let [first, rest @ ..] = claims;
        drop(rest);
        let mut all = release(&mut held, now);
        drop(first); // its handler ends last
        all.push("then");
        all.extend(release(&mut held, now));
        all
    }

    #[test]
    fn what_was_lost_is_released_in_its_turn_only_where_that_is_asked_for() {
        assert_eq!(released(false), ["a2", "b1", "a3", "then"]);
        assert_eq!(released(true), ["b1", "then", "a1", "a2", "a3"]);
    }

    #[test]
    fn what_is_extended_after_it_was_lost_with_another_is_released() {
        let now = Instant::now();
        let mut held = Held::new(true, false);
        let claims = [hold(&mut held, "a1", "a", now), hold(&mut held, "a2", "a", now)];
        let [first, second] = claims.each_ref().map(|claim| named(&held, claim));
        held.lose([first]);
        assert!(!held.extended(second, now + 2 * HOUR, now, now + HOUR));
        held.lose_claims([second]);
        drop(claims);
        assert_eq!(release(&mut held, now), ["a2"], "it is still leased");
    }

    #[test]
    fn what_could_not_be_released_stays_and_what_is_behind_it_waits() {
        let now = Instant::now();
        let mut held = Held::new(true, false);
        drop([hold(&mut held, "a1", "a", now), hold(&mut held, "b1", "b", now)]);
        let found = held.sweep(now).release;
        let second = Duration::from_secs(1);
        for ((named, _), name) in found.iter().zip(["a1", "b1"]) {
            if name == "a1" { held.not_released(*named, now, second, HOUR) } else { held.released(*named) }
        }
        drop(hold(&mut held, "a2", "a", now));
        assert_eq!(release(&mut held, now), [""; 0], "a2 waits for a1, and a1 for its pause");
        assert_eq!(release(&mut held, now + second), ["a1", "a2"]);
        assert!(held.left_behind(0, 9, now).is_empty());
    }

    #[test]
    fn everything_is_known_to_a_close_until_it_is_released() {
        let now = Instant::now();
        let mut held = Held::new(true, false);
        let claims = [hold(&mut held, "a1", "a", now), hold(&mut held, "b1", "b", now)];
        let names = |found: &[(Named, &'static str)]| found.iter().map(|(_, name)| *name).collect::<Vec<_>>();
        let [first, second] = claims;
        drop(first);
        let under_way = held.sweep(now).release;
        assert_eq!(names(&under_way), ["a1"]);
        held.lose_all();
        assert_eq!(second.state(|| now), ClaimState::Lost);
        let found = held.left_behind(0, 9, now);
        assert_eq!(names(&found), ["a1", "b1"]);
        assert_eq!(names(&held.left_behind(0, 1, now)), ["a1"], "as many as are asked for");
        assert_eq!(names(&held.left_behind(found[0].0.entry(), 9, now)), ["b1"], "what is behind that");
        held.released(found[0].0);
        assert_eq!(names(&held.left_behind(0, 9, now)), ["b1"], "a close that was broken off goes on");
        assert_eq!(names(&held.left_behind(0, 9, now + HOUR)), [""; 0], "what has ended is nobody's to release");
    }
}
