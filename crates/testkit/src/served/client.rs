use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use strait_core::{
    Budget, Error, ErrorKind, Guarantees, Lag, Limits, Message, Ordering, Plan, Position, Producer, Receipt, Result,
};
use strait_kit::{Identity, Log, Ownership, Page, Partition, Reader, Record, Start};
use tokio::{net::TcpStream, sync::Mutex, time::timeout};

use crate::Reported;

use super::wire::{Answer, Ask, Line, Part, Request, number};

/// How long an answer may take. A read waits for a second at most.
const DEADLINE: Duration = Duration::from_secs(10);

/// A topic of a [`LogServer`](super::LogServer), as a process sees it. Clones share a connection; each reader has its own.
#[derive(Clone)]
pub struct ServedLog {
    address: SocketAddr,
    topic: Arc<str>,
    /// What it is called as a source: of each group another.
    source: Arc<str>,
    message_bytes: usize,
    identity: Option<Identity>,
    line: Arc<Mutex<Option<Line>>>,
}

impl fmt::Debug for ServedLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServedLog").field("address", &self.address).field("topic", &self.topic).finish_non_exhaustive()
    }
}

fn unavailable(error: impl fmt::Display) -> Error {
    Error::new(ErrorKind::Unavailable, format!("served: {error}"))
}

/// Asks on `line`, which is gone unless it is answered: a call that is dropped, or fails, leaves no answer behind for the
/// next. Ambiguous once it was said.
async fn ask(line: &mut Option<Line>, topic: &str, ask: Ask) -> Result<Answer> {
    let mut open = line.take().ok_or_else(|| unavailable("is not connected"))?;
    let asked = async {
        open.say(&Request { topic: topic.to_owned(), ask }).await?;
        open.hear::<Answer>().await
    };
    let ambiguous = |text: String| unavailable(text).into_ambiguous();
    let answered = timeout(DEADLINE, asked).await.map_err(|_| ambiguous("did not answer in time".to_owned()))?;
    let answer = answered.map_err(|error| ambiguous(error.to_string()))?;
    *line = Some(open);
    match answer {
        Some(Answer::Failed(failed)) => Err(failed.into()),
        Some(answer) => Ok(answer),
        None => Err(ambiguous("has hung up".to_owned())),
    }
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Other, "served: answered something else")
}

impl ServedLog {
    /// Connects to a topic.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] if nobody answers.
    pub async fn connect(address: SocketAddr, topic: impl Into<Arc<str>>) -> Result<Self> {
        let line = Arc::new(Mutex::new(None));
        let topic = topic.into();
        let mut log = Self { address, source: Arc::clone(&topic), topic, message_bytes: 0, identity: None, line };
        (log.identity, log.message_bytes, _) = log.describe().await?;
        Ok(log)
    }

    async fn dial(&self) -> Result<Line> {
        let dialled = timeout(DEADLINE, TcpStream::connect(self.address)).await.map_err(unavailable)?;
        dialled.map(Line::new).map_err(unavailable)
    }

    async fn ask(&self, question: Ask) -> Result<Answer> {
        let mut line = self.line.lock().await;
        if line.is_none() {
            *line = Some(self.dial().await?);
        }
        ask(&mut line, &self.topic, question).await
    }

    async fn describe(&self) -> Result<(Option<Identity>, usize, Vec<Partition>)> {
        match self.ask(Ask::Describe).await? {
            Answer::Described { log, message_bytes, partitions } => {
                Ok((log, message_bytes, partitions.into_iter().map(Partition::from).collect()))
            }
            _ => Err(unexpected()),
        }
    }

    /// Makes a group known, so that what it has not settled is kept.
    ///
    /// # Errors
    ///
    /// What the server reported.
    pub async fn join(&self, group: &str, start: &Start) -> Result<()> {
        self.ask(Ask::Join { group: group.to_owned(), start: start.try_into()? }).await.map(drop)
    }

    /// How many records a group has yet to settle and commit.
    ///
    /// # Errors
    ///
    /// What the server reported.
    pub async fn left(&self, group: &str) -> Result<usize> {
        match self.ask(Ask::Left { group: group.to_owned() }).await? {
            Answer::Left(count) => Ok(count),
            _ => Err(unexpected()),
        }
    }

    /// The topic as `group` sees it: a source of its own.
    pub fn seen_by(mut self, group: &str) -> Self {
        self.source = format!("{}/{group}", self.topic).into();
        self
    }

    fn destination(&self) -> String {
        format!("served:{}/{}", self.address, self.topic)
    }

    /// The same topic, by a connection of its own.
    pub fn apart(&self) -> Self {
        Self { line: Arc::default(), ..self.clone() }
    }

    /// Sends to it.
    pub fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(ServedProducer { log: self.apart(), closed: AtomicBool::new(false) })
    }

    /// `ownership`, of which the server is told what it commits for `group`.
    pub fn told(&self, group: impl Into<Arc<str>>, ownership: Arc<dyn Ownership>) -> Arc<dyn Ownership> {
        let (log, group) = (self.apart(), group.into());
        Reported::new(ownership, move |progress| {
            let (log, group) = (log.clone(), group.to_string());
            let (partition, position) = (progress.partition.to_string(), number(&progress.position));
            Box::pin(async move {
                // Not told is kept for longer: the next commit tells more.
                let _ = log.ask(Ask::Settled { group, partition, position }).await;
            })
        })
    }
}

#[async_trait]
impl Log for ServedLog {
    fn guarantees(&self) -> Guarantees {
        Guarantees::new("served", Arc::clone(&self.source))
            .with_ordering(Ordering::Key)
            .with_message_bytes(self.message_bytes)
            .with_fed_by([self.destination()])
    }

    fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    async fn partitions(&self) -> Result<Vec<Partition>> {
        self.describe().await.map(|(.., partitions)| partitions)
    }

    async fn open(&self, partition: &str, start: &Start, epoch: u64, _: usize) -> Result<Box<dyn Reader>> {
        let mut line = Some(self.dial().await?);
        let open = Ask::Open { partition: partition.to_owned(), start: start.try_into()?, epoch };
        ask(&mut line, &self.topic, open).await?;
        Ok(Box::new(ServedReader { topic: Arc::clone(&self.topic), line }))
    }

    async fn close(&self) -> Result<()> {
        *self.line.lock().await = None;
        Ok(())
    }
}

/// Once a call is dropped, the next fails, and the engine opens the partition again at the exact place.
struct ServedReader {
    topic: Arc<str>,
    line: Option<Line>,
}

#[async_trait]
impl Reader for ServedReader {
    async fn next(&mut self, budget: Budget) -> Result<Page> {
        let next = Ask::Next { messages: budget.messages, bytes: budget.bytes };
        match ask(&mut self.line, &self.topic, next).await? {
            Answer::Records { records, behind, caught_up } => {
                let records = records.into_iter().map(Record::try_from).collect::<Result<_>>()?;
                Ok(Page::Records { records, lag: behind.map(Lag::Messages), caught_up, resume: None })
            }
            Answer::End { children } => {
                Ok(Page::End { children: children.into_iter().map(|child: Part| child.into()).collect() })
            }
            Answer::Trimmed { oldest } => Ok(Page::Trimmed { oldest: oldest.map(Position::Number) }),
            _ => Err(unexpected()),
        }
    }

    fn ahead(&self) -> usize {
        0
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct ServedProducer {
    log: ServedLog,
    closed: AtomicBool,
}

#[async_trait]
impl Producer for ServedProducer {
    fn limits(&self) -> Limits {
        Limits::new(500, self.log.message_bytes)
    }

    fn destinations(&self) -> Vec<String> {
        vec![self.log.destination()]
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        Ok(Plan::new(message.size()))
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        if self.closed.load(Relaxed) {
            return vec![Err(Error::new(ErrorKind::Closed, "served: the connection is closed")); batch.len()];
        }
        match self.log.ask(Ask::Send(batch.iter().map(Into::into).collect())).await {
            Ok(Answer::Outcomes(outcomes)) => {
                outcomes.into_iter().map(|outcome| outcome.map(Receipt::new).map_err(Error::from)).collect()
            }
            Ok(_) => vec![Err(unexpected().into_ambiguous()); batch.len()],
            Err(error) => vec![Err(error); batch.len()],
        }
    }

    async fn close(&self) -> Result<()> {
        self.closed.store(true, Relaxed);
        Ok(())
    }
}
