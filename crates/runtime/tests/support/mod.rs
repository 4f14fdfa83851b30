//! A consumer and a producer whose every answer a test decides.
#![allow(dead_code, clippy::unwrap_used, reason = "each test uses its part, and a broken double may panic")]

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Debug,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{
    Budget, Consumer, Error, ErrorKind, Grant, Guarantees, Key, Limits, Message, Ordering, Origin, Plan, Producer,
    Receipt, Received, Result, Token,
};
use tokio::sync::Notify;

pub(crate) fn message(text: &str) -> Message {
    let key = Key::new(&text[..1]).unwrap();
    Message::new(text.to_owned()).with_key(key)
}

pub(crate) fn text(message: &Message) -> String {
    String::from_utf8(message.payload.to_vec()).unwrap()
}

/// Hands out what it is given, a grant a message, and remembers what was settled.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Notify,
}

fn throttled(pause: Duration) -> Error {
    Error::new(ErrorKind::Throttled, "as the script says").with_retry_after(pause)
}

/// A message, and how long its claim lasts.
type Leased = (Message, Option<Duration>);

#[derive(Debug, Default)]
struct State {
    replies: VecDeque<Result<Vec<Leased>>>,
    grants: BTreeMap<u64, Grant>,
    next: u64,
    /// How many processes ended while they worked on a message.
    crashes: BTreeMap<u64, u32>,
    /// Which message a delivery is of, if that came before.
    again: BTreeMap<u64, u64>,
    settled: Vec<u64>,
    /// What the next settlements answer.
    settle: VecDeque<Error>,
    /// How long a settlement takes.
    settling: Duration,
    /// How long the close takes.
    closing: Duration,
    partition: Option<Grant>,
    /// Which tenure of the partition it is.
    tenure: u32,
    budgets: Vec<Budget>,
    /// The longest pause that the provider keeps; what was postponed, and what the next calls answer.
    postpones: Option<Duration>,
    postponed: Vec<(u64, Duration)>,
    postpone_fails: VecDeque<ErrorKind>,
    closed: bool,
}

impl Script {
    /// Messages that come under one grant, as those of a partition do.
    pub(crate) fn log() -> Self {
        let script = Self::default();
        script.0.state.lock().unwrap().partition = Some(Grant::new(Some("p0".into()), None));
        script
    }

    /// Keeps messages back for pauses up to `longest`. They come again when the test says so.
    pub(crate) fn postpones(&self, longest: Duration) {
        self.0.state.lock().unwrap().postpones = Some(longest);
    }

    pub(crate) fn postpone_with(&self, kinds: &[ErrorKind]) {
        self.0.state.lock().unwrap().postpone_fails.extend(kinds);
    }

    /// Which deliveries were postponed, and for how long.
    pub(crate) fn postponed(&self) -> Vec<(u64, Duration)> {
        self.0.state.lock().unwrap().postponed.clone()
    }

    pub(crate) fn push(&self, texts: &[&str]) {
        self.reply(Ok(texts.iter().map(|text| (message(text), None)).collect()));
    }

    pub(crate) fn push_until(&self, text: &str, lease: Duration) {
        self.reply(Ok(vec![(message(text), Some(lease))]));
    }

    pub(crate) fn push_message(&self, message: Message) {
        self.reply(Ok(vec![(message, None)]));
    }

    pub(crate) fn fail(&self, kind: ErrorKind) {
        self.reply(Err(Error::new(kind, "as the script says")));
    }

    fn reply(&self, reply: Result<Vec<(Message, Option<Duration>)>>) {
        self.0.state.lock().unwrap().replies.push_back(reply);
        self.0.changed.notify_one();
    }

    /// So many processes ended while they worked on the n-th message.
    pub(crate) fn crashed(&self, entry: u64, times: u32) {
        self.0.state.lock().unwrap().crashes.insert(entry, times);
    }

    /// The n-th delivery is of a message that came before, as the `first`-th.
    pub(crate) fn is_again(&self, entry: u64, first: u64) {
        self.0.state.lock().unwrap().again.insert(entry, first);
    }

    /// A call to receive fails, and the provider asks for a pause.
    pub(crate) fn fail_asking_for(&self, pause: Duration) {
        self.reply(Err(throttled(pause)));
    }

    pub(crate) fn settle_with(&self, kinds: &[ErrorKind]) {
        let errors = kinds.iter().map(|kind| Error::new(*kind, "as the script says"));
        self.0.state.lock().unwrap().settle.extend(errors);
    }

    /// A settlement fails, and the provider asks for a pause.
    pub(crate) fn settle_asking_for(&self, pause: Duration) {
        self.0.state.lock().unwrap().settle.push_back(throttled(pause));
    }

    pub(crate) fn settling_takes(&self, time: Duration) {
        self.0.state.lock().unwrap().settling = time;
    }

    pub(crate) fn closing_takes(&self, time: Duration) {
        self.0.state.lock().unwrap().closing = time;
    }

    pub(crate) fn settled(&self) -> Vec<u64> {
        self.0.state.lock().unwrap().settled.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.state.lock().unwrap().closed
    }

    /// The claim on the n-th message is lost.
    pub(crate) fn lose(&self, entry: u64) {
        self.0.state.lock().unwrap().grants.remove(&entry);
    }

    /// How many claims nobody holds any more.
    pub(crate) fn given_back(&self) -> usize {
        self.0.state.lock().unwrap().grants.values().filter(|grant| grant.is_idle()).count()
    }

    pub(crate) fn drain(&self) {
        self.0.state.lock().unwrap().partition.as_ref().unwrap().drain();
    }

    /// The partition is lost, and gained again.
    pub(crate) fn regain(&self) {
        let mut state = self.0.state.lock().unwrap();
        state.partition = Some(Grant::new(Some("p0".into()), None));
        state.tenure += 1;
    }

    pub(crate) fn claims(&self) -> usize {
        self.0.state.lock().unwrap().partition.as_ref().unwrap().claims()
    }

    pub(crate) fn budgets(&self) -> Vec<Budget> {
        self.0.state.lock().unwrap().budgets.clone()
    }
}

#[async_trait]
impl Consumer for Script {
    fn guarantees(&self) -> Guarantees {
        let guarantees = Guarantees::new("script", "test").with_ordering(Ordering::Key).with_message_bytes(1 << 20);
        match self.0.state.lock().unwrap().postpones {
            Some(longest) => guarantees.with_postpones(longest),
            None => guarantees,
        }
    }

    async fn receive(&self, budget: Budget) -> Result<Vec<Received>> {
        self.0.state.lock().unwrap().budgets.push(budget);
        loop {
            let changed = self.0.changed.notified();
            {
                let mut state = self.0.state.lock().unwrap();
                if state.closed {
                    return Err(Error::new(ErrorKind::Closed, "the consumer is closed"));
                }
                if let Some(reply) = state.replies.pop_front() {
                    let (mut batch, mut rest) = (Vec::new(), Vec::new());
                    for (message, lease) in reply? {
                        if batch.len() == budget.messages {
                            rest.push((message, lease));
                            continue;
                        }
                        let entry = state.next;
                        state.next += 1;
                        let token = Token { source: state.tenure, entry };
                        let claim = if let Some(grant) = &state.partition {
                            grant.claim(token)
                        } else {
                            let until = lease.map(|lease| (tokio::time::Instant::now() + lease).into_std());
                            let grant = Grant::new(None, until);
                            let claim = grant.claim(token);
                            state.grants.insert(entry, grant);
                            claim
                        };
                        let position = state.again.get(&entry).copied().unwrap_or(entry);
                        let crashes = state.crashes.get(&entry).copied().unwrap_or(0);
                        batch.push(Received::new(message, claim, Origin::new(position).with_crashes(crashes)));
                    }
                    if !rest.is_empty() {
                        state.replies.push_front(Ok(rest));
                    }
                    return Ok(batch);
                }
            }
            changed.await;
        }
    }

    async fn settle(&self, tokens: &[Token]) -> Vec<Result<()>> {
        let time = self.0.state.lock().unwrap().settling;
        tokio::time::sleep(time).await;
        let mut state = self.0.state.lock().unwrap();
        tokens
            .iter()
            .map(|token| {
                if let Some(error) = state.settle.pop_front() {
                    return Err(error);
                }
                if state.partition.is_none() && state.grants.remove(&token.entry).is_none() {
                    return Err(Error::new(ErrorKind::Lost, "the claim is lost"));
                }
                state.settled.push(token.entry);
                Ok(())
            })
            .collect()
    }

    async fn postpone(&self, pauses: &[(Token, Duration)]) -> Vec<Result<()>> {
        tokio::task::yield_now().await;
        let mut state = self.0.state.lock().unwrap();
        let postpone = |(token, pause): &(Token, Duration)| {
            if let Some(kind) = state.postpone_fails.pop_front() {
                return Err(Error::new(kind, "as the script says"));
            }
            state.postponed.push((token.entry, *pause));
            drop(state.grants.remove(&token.entry));
            Ok(())
        };
        pauses.iter().map(postpone).collect()
    }

    async fn close(&self) -> Result<()> {
        let time = self.0.state.lock().unwrap().closing;
        tokio::time::sleep(time).await;
        self.0.state.lock().unwrap().closed = true;
        self.0.changed.notify_one();
        Ok(())
    }
}

/// Keeps what it is sent, unless it is told to fail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Store(Arc<Mutex<(Vec<Message>, Option<ErrorKind>)>>);

impl Store {
    pub(crate) fn fail_with(&self, kind: Option<ErrorKind>) {
        self.0.lock().unwrap().1 = kind;
    }

    pub(crate) fn stored(&self) -> Vec<Message> {
        self.0.lock().unwrap().0.clone()
    }
}

#[async_trait]
impl Producer for Store {
    fn limits(&self) -> Limits {
        Limits::new(10, 2 << 20)
    }

    fn destinations(&self) -> Vec<String> {
        Vec::new()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(message.size()))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        let mut state = self.0.lock().unwrap();
        batch
            .iter()
            .map(|message| {
                if let Some(kind) = state.1 {
                    return Err(Error::new(kind, "as the test says"));
                }
                state.0.push(message.clone());
                Ok(Receipt::new(state.0.len() as u64))
            })
            .collect()
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}
