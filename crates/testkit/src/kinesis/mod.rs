//! Kinesis in process, as strict as its documentation: what emulators let pass is refused here, and what they never do can be
//! asked for.
//!
//! It speaks the JSON of its protocol over HTTP/1.1, and over TLS HTTP/2 too. Quotas of shards and calls, the life of
//! iterators, tokens and subscriptions, and the retention of records go by a clock that is moved by hand and otherwise stands
//! still, unless it is [told to run](Stub::run_clock). Signatures are not checked.

mod calls;
mod consumers;
mod events;
mod quota;
mod stream;
mod transport;

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;

pub use stream::{Records, StreamSettings};

use self::{
    calls::{World, hash},
    consumers::Feed,
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
    /// It is done, and its answer, or each event of it, does not have this field.
    Without(&'static str),
    /// A `GetRecords`, or the first event of a `SubscribeToShard`, brings nothing, and says that nothing is stored behind. The
    /// next iterator is the one that it was called with.
    Empty,
    /// A `GetRecords` brings nothing, and says that it is so many milliseconds behind. The next iterator is the one that it was
    /// called with.
    Behind(u64),
    /// A `SubscribeToShard` is done, and nothing comes of it after so many events: not even what it begins with, after none.
    Silence(usize),
    /// A `SubscribeToShard` is done, and its connection breaks in the middle of the event after so many.
    Cut(usize),
    /// A `SubscribeToShard` is done, and ends with this code after so many events.
    Throw(usize, &'static str),
}

/// An error of the service: its status, its code and its sentence.
type Refusal = (u16, &'static str, String);

/// Listens on this machine. Ends when it is dropped.
pub struct Stub {
    address: SocketAddr,
    has_tls: bool,
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

type Plan = dyn Fn(&Call) -> Option<Fault> + Send + Sync;

struct Shared {
    world: Mutex<World>,
    plan: Mutex<Box<Plan>>,
    seen: Mutex<Vec<Call>>,
    /// Told whenever what is stored, or the time, is another.
    changed: watch::Sender<()>,
    /// How many subscriptions and connections are open.
    subscriptions: AtomicUsize,
    connections: AtomicUsize,
    /// How many events wait until their client has room for them.
    sending: AtomicUsize,
}

impl Shared {
    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Makes a call.
    fn call(&self, operation: &str, body: &[u8]) -> Answered {
        let call = Call { operation: operation.to_owned(), body: serde_json::from_slice(body).unwrap_or_default() };
        let fault = (self.plan.lock().unwrap())(&call);
        self.seen.lock().unwrap().push(call.clone());
        let mut world = self.world();
        let (answer, feed) = match &fault {
            Some(Fault::Refuse(status, code)) => (Err((*status, *code, "as planned".to_owned())), None),
            _ if call.operation == "SubscribeToShard" => match world.subscribe(&call.body) {
                Ok(feed) => (Ok(Value::Null), Some(feed)),
                Err(refusal) => (Err(refusal), None),
            },
            Some(Fault::Empty) => (Ok(nothing(&call, 0)), None),
            Some(Fault::Behind(millis)) => (Ok(nothing(&call, *millis)), None),
            fault => (world.call(&call, fault.as_ref()), None),
        };
        let now = world.now();
        drop(world);
        self.changed.send_replace(());
        let (status, mut body) = match answer {
            Ok(value) => (200, value),
            Err((status, code, message)) => (status, json!({ "__type": code, "message": message })),
        };
        if let (Some(Fault::Without(field)), Some(fields)) = (&fault, body.as_object_mut()) {
            fields.remove(*field);
        }
        Answered { status, now, body: body.to_string(), feed, fault }
    }
}

/// What a call is answered with.
struct Answered {
    status: u16,
    now: SystemTime,
    body: String,
    /// What is pushed, instead of the body.
    feed: Option<Feed>,
    fault: Option<Fault>,
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
        Self::listen(None).await
    }

    /// The same over TLS, by a certificate for `localhost` and its key in PEM. Clients may choose HTTP/2.
    ///
    /// # Panics
    ///
    /// If there is no free port, or the certificate cannot be used.
    pub async fn start_with_tls(certificate: &[u8], key: &[u8]) -> Self {
        Self::listen(Some(transport::acceptor(certificate, key))).await
    }

    async fn listen(tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, has_tls) = (listener.local_addr().unwrap(), tls.is_some());
        let shared = Arc::new(Shared {
            world: Mutex::new(World::new(SystemTime::now())),
            plan: Mutex::new(Box::new(|_| None)),
            seen: Mutex::default(),
            changed: watch::Sender::default(),
            subscriptions: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            sending: AtomicUsize::new(0),
        });
        let (mut tasks, of_tasks) = (JoinSet::new(), Arc::clone(&shared));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (shared, tls) = (Arc::clone(&of_tasks), tls.clone());
                connections.spawn(async move {
                    // One that breaks off is the client's own.
                    let _ = transport::serve(client, tls, &shared).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, has_tls, shared, _tasks: tasks }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        if self.has_tls {
            format!("https://localhost:{}", self.address.port())
        } else {
            format!("http://{}", self.address)
        }
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
        let mut world = self.world();
        let children = world.stream_mut(name).split(shard);
        self.change(world);
        children
    }

    /// Merges two neighbours, and names the shard that they become.
    ///
    /// # Panics
    ///
    /// If they are not open, or not next to each other.
    pub fn merge(&self, name: &str, shards: [&str; 2]) -> String {
        let mut world = self.world();
        let child = world.stream_mut(name).merge(shards);
        self.change(world);
        child
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
        self.change(world);
    }

    /// Says how many shards a page of a list has.
    pub fn list_pages_of(&self, shards: usize) {
        self.world().page = shards;
    }

    /// Moves the clock.
    pub fn advance(&self, time: Duration) {
        let mut world = self.world();
        world.advance(time);
        self.change(world);
    }

    /// Lets the clock run from now on, as Tokio's does.
    pub fn run_clock(&self) {
        self.world().run();
    }

    /// How many subscriptions are open.
    pub fn subscriptions(&self) -> usize {
        self.shared.subscriptions.load(Relaxed)
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Relaxed)
    }

    /// How many events are in flight, blocked until their client has room for them.
    pub fn sending(&self) -> usize {
        self.shared.sending.load(Relaxed)
    }

    /// Waits until this is so: it is looked at whenever a call was made, an event sent, or something changed.
    pub async fn until(&self, mut is_so: impl FnMut(&Self) -> bool) {
        let mut changed = self.shared.changed.subscribe();
        while !is_so(self) {
            let _ = changed.changed().await;
        }
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
        self.shared.world()
    }

    fn change(&self, world: MutexGuard<'_, World>) {
        drop(world);
        self.shared.changed.send_replace(());
    }
}

/// The answer of a `GetRecords` that brings nothing.
fn nothing(call: &Call, behind: u64) -> Value {
    json!({ "Records": [], "MillisBehindLatest": behind, "NextShardIterator": call.body["ShardIterator"] })
}
