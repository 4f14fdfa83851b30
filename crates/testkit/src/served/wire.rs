use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use strait_core::{Error, ErrorKind, Headers, Id, Key, Message, Position, Result};
use strait_kit::{Identity, Partition, Record, Start};
use tokio::net::TcpStream;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The largest frame: a page of large messages, in the text that they become here.
const FRAME: usize = 64 << 20;

/// A connection that says one thing and hears one, in turn.
#[derive(Debug)]
pub(super) struct Line(Framed<TcpStream, LengthDelimitedCodec>);

impl Line {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self(LengthDelimitedCodec::builder().max_frame_length(FRAME).new_framed(stream))
    }

    pub(super) async fn say<T: Serialize>(&mut self, what: &T) -> std::io::Result<()> {
        self.0.send(Bytes::from(serde_json::to_vec(what)?)).await
    }

    /// What is said next. Nothing if the other end is gone.
    pub(super) async fn hear<T: DeserializeOwned>(&mut self) -> std::io::Result<Option<T>> {
        let Some(frame) = self.0.next().await.transpose()? else { return Ok(None) };
        Ok(Some(serde_json::from_slice(&frame)?))
    }
}

/// What a process asks of a topic.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Request {
    pub(super) topic: String,
    pub(super) ask: Ask,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Ask {
    Describe,
    Send(Vec<Sent>),
    /// From then on this line reads a partition.
    Open {
        partition: String,
        start: Begin,
        epoch: u64,
    },
    Next {
        messages: usize,
        bytes: usize,
    },
    /// There is this group.
    Join {
        group: String,
        start: Begin,
    },
    Settled {
        group: String,
        partition: String,
        position: u64,
    },
    Left {
        group: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    Described { log: Option<Identity>, message_bytes: usize, partitions: Vec<Part> },
    Outcomes(Vec<Outcome>),
    Records { records: Vec<Stored>, behind: Option<u64>, caught_up: bool },
    End { children: Vec<Part> },
    Trimmed { oldest: Option<u64> },
    Left(usize),
    Done,
    Failed(Failed),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Part {
    id: String,
    parents: Vec<String>,
    closed: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Begin {
    Earliest,
    Latest,
    At(Duration),
    After(u64),
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Sent {
    payload: Vec<u8>,
    key: Option<String>,
    headers: Vec<(String, Vec<u8>)>,
    id: Option<[u8; 16]>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    message: Sent,
    position: u64,
    at: Option<Duration>,
}

pub(super) type Outcome = std::result::Result<u64, Failed>;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Failed {
    kind: String,
    text: String,
}

const KINDS: [ErrorKind; 10] = [
    ErrorKind::Config,
    ErrorKind::NotFound,
    ErrorKind::Denied,
    ErrorKind::Unsupported,
    ErrorKind::Invalid,
    ErrorKind::Throttled,
    ErrorKind::Unavailable,
    ErrorKind::Lost,
    ErrorKind::Closed,
    ErrorKind::Other,
];

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self { kind: format!("{:?}", error.kind()), text: error.to_string() }
    }
}

impl From<Failed> for Error {
    fn from(Failed { kind, text }: Failed) -> Self {
        let kind = KINDS.into_iter().find(|known| format!("{known:?}") == kind).unwrap_or(ErrorKind::Other);
        Self::new(kind, text)
    }
}

impl From<&Message> for Sent {
    fn from(message: &Message) -> Self {
        Self {
            payload: message.payload.to_vec(),
            key: message.key.as_ref().map(|key| key.as_str().to_owned()),
            headers: message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_vec())).collect(),
            id: message.id.map(|id| *id.as_bytes()),
        }
    }
}

impl TryFrom<Sent> for Message {
    type Error = Error;

    fn try_from(Sent { payload, key, headers, id }: Sent) -> Result<Self> {
        let mut message = Self::new(payload);
        message.key = key.map(|key| Key::new(&key)).transpose()?;
        message.headers = headers.into_iter().collect::<Headers>();
        message.id = id.map(Id::from_bytes);
        Ok(message)
    }
}

impl From<&Record> for Stored {
    fn from(record: &Record) -> Self {
        let since = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { message: (&record.message).into(), position: number(&record.position), at: record.stored_at.map(since) }
    }
}

impl TryFrom<Stored> for Record {
    type Error = Error;

    fn try_from(Stored { message, position, at }: Stored) -> Result<Self> {
        let stored_at = at.map(|since| SystemTime::UNIX_EPOCH + since);
        Ok(Self { message: message.try_into()?, position: position.into(), stored_at })
    }
}

/// Positions of a memory log are numbers.
pub(super) fn number(position: &Position) -> u64 {
    match position {
        Position::Number(number) => *number,
        Position::Text(_) => u64::MAX,
    }
}

impl TryFrom<&Start> for Begin {
    type Error = Error;

    fn try_from(start: &Start) -> Result<Self> {
        match start {
            Start::Earliest => Ok(Self::Earliest),
            Start::Latest => Ok(Self::Latest),
            Start::At(time) => Ok(Self::At(time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())),
            Start::After(position) => Ok(Self::After(number(position))),
            _ => Err(Error::new(ErrorKind::Unsupported, "served: a start that it does not know")),
        }
    }
}

impl From<Begin> for Start {
    fn from(begin: Begin) -> Self {
        match begin {
            Begin::Earliest => Self::Earliest,
            Begin::Latest => Self::Latest,
            Begin::At(since) => Self::At(SystemTime::UNIX_EPOCH + since),
            Begin::After(number) => Self::After(number.into()),
        }
    }
}

impl From<Partition> for Part {
    fn from(partition: Partition) -> Self {
        let name = |name: Arc<str>| name.to_string();
        let (id, closed) = (name(partition.id), partition.closed);
        Self { id, parents: partition.parents.into_iter().map(name).collect(), closed }
    }
}

impl From<Part> for Partition {
    fn from(Part { id, parents, closed }: Part) -> Self {
        Self::new(id).with_parents(parents).with_closed(closed)
    }
}
