//! A provider that does what a test says, remembers what it was asked, and watches that the sender keeps the contract.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet, VecDeque},
    fmt,
    future::{pending, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{Error, ErrorKind, Id, Key, Limits, Message, Plan, Producer, Receipt, Result};
use strait_runtime::{Backoff, Outcome, Pending, Sender, SenderSettings};
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep},
};

pub(crate) const MS: Duration = Duration::from_millis(1);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// What becomes of one message of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Fate {
    Store,
    Fail(ErrorKind),
    /// Nobody knows, and whether it is stored.
    Lose(ErrorKind, bool),
    /// Throttled, with a pause to keep.
    Wait(Duration),
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Store,
    All(Fate),
    /// Fates in the order of the batch; what is left is stored.
    Each(Vec<Fate>),
    /// Stores all, and confirms so many.
    Count(usize),
    Panic,
    Hang,
    After(Duration, Box<Answer>),
    /// Waits for [`Provider::release`], and stores all.
    Held,
}

/// A request as it was sent.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) at: Duration,
    pub(crate) texts: Vec<String>,
    pub(crate) ids: Vec<Id>,
    pub(crate) bytes: usize,
    pub(crate) route: u64,
}

type Rule = Box<dyn FnMut(&[Message]) -> Answer + Send>;

#[derive(Clone)]
pub(crate) struct Provider(Arc<Inner>);

struct Inner {
    limits: Limits,
    start: Instant,
    gate: Semaphore,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    answers: VecDeque<Answer>,
    rule: Option<Rule>,
    requests: Vec<Request>,
    stored: Vec<Message>,
    confirmed: HashSet<Id>,
    keys: BTreeSet<Key>,
    under_way: usize,
    most_under_way: usize,
    dropped: usize,
    closed: usize,
    closing: Option<Answer>,
    violations: Vec<String>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").finish_non_exhaustive()
    }
}

impl Provider {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Inner {
            limits,
            start: Instant::now(),
            gate: Semaphore::new(0),
            state: Mutex::new(State::default()),
        }))
    }

    pub(crate) fn answer(&self, answers: impl IntoIterator<Item = Answer>) {
        self.0.state.lock().unwrap().answers.extend(answers);
    }

    /// Asks `rule` once there is no other answer.
    pub(crate) fn rule(&self, rule: impl FnMut(&[Message]) -> Answer + Send + 'static) {
        self.0.state.lock().unwrap().rule = Some(Box::new(rule));
    }

    /// Closing does not succeed: it panics, or hangs.
    pub(crate) fn close_with(&self, answer: Answer) {
        self.0.state.lock().unwrap().closing = Some(answer);
    }

    /// Lets so many of the requests go on that are or will be held.
    pub(crate) fn release(&self, count: usize) {
        self.0.gate.add_permits(count);
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.0.state.lock().unwrap().requests.clone()
    }

    pub(crate) fn texts(&self) -> Vec<Vec<String>> {
        self.requests().into_iter().map(|request| request.texts).collect()
    }

    pub(crate) fn sizes(&self) -> Vec<usize> {
        self.requests().iter().map(|request| request.texts.len()).collect()
    }

    pub(crate) fn times(&self) -> Vec<Duration> {
        self.requests().iter().map(|request| request.at).collect()
    }

    pub(crate) fn stored(&self) -> Vec<Message> {
        self.0.state.lock().unwrap().stored.clone()
    }

    pub(crate) fn most_under_way(&self) -> usize {
        self.0.state.lock().unwrap().most_under_way
    }

    /// How many calls were dropped before they returned.
    pub(crate) fn dropped(&self) -> usize {
        self.0.state.lock().unwrap().dropped
    }

    pub(crate) fn closed(&self) -> usize {
        self.0.state.lock().unwrap().closed
    }

    /// How many hold it, tests and senders.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// Panics if the sender ever broke the contract.
    pub(crate) fn check(&self) {
        let state = self.0.state.lock().unwrap();
        assert!(state.violations.is_empty(), "{:?}", state.violations);
    }

    fn begin(&self, batch: &[Message]) -> (UnderWay, Answer) {
        let mut state = self.0.state.lock().unwrap();
        let plans: Vec<_> = batch.iter().map(plan).collect();
        let request = Request {
            at: self.0.start.elapsed(),
            texts: batch.iter().map(text).collect(),
            ids: batch.iter().map(|message| message.id.unwrap()).collect(),
            bytes: plans.iter().map(|plan| plan.bytes).sum(),
            route: plans.first().map_or(0, |plan| plan.route),
        };
        let mut broken = Vec::new();
        if batch.is_empty() || batch.len() > self.0.limits.messages || request.bytes > self.0.limits.request_bytes {
            broken.push("limits");
        }
        if plans.iter().any(|plan| plan.route != request.route) {
            broken.push("routes");
        }
        if request.ids.iter().any(|id| state.confirmed.contains(id)) {
            broken.push("sent again although confirmed");
        }
        let mut held: BTreeMap<Key, usize> = BTreeMap::new();
        for (message, plan) in batch.iter().zip(&plans) {
            let Some(key) = message.key.clone() else { continue };
            if state.keys.contains(&key) {
                broken.push("two requests of a key");
            }
            if held.get(&key).is_some_and(|bytes| !self.0.limits.shares_key(*bytes, plan.bytes)) {
                broken.push("too much of a key in a request");
            }
            *held.entry(key).or_default() += plan.bytes;
        }
        let keys: BTreeSet<_> = held.into_keys().collect();
        state.violations.extend(broken.iter().map(|rule| format!("{rule}: {request:?}")));
        state.keys.extend(keys.iter().cloned());
        state.requests.push(request);
        state.under_way += 1;
        state.most_under_way = state.most_under_way.max(state.under_way);
        let answer = state.answers.pop_front().unwrap_or_else(|| match &mut state.rule {
            Some(rule) => rule(batch),
            None => Answer::Store,
        });
        (UnderWay { provider: self.clone(), keys, over: false }, answer)
    }

    /// Stores what `fates` say. Of a key, nothing is stored after a failure (P4).
    fn store(&self, batch: &[Message], fates: &[Fate]) -> Vec<Result<Receipt>> {
        let mut state = self.0.state.lock().unwrap();
        let mut failed = HashSet::new();
        let fates = fates.iter().copied().chain(std::iter::repeat(Fate::Store));
        let outcomes = batch.iter().zip(fates).map(|(message, mut fate)| {
            if let Some(key) = &message.key
                && failed.contains(key)
                && !matches!(fate, Fate::Fail(_))
            {
                fate = Fate::Fail(ErrorKind::Unavailable);
            }
            if fate != Fate::Store {
                failed.extend(message.key.clone());
            }
            if matches!(fate, Fate::Store | Fate::Lose(_, true)) {
                state.stored.push(message.clone());
            }
            match fate {
                Fate::Store => {
                    state.confirmed.extend(message.id);
                    Ok(Receipt::new(state.stored.len() as u64))
                }
                Fate::Fail(kind) => Err(Error::new(kind, "as the test says")),
                Fate::Lose(kind, _) => Err(Error::new(kind, "as the test says").into_ambiguous()),
                Fate::Wait(pause) => Err(Error::new(ErrorKind::Throttled, "as the test says").with_retry_after(pause)),
            }
        });
        outcomes.collect()
    }
}

/// A call that did not return yet.
struct UnderWay {
    provider: Provider,
    keys: BTreeSet<Key>,
    over: bool,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut state = self.provider.0.state.lock().unwrap();
        state.under_way -= 1;
        state.dropped += usize::from(!self.over);
        state.keys.retain(|key| !self.keys.contains(key));
    }
}

fn plan(message: &Message) -> Plan {
    let route = message.headers.get_str("route").map_or(0, |route| route.parse().unwrap());
    Plan::new(message.payload.len()).on_route(route)
}

#[async_trait]
impl Producer for Provider {
    fn limits(&self) -> Limits {
        self.0.limits
    }

    fn destinations(&self) -> Vec<String> {
        Vec::new()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        if message.headers.get("refused").is_some() {
            return Err(Error::new(ErrorKind::Unsupported, "headers: \"refused\" cannot be carried"));
        }
        Ok(plan(message))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        let (mut call, mut answer) = self.begin(batch);
        while let Answer::After(time, then) = answer {
            sleep(time).await;
            answer = *then;
        }
        let outcomes = match answer {
            Answer::Store => self.store(batch, &[]),
            Answer::All(fate) => self.store(batch, &vec![fate; batch.len()]),
            Answer::Each(fates) => self.store(batch, &fates),
            Answer::Count(count) => {
                // As many as there are messages is an honest answer; more are receipts of nothing.
                let more = std::iter::repeat_with(|| Ok(Receipt::new(0)));
                self.store(batch, &[]).into_iter().chain(more).take(count).collect()
            }
            Answer::Panic => panic!("as the test says"),
            Answer::Held => {
                self.0.gate.acquire().await.unwrap().forget();
                self.store(batch, &[])
            }
            Answer::Hang | Answer::After(..) => pending().await,
        };
        call.over = true;
        outcomes
    }

    async fn close(&self) -> Result<()> {
        let closing = {
            let mut state = self.0.state.lock().unwrap();
            state.closed += 1;
            state.closing.clone()
        };
        match closing {
            Some(Answer::Panic) => panic!("as the test says"),
            Some(_) => pending().await,
            None => Ok(()),
        }
    }
}

/// The payload, for short ones.
pub(crate) fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

/// A message without a key.
pub(crate) fn plain(text: &str) -> Message {
    Message::new(text.to_owned())
}

/// A message whose key is its first letter.
pub(crate) fn keyed(text: &str) -> Message {
    plain(text).with_key(Key::new(&text[..1]).unwrap())
}

pub(crate) fn of_bytes(bytes: usize) -> Message {
    Message::new("x".repeat(bytes))
}

/// A provider and its sender: at most ten messages and 100 bytes in a request, pauses of exactly known bounds.
pub(crate) fn open(change: impl FnOnce(&mut SenderSettings)) -> (Provider, Sender) {
    open_with(Limits::new(10, 100), change)
}

pub(crate) fn open_with(limits: Limits, change: impl FnOnce(&mut SenderSettings)) -> (Provider, Sender) {
    let provider = Provider::new(limits);
    (provider.clone(), Sender::new(Arc::new(provider), settings(change)).unwrap())
}

pub(crate) fn settings(change: impl FnOnce(&mut SenderSettings)) -> SenderSettings {
    let mut settings = SenderSettings::default();
    settings.deadline = 10 * SECOND;
    settings.backoff = Backoff::new(100 * MS, SECOND);
    change(&mut settings);
    settings
}

/// Accepts messages in order.
pub(crate) async fn accept(sender: &Sender, messages: impl IntoIterator<Item = Message>) -> Vec<Pending> {
    let mut accepted = Vec::new();
    for message in messages {
        accepted.push(sender.enqueue(message).await.unwrap());
    }
    accepted
}

pub(crate) async fn outcomes(accepted: Vec<Pending>) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    for pending in accepted {
        outcomes.push(pending.await);
    }
    outcomes
}

/// `S`, `N` and `U`, one for each.
pub(crate) fn letters(outcomes: &[Outcome]) -> String {
    let letter = |outcome: &Outcome| match outcome {
        Outcome::Sent(_) => 'S',
        Outcome::NotSent(error) => {
            assert!(!error.is_ambiguous(), "not sent, and ambiguous: {error}");
            'N'
        }
        Outcome::Unknown(error) => {
            assert!(error.is_ambiguous(), "unknown, and not ambiguous: {error}");
            'U'
        }
    };
    outcomes.iter().map(letter).collect()
}

/// Why a message was not sent.
pub(crate) fn error(outcome: Outcome) -> Error {
    outcome.into_result().unwrap_err()
}

/// Lets every task that can go on do so, without the clock.
pub(crate) async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// Polls once.
pub(crate) async fn poll<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|context| Poll::Ready(Pin::new(&mut future).poll(context))).await
}
