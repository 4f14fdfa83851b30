//! Event Hubs under test: a hub of the emulator, which runs in this process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use strait_config::{Bus, Registry, Secret};
use strait_core::{Consumer, Error, ErrorKind, Position, Producer, Result};
use strait_eventhubs::{Access, EventHubs, EventHubsLog, EventHubsProducer, Routing};
use strait_eventhubs_emulator::{Config, Emulator, HubSettings, Namespace};
use strait_kit::{LogConsumer, LogSettings, Start, Static};
use strait_leases::{Credentials, Options, open};
use strait_testkit::{Capabilities, Channel, Join, Member, Needs, Reshard, Rig, Shape, Starts};

use crate::{
    coordinated::{self, Settled},
    emulators::{Azurite, fresh},
};

/// So long that a busy machine keeps it.
const LEASE: Duration = Duration::from_secs(10);
/// As many as a case may have: a hub has a fixed number of them.
const PARTITIONS: usize = 1024;
/// The latest event is that by a time in whole milliseconds.
const MILLI: Duration = Duration::from_millis(1);
/// The consumer groups that cases join without having said so: they exist before.
const GROUPS: [&str; 12] =
    ["app", "other", "new", "earliest", "latest", "time", "after", "behind", "late", "fresh", "unknown", "billing"];

/// The emulator that all cases share, each with a hub of its own, on a runtime that outlives theirs.
#[derive(Clone)]
struct Shared {
    namespace: Namespace,
    access: Arc<Access>,
}

impl fmt::Debug for Shared {
    /// Without the namespace, which shows the events that it stores.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("access", &self.access).finish_non_exhaustive()
    }
}

/// The emulator that settles requests after this delay.
fn shared(settle_delay: Duration) -> Shared {
    static ALL: Mutex<Option<HashMap<Duration, Shared>>> = Mutex::new(None);
    let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
    let start = || {
        let (send, receive) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            runtime.expect("it starts").block_on(async {
                let emulator = Emulator::start(Config::default()).await.expect("it starts");
                emulator.faults().settle_after(settle_delay);
                let access = Access::parse(&emulator.connection_string("any")).expect("it is one");
                let shared = Shared { namespace: emulator.namespace().clone(), access: Arc::new(access) };
                send.send(shared).expect("somebody waits");
                std::future::pending::<()>().await;
            });
        });
        receive.recv().expect("it starts")
    };
    all.get_or_insert_default().entry(settle_delay).or_insert_with(start).clone()
}

/// A hub.
#[derive(Clone, Copy, Debug)]
pub struct EventHubsRig {
    settle_delay: Duration,
    leases: Leases,
}

/// Where groups keep their rows.
#[derive(Clone, Copy, Debug)]
enum Leases {
    /// In a folder.
    Files,
    /// In a container of Azurite.
    Blobs,
}

impl EventHubsRig {
    /// Its groups keep their rows in a folder.
    pub const FILES: Self = Self { settle_delay: Duration::ZERO, leases: Leases::Files };

    /// Its groups keep their rows in Azure's blobs.
    pub const BLOBS: Self = Self { settle_delay: Duration::ZERO, leases: Leases::Blobs };

    /// The service takes so long to confirm a request.
    pub const fn settling_after(delay: Duration) -> Self {
        Self { settle_delay: delay, leases: Leases::Files }
    }

    /// Where the groups of a new hub keep their rows.
    fn place(self) -> (String, Options) {
        match self.leases {
            Leases::Files => {
                let folder = std::env::temp_dir().join(fresh("strait-eventhubs-leases"));
                (format!("file:{}", folder.display()), Options::default())
            }
            Leases::Blobs => {
                static CONTAINER: OnceLock<String> = OnceLock::new();
                let container = CONTAINER.get_or_init(|| Azurite::get().container());
                let credentials = Credentials { name: Azurite::ACCOUNT.to_owned(), secret: Secret::new(Azurite::KEY) };
                let options = Options {
                    timeout: Duration::from_secs(10),
                    endpoint: Some(Azurite::endpoint(Azurite::get().address())),
                    credentials: Some(credentials),
                    ..Options::default()
                };
                (format!("az://{container}/{}", fresh("eventhubs")), options)
            }
        }
    }
}

#[async_trait]
impl Rig for EventHubsRig {
    fn capabilities(&self) -> Capabilities {
        let can = Capabilities::new(Shape::Log, LEASE).in_order().without_bounds().with_receipts_apart();
        can.with_starts(Starts::Times).with_latest_reach(MILLI).with_partitions_up_to(PARTITIONS)
    }

    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>> {
        let hub = fresh("orders");
        let mut settings = HubSettings::new(&hub, needs.partitions);
        settings.groups = GROUPS.into_iter().chain(needs.groups.iter().copied()).map(str::to_owned).collect();
        settings.groups.sort();
        settings.groups.dedup();
        let partitions = needs.partitions;
        let failed = |error| Error::new(ErrorKind::Other, format!("{error}"));
        let shared = shared(self.settle_delay);
        shared.namespace.create(settings).map_err(failed)?;
        let producer = EventHubsProducer::open(&shared.access, &hub, Routing::Partition).await?;
        producer.close().await?; // others are made of it, with connections of their own
        let leases = self.place();
        Ok(Box::new(EventHubsChannel { shared, hub, partitions, producer, leases, settled: Settled::default() }))
    }

    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>> {
        let open = async {
            let log = EventHubsLog::open(&shared(self.settle_delay).access, &fresh("missing"), "$Default").await?;
            let ownership = Arc::new(Static::new([]));
            Ok(Arc::new(LogConsumer::new(log, ownership, LogSettings::default())) as Arc<dyn Consumer>)
        };
        Some(open.await)
    }

    fn configuration(&self) -> String {
        r#"
provider = "eventhubs"
[connections.eventhubs]
connection_string = "Endpoint=sb://orders.servicebus.windows.net/;SharedAccessKeyName=all;SharedAccessKey=c2VjcmV0"
[senders.out]
[senders.out.on.eventhubs]
hub = "orders"
[receivers.app]
dead_letter = "discard"
[receivers.app.on.eventhubs]
hub = "orders"
group = "billing"
leases = "file:/tmp/leases"
"#
        .to_owned()
    }

    fn configure(&self, text: &str) -> Result<()> {
        Bus::builder(Registry::new().with(EventHubs)).environment(|_| None).text("strait.toml", text).build().map(drop)
    }
}

#[derive(Debug)]
struct EventHubsChannel {
    shared: Shared,
    hub: String,
    partitions: usize,
    producer: EventHubsProducer,
    leases: (String, Options),
    /// What each group has committed of each partition.
    settled: Settled,
}

impl Drop for EventHubsChannel {
    fn drop(&mut self) {
        let _ = self.shared.namespace.delete(&self.hub); // the case is over
    }
}

#[async_trait]
impl Channel for EventHubsChannel {
    fn producer(&self) -> Arc<dyn Producer> {
        Arc::new(self.producer.another())
    }

    async fn send_foreign(&self) -> Result<()> {
        strait_testkit::send_foreign(&*self.producer()).await
    }

    async fn join(&self, join: Join) -> Result<Member> {
        let log = EventHubsLog::open(&self.shared.access, &self.hub, join.group).await?;
        let start = log.start(join.start.as_ref().unwrap_or(&Start::Earliest)).await?;
        let settings = coordinated::settings(LEASE, start)?;
        let rows = open(&format!("{}-{}", self.leases.0, join.group), &self.leases.1).await?;
        coordinated::join(log, rows, settings, join, &self.settled).await
    }

    async fn left(&self, group: &str) -> usize {
        let settled = self.settled.of(group);
        let left = |index: usize| {
            let state = self.shared.namespace.partition(&self.hub, index)?;
            let next = match settled.get(&*index.to_string()) {
                Some(Position::Number(settled)) => i64::try_from(*settled).ok()? + 1,
                _ => state.begin,
            };
            usize::try_from(state.last + 1 - next).ok()
        };
        (0..self.partitions).filter_map(left).sum()
    }

    async fn reshard(&self, _how: Reshard) -> Result<()> {
        Err(Error::new(ErrorKind::Unsupported, "a hub is not resharded"))
    }
}
