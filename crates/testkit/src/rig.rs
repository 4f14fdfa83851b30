use std::{fmt, fmt::Debug, sync::Arc, time::Duration};

use async_trait::async_trait;
use strait_core::{Consumer, Id, Message, Ordering, Producer, Result};
use strait_kit::{LogSettings, Start};
use strait_runtime::Meter;

use crate::Faults;

/// A backend under test: declares what it can do, and makes channels.
///
/// A provider implements this once, in its tests. Cases run for what is declared; for what is not, they show that asking
/// for it is refused.
#[async_trait]
pub trait Rig: Debug + Send + Sync {
    /// What the backend declares.
    fn capabilities(&self) -> Capabilities;

    /// Makes a channel that nobody else uses.
    async fn channel(&self, needs: Needs) -> Result<Box<dyn Channel>>;

    /// Consumes a source that does not exist. `None` for a backend that makes whatever it is asked for.
    async fn missing(&self) -> Option<Result<Arc<dyn Consumer>>>;

    /// A configuration of this backend that opens: a sender `out` and a receiver `app`, whose tables begin with the lines
    /// `[senders.out]` and `[receivers.app]`.
    fn configuration(&self) -> String;

    /// Reads a configuration with this backend's provider, and opens nothing.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    fn configure(&self, text: &str) -> Result<()>;
}

/// A stream, or a queue, or a topic with subscriptions: where one case sends to and receives from.
#[async_trait]
pub trait Channel: Debug + Send + Sync {
    /// Another connection to send by.
    fn producer(&self) -> Arc<dyn Producer>;

    /// Sends [`FOREIGN`] as somebody else's client may, with what a sender of this library refuses: names that it or the
    /// provider reserves, and values that not every provider carries.
    ///
    /// # Errors
    ///
    /// What the provider says.
    async fn send_foreign(&self) -> Result<()>;

    /// Another process that consumes. What it asks for and the backend cannot do is an error.
    async fn join(&self, join: Join) -> Result<Member>;

    /// How many messages a group has yet to settle, as the backend knows.
    async fn left(&self, group: &str) -> usize;

    /// Changes the partitions.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`](strait_core::ErrorKind::Unsupported) if the backend has none, or their number is fixed.
    async fn reshard(&self, how: Reshard) -> Result<()>;
}

/// How partitions are changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reshard {
    /// One is closed, and two have its keys.
    Split,
    /// Two are closed, and one has their keys.
    Merge,
}

/// What a backend can do beyond the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is a thing of its own that a backend has or has not")]
pub struct Capabilities {
    /// What it is.
    pub shape: Shape,
    /// The order that its consumers promise.
    pub ordering: Ordering,
    /// After how long what a killed process held comes again, at most.
    pub lease: Duration,
    /// How long a message may be held in all, where that is limited.
    pub longest: Option<Duration>,
    /// Whether it stores messages of one dedup id once, and for how long it remembers them.
    pub dedup: Option<Duration>,
    /// Where a new group may choose to start.
    pub starts: Starts,
    /// How old a message may be that a new group gets although it starts at the latest one.
    pub latest_reach: Duration,
    /// Whether partitions are split and merged.
    pub reshards: bool,
    /// Whether time in it is that of the test's runtime, so that the clock may be paused.
    pub paused: bool,
    /// Whether a receipt has the name under which the message is received. What is fed by a topic has another.
    pub receipts: bool,
    /// Whether it counts how often it delivered a message. A log does not.
    pub counts: bool,
    /// Whether it can be full: then it keeps to [`Needs::room`].
    pub bounded: bool,
    /// Whether the service may deliver a message again for no reason that anybody gave it.
    pub repeats: bool,
    /// How many partitions a log may have at most.
    pub partitions: usize,
    /// How long a request of as many bytes as it may have takes, beyond the slack of all.
    pub request: Duration,
}

impl Capabilities {
    /// A backend of this shape, whose leases last `lease`: no order, no limit, no window, no choice of start.
    pub const fn new(shape: Shape, lease: Duration) -> Self {
        Self {
            shape,
            ordering: Ordering::None,
            lease,
            longest: None,
            dedup: None,
            starts: Starts::Nowhere,
            latest_reach: Duration::ZERO,
            reshards: false,
            paused: false,
            receipts: true,
            counts: matches!(shape, Shape::Queue),
            bounded: true,
            repeats: false,
            partitions: usize::MAX,
            request: Duration::ZERO,
        }
    }

    /// Promises order by key.
    pub const fn in_order(mut self) -> Self {
        self.ordering = Ordering::Key;
        self
    }

    /// Limits how long a message may be held in all.
    pub const fn with_longest(mut self, longest: Duration) -> Self {
        self.longest = Some(longest);
        self
    }

    /// Stores messages of one dedup id once, within `window`.
    pub const fn with_dedup(mut self, window: Duration) -> Self {
        self.dedup = Some(window);
        self
    }

    /// Lets a new group choose where it starts.
    pub const fn with_starts(mut self, starts: Starts) -> Self {
        self.starts = starts;
        self
    }

    /// A new group that starts at the latest message may get what is younger than this.
    pub const fn with_latest_reach(mut self, reach: Duration) -> Self {
        self.latest_reach = reach;
        self
    }

    /// Whether a new group may choose where it starts at all.
    pub fn has_starts(&self) -> bool {
        self.starts > Starts::Nowhere
    }

    /// Splits and merges partitions.
    pub const fn with_reshards(mut self) -> Self {
        self.reshards = true;
        self
    }

    /// Names a message otherwise in its receipt than where it is received.
    pub const fn with_receipts_apart(mut self) -> Self {
        self.receipts = false;
        self
    }

    /// Does not count deliveries.
    pub const fn without_counts(mut self) -> Self {
        self.counts = false;
        self
    }

    /// Is never full.
    pub const fn without_bounds(mut self) -> Self {
        self.bounded = false;
        self
    }

    /// May deliver a message again for no reason.
    pub const fn with_repeats(mut self) -> Self {
        self.repeats = true;
        self
    }

    /// How long to watch for what is not to come: `long` where time costs nothing, else as long as it takes for a lease
    /// to end and for any pause between attempts that a case does not set itself.
    pub fn watch(&self, long: Duration) -> Duration {
        if self.paused { long } else { long.min(self.lease.mul_f64(1.5).max(Duration::from_secs(3))) }
    }

    /// Has so many partitions at most, on a log.
    pub const fn with_partitions_up_to(mut self, partitions: usize) -> Self {
        self.partitions = partitions;
        self
    }

    /// Needs so long for a request of as many bytes as it may have: an emulator may be slow.
    pub const fn with_slow_requests(mut self, request: Duration) -> Self {
        self.request = request;
        self
    }

    /// How much longer than its pauses something may take: nothing where calls take no time, else less than a lease.
    pub fn slack(&self) -> Duration {
        if self.paused { Duration::ZERO } else { self.lease / 2 }
    }

    /// A pause that is long enough to be handed to the provider.
    pub fn long_pause(&self) -> Duration {
        Duration::from_secs(if self.paused { 20 * 60 } else { 62 })
    }

    /// Keeps time by the test's runtime.
    pub const fn with_paused_time(mut self) -> Self {
        self.paused = true;
        self
    }

    /// Whether order by key is promised.
    pub fn is_ordered(&self) -> bool {
        self.ordering == Ordering::Key
    }

    /// Whether it is a log.
    pub fn is_log(&self) -> bool {
        self.shape == Shape::Log
    }
}

/// Where a new group may choose to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Starts {
    /// It has no choice.
    Nowhere,
    /// At the earliest message, at the latest, or at a time.
    Times,
    /// Behind a position, too.
    Positions,
}

/// Who can take a claim away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A log: by partition.
    Log,
    /// A queue: by message.
    Queue,
}

/// What a case would like a channel to be. A backend does what it can: a case does not depend on it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Needs {
    /// The groups that will consume it.
    pub groups: Vec<&'static str>,
    /// How many partitions it has, on a log.
    pub partitions: usize,
    /// How many messages of a key may be in hand at once, on a queue.
    pub per_key: usize,
    /// The largest message, where it can be chosen.
    pub message_bytes: Option<usize>,
    /// Most bytes stored, where it can be chosen.
    pub room: Option<usize>,
}

/// The payload of what [`Channel::send_foreign`] sends.
pub const FOREIGN: &str = "foreign";

/// What [`Channel::send_foreign`] sends by `producer`, where the provider takes whatever its producer is given.
///
/// # Errors
///
/// What the provider says.
pub async fn send_foreign(producer: &dyn Producer) -> Result<()> {
    let id = Id::from_bytes([9; 16]);
    let mut message = Message::new(FOREIGN).with_id(id).with_header("strait-foreign", "reserved").with_header("a", "b");
    message.headers.append("a", "c");
    message.headers.append("binary", &b"\xff"[..]);
    for outcome in producer.send(&[message]).await {
        outcome?;
    }
    Ok(())
}

/// The group of a case that needs no other.
pub const GROUP: &str = "app";

impl Default for Needs {
    fn default() -> Self {
        Self { groups: vec![GROUP], partitions: 4, per_key: 10, message_bytes: None, room: None }
    }
}

/// How a process consumes a channel.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Join {
    /// As which group.
    pub group: &'static str,
    /// Where the group starts, if it is new and may choose. Default: the backend's own choice, which misses nothing.
    pub start: Option<Start>,
    /// Most messages that the engine of a log holds. Default: its own.
    pub buffer: Option<usize>,
    /// Most bytes that it holds. Default: its own.
    pub buffer_bytes: Option<usize>,
    /// How long a partition may drain before it is handed over regardless. Default: the engine's own.
    pub grace: Option<Duration>,
    /// What goes wrong between the engine and the backend.
    pub faults: Faults,
}

impl Default for Join {
    fn default() -> Self {
        Self { group: GROUP, start: None, buffer: None, buffer_bytes: None, grace: None, faults: Faults::none() }
    }
}

impl Join {
    /// As a member of `group`.
    pub fn group(group: &'static str) -> Self {
        Self { group, ..Self::default() }
    }

    /// With `faults` between the engine and the backend.
    pub fn with(faults: &Faults) -> Self {
        Self { faults: faults.clone(), ..Self::default() }
    }

    /// Holds at most so many bytes, on a log.
    pub fn holding(mut self, bytes: usize) -> Self {
        self.buffer_bytes = Some(bytes);
        self
    }

    /// Starts at `start`.
    pub fn starting(mut self, start: Start) -> Self {
        self.start = Some(start);
        self
    }

    /// Settings of the engine of a log that joins so, and tells `meter`.
    pub fn log_settings(&self, meter: &Meter) -> LogSettings {
        let mut settings = LogSettings::default();
        settings.observer = Arc::new(meter.clone());
        settings.buffer = self.buffer.unwrap_or(settings.buffer);
        settings.buffer_bytes = self.buffer_bytes.unwrap_or(settings.buffer_bytes);
        settings.grace = self.grace.unwrap_or(settings.grace);
        settings
    }
}

/// A process that consumes.
pub struct Member {
    /// What it consumes by.
    pub consumer: Arc<dyn Consumer>,
    /// What its engine measures.
    pub meter: Meter,
    kill: Box<dyn Fn() + Send + Sync>,
}

impl Member {
    /// A process that consumes by `consumer`, whose engine tells `meter`, and which `kill` kills.
    pub fn new(consumer: Arc<dyn Consumer>, meter: Meter, kill: impl Fn() + Send + Sync + 'static) -> Self {
        Self { consumer, meter, kill: Box::new(kill) }
    }

    /// Kills the process, as SIGKILL does: whatever it asks of the backend from now on hangs, nothing is released, and
    /// nobody is told.
    pub fn kill(&self) {
        (self.kill)();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("consumer", &self.consumer).finish_non_exhaustive()
    }
}
