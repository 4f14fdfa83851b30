use std::{
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{AcqRel, Acquire, Relaxed, Release},
        },
    },
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use crate::planted;

/// Names one delivery to the consumer that made it. Meaningless to any other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// Which of the consumer's tenures or places it belongs to.
    pub source: u32,
    /// Which delivery there.
    pub entry: u64,
}

/// Whether a delivery is still ours to settle. It only ever moves forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClaimState {
    /// Ours: process it and settle it.
    Held,
    /// Being taken away in good order: what is started goes on to settlement, nothing new starts.
    Draining,
    /// Gone: somebody else has it or will. Settling has no effect.
    Lost,
}

/// The right to settle one delivery, until the provider takes it back.
///
/// On a queue each delivery has its own lease. On a log all deliveries of one tenure of a partition share one, so that a
/// rebalance moves many claims at once.
///
/// Dropping a claim that is not settled gives the delivery back: it will be delivered again.
#[derive(Debug)]
pub struct Claim {
    token: Token,
    shared: Arc<Shared>,
}

struct Shared {
    partition: Option<Arc<str>>,
    phase: Phase,
    /// Nanoseconds after [`EPOCH`]; [`NEVER`] for no end.
    until: AtomicU64,
    /// How many claims are left.
    claims: AtomicU32,
    lost: Notify,
}

/// The state of a tenure, and how far its entries were started, in one word: so that no entry can start unseen while the
/// cut is drawn.
///
/// The cut of a planned move is the highest entry that was ever started. Everything up to it runs to settlement, else
/// what was settled above a waiting message would be delivered again.
struct Phase(AtomicU64);

const DRAINING: u64 = 1 << 62;
const LOST: u64 = 1 << 63;
const STARTED: u64 = DRAINING - 1;

impl Phase {
    #[inline]
    fn is_lost(word: u64) -> bool {
        word & LOST != 0
    }

    /// The state as it is for `entry`: what is below the cut is held until the end.
    #[inline]
    fn of(word: u64, entry: u64) -> ClaimState {
        if Self::is_lost(word) {
            ClaimState::Lost
        } else if word & DRAINING != 0 && (entry >= word & STARTED || planted!("cut-ignored")) {
            ClaimState::Draining
        } else {
            ClaimState::Held
        }
    }

    /// Starts `entry`, unless it is above the cut or lost.
    #[inline]
    fn start(&self, entry: u64) -> bool {
        let mut word = self.0.load(Acquire);
        loop {
            if word & STARTED > entry || word & (LOST | DRAINING) != 0 {
                return Self::of(word, entry) == ClaimState::Held;
            }
            match self.0.compare_exchange_weak(word, (word & !STARTED) | (entry + 1), AcqRel, Acquire) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Returns whether it moved.
    fn advance(&self, flag: u64) -> bool {
        let before = self.0.fetch_or(flag, AcqRel);
        !Self::is_lost(before) && before & flag == 0
    }
}

/// What `until` counts from, so that it fits in an atomic. Somewhat earlier than its first use, since a clock that a test
/// has paused may be behind.
static EPOCH: LazyLock<Instant> = LazyLock::new(|| {
    let now = Instant::now();
    now.checked_sub(Duration::from_secs(60 * 60)).unwrap_or(now)
});

const NEVER: u64 = u64::MAX;

/// A point in time as claims keep it. Made once for many claims, since making one costs more than comparing many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment(u64);

impl From<Instant> for Moment {
    fn from(instant: Instant) -> Self {
        let nanos = instant.saturating_duration_since(*EPOCH).as_nanos();
        Self(u64::try_from(nanos).unwrap_or(NEVER).min(NEVER - 1))
    }
}

impl From<Moment> for Instant {
    fn from(Moment(nanos): Moment) -> Self {
        *EPOCH + Duration::from_nanos(nanos)
    }
}

fn nanos(until: Option<Moment>) -> u64 {
    until.map_or(NEVER, |Moment(nanos)| nanos)
}

impl Shared {
    fn until(&self) -> Option<Instant> {
        match self.until.load(Acquire) {
            NEVER => None,
            nanos => Some(Moment(nanos).into()),
        }
    }

    /// The phase now.
    fn phase(&self, now: impl FnOnce() -> Instant) -> u64 {
        self.phase_unless(|until| Moment::from(now()) >= until)
    }

    /// The phase, given whether it has come to the end. Whoever first sees the end says so to all: it must not be undone
    /// by a late extension.
    #[inline]
    fn phase_unless(&self, over: impl FnOnce(Moment) -> bool) -> u64 {
        let word = self.phase.0.load(Acquire);
        if Phase::is_lost(word) || planted!("until-ignored") {
            return word;
        }
        let until = self.until.load(Acquire);
        if until != NEVER && over(Moment(until)) {
            self.lose();
            return LOST;
        }
        word
    }

    fn lose(&self) -> bool {
        let moved = self.phase.advance(LOST);
        if moved {
            self.lost.notify_waiters();
        }
        moved
    }

    async fn revoked(&self) {
        loop {
            let told = self.lost.notified(); // counts from here, polled or not
            if Phase::is_lost(self.phase.0.load(Acquire)) {
                return;
            }
            told.await;
        }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("partition", &self.partition)
            .field("state", &Phase::of(self.phase.0.load(Acquire), u64::MAX))
            .field("until", &self.until())
            .field("claims", &self.claims)
            .finish_non_exhaustive()
    }
}

impl Claim {
    /// The name to settle by.
    #[inline]
    pub fn token(&self) -> Token {
        self.token
    }

    /// The partition it is a claim on, on a log.
    #[inline]
    pub fn partition(&self) -> Option<&str> {
        self.shared.partition.as_deref()
    }

    /// The state at the time that `now` tells; it is asked only if the claim has an end.
    ///
    /// The clock is the caller's, so that a paused clock is the only one. While a partition drains, what is at or below
    /// the cut still reads [`Held`](ClaimState::Held): it is to run to settlement.
    pub fn state(&self, now: impl FnOnce() -> Instant) -> ClaimState {
        Phase::of(self.shared.phase(now), self.token.entry)
    }

    /// Says that an attempt begins. Returns whether it may: not once the claim is lost, nor above the cut of a partition
    /// that drains.
    pub fn start(&self, now: impl FnOnce() -> Instant) -> bool {
        self.start_unless(|until| Moment::from(now()) >= until)
    }

    /// As [`start`](Self::start), for a caller with many claims: `over` says whether a claim has come to its end, and is
    /// asked only if it has one. Claims that came together mostly end together.
    #[inline]
    pub fn start_unless(&self, over: impl FnOnce(Moment) -> bool) -> bool {
        !Phase::is_lost(self.shared.phase_unless(over)) && self.shared.phase.start(self.token.entry)
    }

    /// Says that nothing new is to start under the same tenure: what a receiver does that closes.
    pub fn drain(&self) {
        self.shared.phase.advance(DRAINING);
    }

    /// When it ends by itself, unless it is extended before.
    pub fn until(&self) -> Option<Instant> {
        self.shared.until()
    }

    /// A way to hear of its loss that does not hold the delivery.
    #[inline]
    pub fn watch(&self) -> Watch {
        Watch(Arc::clone(&self.shared))
    }

    /// Resolves when somebody *says* that the claim is lost; a claim that merely ends at [`until`](Self::until) is heard
    /// by those with a clock. Cancel-safe.
    pub async fn revoked(&self) {
        self.shared.revoked().await;
    }
}

impl Drop for Claim {
    #[inline]
    fn drop(&mut self) {
        self.shared.claims.fetch_sub(1, Release);
    }
}

/// Hears of the loss of a claim, without being one: holding it does not hold the delivery.
#[derive(Debug)]
pub struct Watch(Arc<Shared>);

impl Watch {
    /// Whether the claim is lost at the time that `now` tells, as [`Claim::state`].
    pub fn is_lost(&self, now: impl FnOnce() -> Instant) -> bool {
        Phase::is_lost(self.0.phase(now))
    }

    /// When the claim ends by itself, unless it is extended before.
    pub fn until(&self) -> Option<Instant> {
        self.0.until()
    }

    /// As [`Claim::revoked`]. Cancel-safe.
    pub async fn revoked(&self) {
        self.0.revoked().await;
    }
}

/// The engine's end of a [`Claim`], or of a tenure's worth of them.
///
/// Dropping the grant loses every claim made from it.
#[derive(Debug)]
pub struct Grant(Arc<Shared>);

impl Grant {
    /// A grant that ends at `until`, unless it is renewed. On a log it names the partition.
    ///
    /// `until` counts from the instant *before* the request that got the lease was sent.
    pub fn new(partition: Option<Arc<str>>, until: Option<Instant>) -> Self {
        Self(Arc::new(Shared {
            partition,
            phase: Phase(AtomicU64::new(0)),
            until: AtomicU64::new(nanos(until.map(Moment::from))),
            claims: AtomicU32::new(0),
            lost: Notify::new(),
        }))
    }

    /// A claim on the delivery named `token`.
    #[inline]
    pub fn claim(&self, token: Token) -> Claim {
        self.0.claims.fetch_add(1, Relaxed);
        Claim { token, shared: Arc::clone(&self.0) }
    }

    /// The state at the time that `now` tells.
    pub fn state(&self, now: impl FnOnce() -> Instant) -> ClaimState {
        Phase::of(self.0.phase(now), u64::MAX)
    }

    /// The state at `now`.
    #[inline]
    pub fn state_at(&self, now: Moment) -> ClaimState {
        Phase::of(self.0.phase_unless(|until| now >= until), u64::MAX)
    }

    /// When it ends by itself.
    pub fn until(&self) -> Option<Instant> {
        self.0.until()
    }

    /// The entry below which everything was started or is below one that was: the cut, once it drains.
    pub fn started(&self) -> u64 {
        self.0.phase.0.load(Acquire) & STARTED
    }

    /// Starts to drain: no entry starts above the highest that was started so far. Returns whether it did not before.
    pub fn drain(&self) -> bool {
        self.0.phase.advance(DRAINING)
    }

    /// Loses every claim. Returns whether they were not lost before.
    pub fn lose(&self) -> bool {
        self.0.lose()
    }

    /// Extends every claim to `until`, unless they ended before `now`. An end only ever moves later: answers may overtake
    /// each other. Returns whether they are still ours.
    pub fn renew(&self, until: Option<Instant>, now: Instant) -> bool {
        if self.state(|| now) == ClaimState::Lost {
            return false;
        }
        self.0.until.fetch_max(nanos(until.map(Moment::from)), AcqRel);
        true
    }

    /// How many claims were neither settled nor given back.
    #[inline]
    pub fn claims(&self) -> usize {
        self.0.claims.load(Acquire) as usize
    }

    /// Whether every claim was settled or given back.
    pub fn is_idle(&self) -> bool {
        self.claims() == 0
    }

    /// Makes it as good as new, if nobody holds or watches a claim from it: an engine with a grant a message uses them
    /// again. Returns whether it did.
    #[inline]
    pub fn reuse(&mut self, until: Option<Moment>) -> bool {
        let Some(shared) = Arc::get_mut(&mut self.0) else { return false };
        *shared.phase.0.get_mut() = 0;
        *shared.until.get_mut() = nanos(until);
        true
    }
}

impl Drop for Grant {
    fn drop(&mut self) {
        self.lose();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn token(entry: u64) -> Token {
        Token { source: 0, entry }
    }

    #[test]
    fn moves_forward_only() {
        let grant = Grant::new(Some("p0".into()), None);
        let claim = grant.claim(token(2));
        let state = || claim.state(Instant::now);
        assert_eq!((state(), claim.partition(), claim.until()), (ClaimState::Held, Some("p0"), None));
        assert!(grant.drain() && !grant.drain());
        assert_eq!(state(), ClaimState::Draining);
        assert!(grant.lose() && !grant.lose());
        assert!(!grant.drain() && !grant.renew(None, Instant::now()));
        assert_eq!(state(), ClaimState::Lost);
    }

    #[test]
    fn is_lost_from_its_end_on_for_ever() {
        let start = Instant::now() + SECOND;
        let grant = Grant::new(None, Some(start + 2 * SECOND));
        let claim = grant.claim(Token::default());
        assert_eq!(claim.state(|| start + SECOND), ClaimState::Held);
        assert!(grant.renew(Some(start + 4 * SECOND), start + SECOND));
        assert!(grant.renew(Some(start + 3 * SECOND), start + SECOND), "what was sent earlier is answered later");
        assert_eq!(claim.state(|| start + 3 * SECOND), ClaimState::Held);
        assert!(!claim.start(|| start + 4 * SECOND));
        assert!(!grant.renew(Some(start + 9 * SECOND), start + SECOND), "an end that was seen is not undone");
        assert_eq!(claim.state(|| start), ClaimState::Lost);
    }

    #[test]
    fn what_is_below_the_cut_is_held_until_the_end() {
        let grant = Grant::new(Some("p0".into()), None);
        let claims: Vec<_> = (0..4).map(|entry| grant.claim(token(entry))).collect();
        assert!(claims[2].start(Instant::now));
        assert_eq!(grant.started(), 3);
        grant.drain();
        let states: Vec<_> = claims.iter().map(|claim| claim.state(Instant::now)).collect();
        assert_eq!(states, [ClaimState::Held, ClaimState::Held, ClaimState::Held, ClaimState::Draining]);
        assert!(claims[0].start(Instant::now), "below the cut, so it may start, and must");
        assert!(!claims[3].start(Instant::now));
        assert_eq!(grant.started(), 3, "the cut is drawn once");
    }

    #[test]
    fn no_entry_starts_unseen_while_the_cut_is_drawn() {
        for _ in 0..500 {
            let grant = Grant::new(None, None);
            let claims: Vec<_> = (0..8).map(|entry| grant.claim(token(entry))).collect();
            let started = std::thread::scope(|scope| {
                let starter = scope.spawn(|| claims.iter().filter(|claim| claim.start(Instant::now)).count() as u64);
                grant.drain();
                starter.join().unwrap()
            });
            assert_eq!(started, grant.started());
        }
    }

    #[test]
    fn is_reused_only_when_nobody_holds_or_watches_a_claim() {
        let mut grant = Grant::new(None, None);
        let claim = grant.claim(Token::default());
        assert!(!grant.is_idle());
        let watch = claim.watch();
        drop(claim);
        assert!(grant.is_idle(), "a watch holds nothing");
        drop(watch);
        grant.lose();
        assert!(grant.reuse(None));
        let claim = grant.claim(Token::default());
        assert_eq!(claim.state(Instant::now), ClaimState::Held);
        assert!(!grant.reuse(None));
        assert_eq!(claim.state(Instant::now), ClaimState::Held, "nothing has happened to it");
        drop(grant);
        assert_eq!(claim.state(Instant::now), ClaimState::Lost, "dropped, so lost");
    }

    #[tokio::test]
    async fn tells_those_who_wait() {
        let grant = Grant::new(None, None);
        let claim = grant.claim(Token::default());
        let watch = claim.watch();
        let (told, heard, ()) = tokio::join!(claim.revoked(), watch.revoked(), async { drop(grant) });
        assert_eq!((told, heard, size_of::<Claim>()), ((), (), 24));
    }
}
