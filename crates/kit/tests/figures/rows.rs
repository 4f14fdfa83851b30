//! A store in memory, and each process's way to it: some milliseconds long, until the process is killed.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use fastrand::Rng;
use strait_core::Result;
use strait_kit::{Expect, Put, Row, RowStore, Version};
use tokio::time;

type Stored = BTreeMap<String, (u64, Bytes)>;

#[derive(Debug, Default)]
pub(crate) struct Rows(Mutex<(u64, Stored)>);

fn name(version: u64) -> Version {
    Version::new(version.to_string())
}

impl Rows {
    fn lock(&self) -> MutexGuard<'_, (u64, Stored)> {
        self.0.lock().expect("no test panics while holding this")
    }

    /// Whom a partition's row names.
    pub(crate) fn owner(&self, partition: &str) -> Option<String> {
        let value = self.lock().1.get(&format!("part/{partition}"))?.1.clone();
        let row: serde_json::Value = serde_json::from_slice(&value).expect("nobody spoils rows here");
        row.get("owner")?.as_str().map(str::to_owned)
    }

    fn put(&self, key: &str, expect: &Expect, value: Bytes) -> Put {
        let mut rows = self.lock();
        let is = rows.1.get(key).map_or(Expect::Absent, |(version, _)| Expect::Is(name(*version)));
        if is != *expect {
            return Put::Refused;
        }
        rows.0 += 1;
        let version = rows.0;
        rows.1.insert(key.to_owned(), (version, value));
        Put::Done(name(version))
    }
}

/// How one process reaches the store.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) rows: Arc<Rows>,
    rng: Mutex<Rng>,
    killed: AtomicBool,
    /// What this process has called itself.
    names: Mutex<BTreeSet<String>>,
    pub(crate) beats: AtomicU64,
}

impl Wire {
    pub(crate) fn new(rows: &Arc<Rows>, seed: u64) -> Arc<Self> {
        Arc::new(Self {
            rows: Arc::clone(rows),
            rng: Mutex::new(Rng::with_seed(seed)),
            killed: AtomicBool::new(false),
            names: Mutex::default(),
            beats: AtomicU64::new(0),
        })
    }

    /// From now on every call hangs, as after SIGKILL: those under way have landed or not, and nobody hears of it.
    pub(crate) fn kill(&self) {
        self.killed.store(true, Relaxed);
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.killed.load(Relaxed)
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.names.lock().expect("no test panics while holding this").clone()
    }

    /// Whether this process is the one that `name` names.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.names.lock().expect("no test panics while holding this").contains(name)
    }

    /// One way, and whether what is on it may arrive.
    async fn travel(&self) {
        let (millis, lost) = {
            let mut rng = self.rng.lock().expect("no test panics while holding this");
            (rng.u64(1..10), rng.bool())
        };
        let before = self.is_killed();
        time::sleep(Duration::from_millis(millis)).await;
        if before || (self.is_killed() && lost) {
            std::future::pending::<()>().await;
        }
    }

    async fn call<T>(&self, call: impl FnOnce(&Rows) -> T) -> T {
        self.travel().await;
        let reply = call(&self.rows);
        self.travel().await;
        if self.is_killed() {
            std::future::pending::<()>().await;
        }
        reply
    }
}

#[async_trait]
impl RowStore for Wire {
    fn value_bytes(&self) -> usize {
        1 << 20
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        let row = |(version, value): &(u64, Bytes)| Row { version: name(*version), value: value.clone() };
        Ok(self.call(|rows| rows.lock().1.get(key).map(row)).await)
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        let list = |rows: &Rows| {
            let rows = rows.lock();
            let listed = rows.1.range(prefix.to_owned()..).take_while(|(key, _)| key.starts_with(prefix));
            listed.map(|(key, (version, _))| (key.clone(), name(*version))).collect()
        };
        Ok(self.call(list).await)
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        let put = |rows: &Rows| {
            let put = rows.put(key, &expect, value);
            if let (Put::Done(_), Some(member)) = (&put, key.strip_prefix("member/")) {
                self.names.lock().expect("no test panics while holding this").insert(member.to_owned());
                self.beats.fetch_add(1, Relaxed);
            }
            put
        };
        Ok(self.call(put).await)
    }

    async fn delete(&self, key: &str) -> Result<()> {
        self.call(|rows| drop(rows.lock().1.remove(key))).await;
        Ok(())
    }
}
