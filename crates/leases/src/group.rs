use std::{sync::Arc, time::Duration};

use strait_config::{Fields, StartAt};
use strait_core::{Error, ErrorKind, Result};
use strait_kit::{
    Log, Start,
    coordination::{Coordinator, CoordinatorSettings},
};

use crate::{Options, deferred::DeferredRows, open::open, place::Place, prefixed::Prefixed};

/// The longest name of a group.
const NAME_BYTES: usize = 100;
/// What a name may have beside letters and digits.
const MARKS: &str = "-_.$";

/// A group whose members share a log through rows of a store: what adapters for logs have in common.
///
/// An adapter reads it from the table of a receiver, opens its log, and lets this process [`join`](Self::join): what
/// comes of that is the [`Ownership`](strait_kit::Ownership) of its [`LogConsumer`](strait_kit::LogConsumer).
///
/// ```
/// use std::sync::Arc;
/// use strait_core::Consumer as _;
/// use strait_kit::{LogConsumer, LogSettings};
/// use strait_leases::Group;
/// use strait_memory::{Life, LogOptions, MemoryLog};
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let orders = MemoryLog::new(LogOptions::named("orders")); // stands for a log that processes share
/// let log = orders.seen_by("billing", &Life::default());
/// let group = Group::new("billing", "memory:leases");
/// let member = group.join("orders", Arc::clone(&log)).await?;
/// let consumer = LogConsumer::new(log, Arc::new(member), LogSettings::default());
/// consumer.close().await
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Group {
    /// What it is called: 1 to 100 letters, digits, `-`, `_`, `.` and `$`. Groups of other names get all messages too.
    pub name: String,
    /// Where its rows are: a URL, as [`open`] has it. Groups and logs may share a store: the rows of each are below the
    /// name of the log and the name of the group.
    pub leases: String,
    /// How the store is reached. Default: as the environment says. An adapter for a service of AWS puts the access of its
    /// connection here, so that one connection says where both are and as whom.
    pub options: Options,
    /// After how long without a sign of life a member is dead to the others; the same for all members. 2 s to a day.
    /// Default: 10 s.
    pub expiry: Duration,
    /// Where the group starts if it is new: a known one goes on. Not a position. Default: [`Start::Earliest`].
    pub start: Start,
}

impl Group {
    /// A group of this name, with its rows in the store of this URL.
    pub fn new(name: impl Into<String>, leases: impl Into<String>) -> Self {
        let CoordinatorSettings { expiry, start, .. } = CoordinatorSettings::default();
        Self { name: name.into(), leases: leases.into(), options: Options::default(), expiry, start }
    }

    /// Reads `group`, `leases`, `expiry` and `start` from the table of a receiver. What is wrong is among its problems.
    pub fn read(fields: &mut Fields) -> Self {
        let (name, leases) = (fields.required("group"), fields.required("leases"));
        if !name.is_empty()
            && let Err(reason) = check_name(&name)
        {
            fields.problem("group", reason);
        }
        if !leases.is_empty()
            && let Err(reason) = Place::parse(&leases)
        {
            fields.problem("leases", reason);
        }
        let mut group = Self::new(name, leases);
        group.expiry = fields.duration("expiry").unwrap_or(group.expiry);
        if CoordinatorSettings::with_expiry(group.expiry).is_err() {
            fields.problem("expiry", "must be 2s to a day");
        }
        group.start = match fields.start("start") {
            None | Some(StartAt::Earliest) => Start::Earliest,
            Some(StartAt::Latest) => Start::Latest,
            Some(StartAt::Time(time)) => Start::At(time),
        };
        group
    }

    /// Makes this process a member of the group, for the partitions of `log`. Cancel-safe: dropped, nobody has joined.
    ///
    /// `source` tells the log from all others whose groups keep rows in the same store, and is the same in every process:
    /// the name of a stream, with its account and region where those may differ.
    ///
    /// The store is asked for a row, so that what is wrong with it shows here. The member works on a thread of its own, by
    /// connections to the store that nothing else uses and that are made there, so that no handler holds up its heartbeats,
    /// and none needs this runtime. It also asks `log` for its partitions there: those calls too are to go by connections
    /// that are first used there.
    ///
    /// # Errors
    ///
    /// As [`open`]; [`ErrorKind::Config`] names the field that cannot be used, or says that the names are too long, or that
    /// the rows are those of another log: then they are as they were;
    /// [`ErrorKind::Unsupported`] if `start` is a position; [`ErrorKind::Other`] if no thread can be started.
    pub async fn join(&self, source: &str, log: Arc<dyn Log>) -> Result<Coordinator> {
        if let Err(reason) = check_name(&self.name) {
            return Err(Error::new(ErrorKind::Config, format!("leases: group: {reason}")));
        }
        let mut settings = CoordinatorSettings::with_expiry(self.expiry)?;
        settings.start = self.start.clone();
        let opened = open(&self.leases, &self.options).await?;
        let rows = DeferredRows::new(&self.leases, &self.options, &*opened);
        let rows = Prefixed::new(Arc::new(rows), [source, &self.name])?;
        let member = Coordinator::start(Arc::new(rows), log, settings)?;
        member.opened().await?;
        Ok(member)
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let known = |byte: u8| byte.is_ascii_alphanumeric() || MARKS.as_bytes().contains(&byte);
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(known) {
        return Err(format!("must be 1 to {NAME_BYTES} of letters, digits and {MARKS}"));
    }
    Ok(())
}
