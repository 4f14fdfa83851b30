//! Kinesis in process, as strict as its documentation: what emulators let pass is refused here, and what they never do can be
//! asked for.
//!
//! It speaks the JSON of its protocol over HTTP. Quotas of shards and calls, the life of iterators and of tokens, and the
//! retention of records go by a clock that is moved by hand and otherwise stands still. Signatures are not checked.

mod calls;
mod quota;
mod stream;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt as _,
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use crate::http1;

pub use stream::{Records, StreamSettings};

use self::{
    calls::{World, hash},
    stream::Stream,
};

/// The account and the region of its streams.
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/";

/// A call, as the service sees it.
#[derive(Clone, Debug)]
pub struct Call {
    /// `PutRecords`.
    pub operation: String,
    /// What it asks for.
    pub body: Value,
}

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// It is refused with this status and this code.
    Refuse(u16, &'static str),
    /// It is done, and the connection is closed instead of an answer.
    LoseAnswer,
    /// It is done, and the answer breaks off after so many bytes of its body.
    Truncate(usize),
    /// Of the records of a `PutRecords` those with these places are not stored, and fail with this code.
    Mask(Vec<usize>, &'static str),
    /// A `PutRecords` is done, and its answer says that so many records failed.
    Count(usize),
    /// A `PutRecords` is done, and its answer has so many results.
    Results(usize),
    /// It is done, and its answer does not have this field.
    Without(&'static str),
    /// A `GetRecords` brings nothing, and says that nothing is stored behind. The next iterator is the one that it was called
    /// with.
    Empty,
    /// A `GetRecords` brings nothing, and says that it is so many milliseconds behind. The next iterator is the one that it was
    /// called with.
    Behind(u64),
}

/// An error of the service: its status, its code and its sentence.
type Refusal = (u16, &'static str, String);

/// Listens on this machine. Ends when it is dropped.
pub struct Stub {
    address: SocketAddr,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

type Plan = dyn Fn(&Call) -> Option<Fault> + Send + Sync;

struct Shared {
    world: Mutex<World>,
    plan: Mutex<Box<Plan>>,
    seen: Mutex<Vec<Call>>,
}

impl fmt::Debug for Stub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stub").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Stub {
    /// Listens on a free port, without streams and without faults. Must be called inside a Tokio runtime.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(SystemTime::now())),
            plan: Mutex::new(Box::new(|_| None)),
            seen: Mutex::default(),
        });
        let (mut tasks, of_tasks) = (JoinSet::new(), Arc::clone(&shared));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&of_tasks);
                connections.spawn(async move {
                    // One that breaks off is the client's own.
                    let _ = serve(client, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, shared, _tasks: tasks }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The ARN of the stream of this name.
    pub fn arn(&self, name: &str) -> String {
        format!("{ARN}{name}")
    }

    /// Makes a stream, in the place of the one that has this name.
    pub fn create(&self, name: &str, settings: StreamSettings) {
        let mut world = self.world();
        let stream = Stream::new(name, settings, world.now());
        world.streams.insert(name.to_owned(), stream);
    }

    /// Begins to delete a stream: it has no shards any more, and is still there.
    ///
    /// # Panics
    ///
    /// If there is none.
    pub fn delete(&self, name: &str) {
        self.world().stream_mut(name).deleting = true;
    }

    /// Splits a shard in the middle of its hashes, and names the two that it becomes.
    ///
    /// # Panics
    ///
    /// If it is not open.
    pub fn split(&self, name: &str, shard: &str) -> [String; 2] {
        self.world().stream_mut(name).split(shard)
    }

    /// Merges two neighbours, and names the shard that they become.
    ///
    /// # Panics
    ///
    /// If they are not open, or not next to each other.
    pub fn merge(&self, name: &str, shards: [&str; 2]) -> String {
        self.world().stream_mut(name).merge(shards)
    }

    /// Stores a record of somebody else's.
    ///
    /// # Panics
    ///
    /// If there is no such stream.
    pub fn put(&self, name: &str, partition_key: &str, data: impl Into<Vec<u8>>) {
        let mut world = self.world();
        let now = world.now();
        let stream = world.stream_mut(name);
        let shard = stream.of_hash(hash(partition_key));
        stream.store(shard, partition_key, data.into(), now);
    }

    /// Says how many shards a page of a list has.
    pub fn list_pages_of(&self, shards: usize) {
        self.world().page = shards;
    }

    /// Moves the clock.
    pub fn advance(&self, time: Duration) {
        self.world().advance(time);
    }

    /// The time of the service.
    pub fn now(&self) -> SystemTime {
        self.world().now()
    }

    /// Says what becomes of each call from now on.
    pub fn plan(&self, plan: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        *self.shared.plan.lock().unwrap() = Box::new(plan);
    }

    /// The calls so far of an operation, in the order in which they came.
    pub fn seen(&self, operation: &str) -> Vec<Call> {
        self.shared.seen.lock().unwrap().iter().filter(|call| call.operation == operation).cloned().collect()
    }

    /// Forgets the calls so far, for who makes many.
    pub fn forget_calls(&self) {
        self.shared.seen.lock().unwrap().clear();
    }

    /// What is stored, by shard: partition key and data, in order.
    ///
    /// # Panics
    ///
    /// If there is no such stream.
    pub fn stored(&self, name: &str) -> Vec<(String, Records)> {
        self.world().stream_mut(name).stored()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.shared.world.lock().unwrap()
    }
}

/// The answer of a `GetRecords` that brings nothing.
fn nothing(call: &Call, behind: u64) -> Value {
    json!({ "Records": [], "MillisBehindLatest": behind, "NextShardIterator": call.body["ShardIterator"] })
}

/// Serves one call, and closes the connection.
async fn serve(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let Some((head, body)) = http1::read(&mut client).await? else { return Ok(()) };
    let operation = head.get("x-amz-target").and_then(|target| target.rsplit('.').next()).unwrap_or_default();
    let call = Call { operation: operation.to_owned(), body: serde_json::from_slice(&body).unwrap_or_default() };
    let fault = (shared.plan.lock().unwrap())(&call);
    shared.seen.lock().unwrap().push(call.clone());
    let (answer, now) = {
        let mut world = shared.world.lock().unwrap();
        let answer = match &fault {
            Some(Fault::Refuse(status, code)) => Err((*status, *code, "as planned".to_owned())),
            Some(Fault::Empty) => Ok(nothing(&call, 0)),
            Some(Fault::Behind(millis)) => Ok(nothing(&call, *millis)),
            fault => world.call(&call, fault.as_ref()),
        };
        (answer, world.now())
    };
    let (status, mut body) = match answer {
        Ok(value) => (200, value),
        Err((status, code, message)) => (status, json!({ "__type": code, "message": message })),
    };
    if let (Some(Fault::Without(field)), Some(fields)) = (&fault, body.as_object_mut()) {
        fields.remove(*field);
    }
    let answer = http1::answer_at(status, now, body.to_string().as_bytes());
    match fault {
        Some(Fault::LoseAnswer) => Ok(()),
        Some(Fault::Truncate(bytes)) => {
            let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
            client.write_all(&answer[..answer.len().min(body + bytes)]).await
        }
        _ => client.write_all(&answer).await,
    }
}
