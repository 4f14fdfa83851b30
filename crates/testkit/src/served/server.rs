use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
};

use strait_core::{Budget, Error, ErrorKind, Lag, Message, Producer, Result};
use strait_kit::{Page, Reader, Start};
use strait_memory::{Life, LogOptions, MemoryLog};
use tokio::{
    net::TcpListener,
    task::{AbortHandle, JoinSet},
};

use super::wire::{Answer, Ask, Failed, Line, Request, number};

/// Serves topics, each made when it is first asked for. Stops when it is dropped.
#[derive(Debug)]
pub struct LogServer {
    topics: Topics,
    address: SocketAddr,
    task: AbortHandle,
}

#[derive(Clone, Debug)]
struct Topics {
    all: Arc<Mutex<HashMap<String, MemoryLog>>>,
    options: LogOptions,
}

impl Topics {
    fn get(&self, name: &str) -> MemoryLog {
        let make = || {
            let mut options = self.options.clone();
            options.name = name.into();
            MemoryLog::new(options)
        };
        self.all().entry(name.to_owned()).or_insert_with(make).clone()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, MemoryLog>> {
        self.all.lock().expect("nothing panics while holding this")
    }
}

impl LogServer {
    /// Serves topics that are as `options` say, on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// What the system reported.
    pub async fn start(options: LogOptions) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, topics) = (listener.local_addr()?, Topics { all: Arc::default(), options });
        let task = tokio::spawn(serve(listener, topics.clone())).abort_handle();
        Ok(Self { topics, address, task })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A topic, as the server has it: to split and merge its partitions.
    pub fn topic(&self, name: &str) -> MemoryLog {
        self.topics.get(name)
    }
}

impl Drop for LogServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener, topics: Topics) {
    let mut lines = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => drop(lines.spawn(attend(Line::new(stream), topics.clone()))),
            Some(_) = lines.join_next() => {}
        }
    }
}

/// Answers what a process asks, until it is gone.
async fn attend(mut line: Line, topics: Topics) {
    let mut producers: HashMap<String, Arc<dyn Producer>> = HashMap::new();
    let mut reader = None;
    while let Ok(Some(Request { topic, ask })) = line.hear().await {
        let log = topics.get(&topic);
        let producer = producers.entry(topic).or_insert_with(|| log.producer());
        let answer = answer(&log, producer, &mut reader, ask).await;
        if line.say(&answer.unwrap_or_else(|error| Answer::Failed(error.into()))).await.is_err() {
            return;
        }
    }
}

async fn answer(
    log: &MemoryLog,
    producer: &Arc<dyn Producer>,
    reader: &mut Option<Box<dyn Reader>>,
    ask: Ask,
) -> Result<Answer> {
    // Any name does: a group is only asked for by name where its progress is told.
    let seen = || log.seen_by("served", &Life::default());
    match ask {
        Ask::Describe => {
            let (log, message_bytes) = (seen().identity(), producer.limits().message_bytes);
            let partitions = seen().partitions().await?.into_iter().map(Into::into).collect();
            Ok(Answer::Described { log, message_bytes, partitions })
        }
        Ask::Send(batch) => {
            let batch: Vec<_> = batch.into_iter().map(Message::try_from).collect::<Result<_>>()?;
            let outcomes = producer.send(&batch).await.into_iter();
            let outcome = |outcome: Result<strait_core::Receipt>| {
                outcome.map(|receipt| number(&receipt.position)).map_err(Failed::from)
            };
            Ok(Answer::Outcomes(outcomes.map(outcome).collect()))
        }
        Ask::Open { partition, start, epoch } => {
            *reader = Some(seen().open(&partition, &start.into(), epoch, 0).await?);
            Ok(Answer::Done)
        }
        Ask::Next { messages, bytes } => {
            let reader = reader.as_mut().ok_or_else(|| Error::new(ErrorKind::Invalid, "served: nothing is open"))?;
            Ok(match reader.next(Budget::new(messages, bytes)).await? {
                Page::Records { records, lag, caught_up, .. } => {
                    let behind = lag.and_then(|lag| if let Lag::Messages(count) = lag { Some(count) } else { None });
                    Answer::Records { records: records.iter().map(Into::into).collect(), behind, caught_up }
                }
                Page::End { children } => Answer::End { children: children.into_iter().map(Into::into).collect() },
                Page::Trimmed { oldest } => Answer::Trimmed { oldest: oldest.as_ref().map(number) },
                _ => return Err(Error::new(ErrorKind::Unsupported, "served: a page that it does not know")),
            })
        }
        Ask::Join { group, start } => log.create_group(&group, &Start::from(start)).map(|()| Answer::Done),
        Ask::Settled { group, partition, position } => {
            log.settled(&group, &partition, &position.into()).map(|()| Answer::Done)
        }
        Ask::Left { group } => Ok(Answer::Left(log.unsettled(&group))),
    }
}
