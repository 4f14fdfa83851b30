//! Kinesis under test: a stream of LocalStack, whose groups keep their rows in a folder or in S3.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use strait_config::{Bus, Registry};
use strait_core::{Budget, Consumer, Error, ErrorKind, Position, Producer, Result};
use strait_kinesis::{Access, Client, Envelope, Kinesis, KinesisLog, KinesisProducer, create_stream};
use strait_kit::{Log, LogConsumer, LogSettings, Page, Record, Start, Static, compare};
use strait_leases::{Options, open};
use strait_testkit::{Capabilities, Channel, Join, Member, Needs, Reshard, Rig, Shape, Starts};
use tokio::{
    sync::{OnceCell, mpsc},
    time::sleep,
};

use crate::{
    again::again,
    coordinated::{self, Settled},
    emulators::{LocalStack, fresh},
    queues::answered,
};

/// So long that a busy machine, or emulator, keeps it.
const LEASE: Duration = Duration::from_secs(20);
/// LocalStack takes so long for a request of 10 MiB, beside other tests.
const REQUEST: Duration = Duration::from_secs(40);
/// How long a call may take: many share one server here, and it takes half a minute for 10 MiB.
const CALL: Duration = Duration::from_mins(3);
/// What LocalStack takes. That lists have several pages is shown on the stub.
const PARTITIONS: usize = 1000;
/// How often a shard where nothing comes is asked.
const POLL: Duration = Duration::from_secs(1);
/// The latest record is that by the `Date` of an answer, which has whole seconds.
const DATE: Duration = Duration::from_secs(1);

/// A client of a server that is up.
///
/// # Errors
///
/// What the SDK says.
pub async fn connect_to(endpoint: &str) -> Result<Client> {
    Client::connect(&LocalStack::access(endpoint, CALL)).await
}

/// A client of LocalStack, which is started if need be.
///
/// # Errors
///
/// What the SDK says.
pub async fn connect() -> Result<Client> {
    let client = Client::connect(&access()).await?;
    ready(&client).await;
    Ok(client)
}

/// How LocalStack is reached.
pub fn access() -> Access {
    LocalStack::access(&LocalStack::get().endpoint(), CALL)
}

/// Waits until it answers: LocalStack starts what keeps its streams at the first call, and fails until that is there.
async fn ready(client: &Client) {
    static ONCE: OnceCell<()> = OnceCell::const_new();
    let ask = || async {
        for _ in 0..300 {
            if client.kinesis().list_streams().send().await.is_ok() {
                return;
            }
            sleep(Duration::from_millis(200)).await;
        }
    };
    ONCE.get_or_init(ask).await;
}

/// Where the rows of groups are.
#[derive(Clone, Copy, Debug)]
pub enum Leases {
    /// In a folder.
    Files,
    /// In a bucket of LocalStack.
    Objects,
    /// In a table of LocalStack.
    Table,
}

/// A stream.
#[derive(Clone, Copy, Debug)]
pub struct KinesisRig(pub Leases);

impl KinesisRig {
    async fn make(self, needs: Needs, is_pushed: bool) -> Result<Box<dyn Channel>> {
        let client = connect().await?;
        let stream = Stream::create(&client, needs.partitions).await?;
        let out = connect().await?;
        let producer = again(|| KinesisProducer::open(&out, &stream.0, Envelope::Kpl)).await?;
        let (leases, options) = self.place();
        let settled = Settled::default();
        Ok(Box::new(KinesisChannel { stream, is_pushed, client, producer, leases, options, settled }))
    }

    fn place(self) -> (String, Options) {
        let (timeout, aws) = (Duration::from_secs(10), access());
        let mut options = Options { timeout, aws, ..Options::default() };
        match self.0 {
            Leases::Files => {
                let folder = std::env::temp_dir().join(fresh("strait-kinesis-leases"));
                (format!("file:{}", folder.display()), options)
            }
            Leases::Objects => {
                static BUCKET: OnceLock<String> = OnceLock::new();
                let bucket = BUCKET.get_or_init(|| LocalStack::get().bucket());
                (format!("s3://{bucket}/{}", fresh("kinesis")), options)
            }
            Leases::Table => {
                options.create = true;
                (format!("dynamodb://strait-kinesis/{}", fresh("kinesis")), options)
            }
        }
    }
}

/// A stream whose records are pushed to its members, with rows in a folder.
#[derive(Clone, Copy, Debug)]
pub struct FanOutRig;

#[async_trait]
impl Rig for FanOutRig {
    fn capabilities(&self) -> Capabilities {
        KinesisRig(Leases::Files).capabilities()
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        KinesisRig(Leases::Files).make(needs, true).await
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        KinesisRig(Leases::Files).missing().await
    }

    fn configuration(&self) -> String {
        KinesisRig(Leases::Files).configuration() + "read = \"fan_out\"\n"
    }

    fn configure(&self, text: &str) -> Result<()> {
        KinesisRig(Leases::Files).configure(text)
    }
}

#[async_trait]
impl Rig for KinesisRig {
    fn capabilities(&self) -> Capabilities {
        let can = Capabilities::new(Shape::Log, LEASE).in_order().with_reshards().without_bounds();
        let can = can.with_starts(Starts::Times).with_latest_reach(DATE);
        can.with_partitions_up_to(PARTITIONS).with_slow_requests(REQUEST)
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        self.make(needs, false).await
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        let open = async {
            let client = connect().await?;
            let log = KinesisLog::open(&client, &fresh("missing"), "app", POLL).await?;
            let ownership = Arc::new(Static::new([]));
            Ok(Arc::new(LogConsumer::new(log, ownership, LogSettings::default())) as Arc<dyn Consumer>)
        };
        Some(open.await)
    }

    fn configuration(&self) -> String {
        r#"
provider = "kinesis"
[connections.kinesis]
region = "us-east-1"
endpoint = "http://127.0.0.1:4566"
[senders.out]
[senders.out.on.kinesis]
stream = "orders"
[receivers.app]
dead_letter = "discard"
[receivers.app.on.kinesis]
stream = "orders"
group = "billing"
leases = "file:/tmp/leases"
"#
        .to_owned()
    }

    fn configure(&self, text: &str) -> Result<()> {
        Bus::builder(Registry::new().with(Kinesis)).environment(|_| None).text("strait.toml", text).build().map(drop)
    }
}

/// A stream, which is deleted once it is dropped: LocalStack becomes slow where there are many.
#[derive(Debug)]
pub struct Stream(pub String);

impl Stream {
    /// Makes one of so many shards.
    ///
    /// # Errors
    ///
    /// What the service says.
    pub async fn create(client: &Client, shards: usize) -> Result<Self> {
        let name = fresh("orders");
        again(|| create_stream(client, &name, shards)).await?;
        Ok(Self(name))
    }

    /// Splits the first open shard in the middle, or merges the first two.
    ///
    /// # Errors
    ///
    /// What the service says.
    pub async fn reshard(&self, client: &Client, how: Reshard) -> Result<()> {
        let log = again(|| KinesisLog::open(client, &self.0, "all", POLL)).await?;
        let mut open: Vec<_> = log.partitions().await?.into_iter().filter(|partition| !partition.closed).collect();
        let hashes = |partition: &strait_kit::Partition| partition.hashes.clone().expect("every shard has hashes");
        open.sort_by_key(|partition| *hashes(partition).start());
        let failed = || Error::new(ErrorKind::Other, "the stream cannot be resharded");
        let kinesis = client.kinesis();
        match how {
            Reshard::Split => {
                let (start, end) = (*hashes(&open[0]).start(), *hashes(&open[0]).end());
                let middle = start + (end - start) / 2 + 1;
                let request = kinesis.split_shard().stream_name(&self.0).shard_to_split(&*open[0].id);
                request.new_starting_hash_key(middle.to_string()).send().await.map_err(|_| failed())?;
            }
            Reshard::Merge => {
                let request = kinesis.merge_shards().stream_name(&self.0).shard_to_merge(&*open[0].id);
                request.adjacent_shard_to_merge(&*open[1].id).send().await.map_err(|_| failed())?;
            }
        }
        // Until it is done.
        create_stream(client, &self.0, 1).await
    }

    /// Deletes it: at the end of a test that may be the last of its process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Other`], if the service refuses.
    pub async fn delete(self, client: &Client) -> Result<()> {
        let deleted = client.kinesis().delete_stream().stream_name(&self.0).send().await;
        deleted.map(drop).map_err(|_| Error::new(ErrorKind::Other, "the stream cannot be deleted"))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        // What was made last is left to the end of the process, and of LocalStack.
        let _ = deletions().send(self.0.clone());
    }
}

/// Deletes streams by a thread of its own: the runtime of a case ends with it.
fn deletions() -> &'static mpsc::UnboundedSender<String> {
    static ONCE: OnceLock<mpsc::UnboundedSender<String>> = OnceLock::new();
    ONCE.get_or_init(|| {
        let (sender, mut names) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("it starts");
            runtime.block_on(async {
                let Ok(client) = connect().await else { return };
                while let Some(name) = names.recv().await {
                    let _ = client.kinesis().delete_stream().stream_name(name).send().await;
                }
            });
        });
        sender
    })
}

#[derive(Debug)]
struct KinesisChannel {
    stream: Stream,
    /// Whether its members have records pushed.
    is_pushed: bool,
    client: Client,
    producer: KinesisProducer,
    leases: String,
    options: Options,
    /// What each group has committed of each shard.
    settled: Settled,
}

impl KinesisChannel {
    async fn log(&self) -> Result<Arc<KinesisLog>> {
        again(|| KinesisLog::open(&self.client, &self.stream.0, "all", POLL)).await
    }
}

/// All that is stored of a shard, in order.
///
/// # Errors
///
/// What the service says, and [`ErrorKind::Other`] if something is no longer stored.
pub async fn stored(log: &KinesisLog, shard: &str) -> Result<Vec<Record>> {
    let mut reader = log.open(shard, &Start::Earliest, 1, 1 << 20).await?;
    let mut all = Vec::new();
    loop {
        match reader.next(Budget::new(1000, 4 << 20)).await? {
            Page::Records { records, caught_up, .. } => {
                all.extend(records);
                if caught_up {
                    return Ok(all);
                }
            }
            Page::End { .. } => return Ok(all),
            other => return Err(Error::new(ErrorKind::Other, format!("{other:?}"))),
        }
    }
}

/// How many messages are stored of a shard behind those that a group has settled.
///
/// # Errors
///
/// As [`stored`].
pub async fn unsettled(log: &KinesisLog, shard: &str, settled: Option<&Position>) -> Result<usize> {
    let mut count = 0;
    for record in stored(log, shard).await? {
        let is_settled = match settled {
            Some(settled) => compare(&record.position, settled)?.is_le(),
            None => false,
        };
        count += usize::from(!is_settled);
    }
    Ok(count)
}

#[async_trait]
impl Channel for KinesisChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(self.producer.another())
    }

    async fn send_foreign(&self) -> Result<()> {
        strait_testkit::send_foreign(&*self.producer()).await
    }

    async fn join(&self, join: Join) -> Result<Member> {
        let client = connect().await?;
        let (stream, group) = (&self.stream.0, join.group);
        let log = if self.is_pushed {
            again(|| KinesisLog::open_fan_out(&client, stream, group, group, true)).await?
        } else {
            again(|| KinesisLog::open(&client, stream, group, POLL)).await?
        };
        let start = log.start(join.start.as_ref().unwrap_or(&Start::Earliest));
        let settings = coordinated::settings(LEASE, start)?;
        let place = format!("{}-{}", self.leases, join.group);
        let rows = again(|| open(&place, &self.options)).await?;
        coordinated::join(log, rows, settings, join, &self.settled).await
    }

    async fn left(&self, group: &str) -> usize {
        let settled = self.settled.of(group);
        let log = answered(|| self.log()).await;
        let mut left = 0;
        for shard in answered(|| log.partitions()).await {
            left += answered(|| unsettled(&log, &shard.id, settled.get(&shard.id))).await;
        }
        left
    }

    async fn reshard(&self, how: Reshard) -> Result<()> {
        self.stream.reshard(&self.client, how).await
    }
}
