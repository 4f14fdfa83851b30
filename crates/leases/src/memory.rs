use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    ops::Bound,
    sync::{Arc, LazyLock, Mutex, MutexGuard},
};

use async_trait::async_trait;
use bytes::Bytes;
use strait_core::Result;
use strait_kit::{Expect, Put, Row, RowStore, Version};

use crate::{key, record};

/// The stores of this process, by name. They live as long as it does: a group whose members have all left finds its
/// checkpoints when it comes back. Names come from configuration, so that there are few.
static STORES: LazyLock<Mutex<HashMap<String, Arc<MemoryRows>>>> = LazyLock::new(Mutex::default);

/// Rows in this process. Bounded by what is put into it, as the other stores are; nothing here waits.
pub(crate) struct MemoryRows {
    name: String,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<String, (u64, Bytes)>,
    /// How many puts were done: the latest version, of all rows together, so that one of a deleted row stays gone.
    puts: u64,
}

impl MemoryRows {
    /// The one store of this name.
    pub(crate) fn named(name: &str) -> Arc<Self> {
        let mut stores = STORES.lock().expect("nothing panics while holding this");
        let new = || Arc::new(Self { name: name.to_owned(), state: Mutex::default() });
        Arc::clone(stores.entry(name.to_owned()).or_insert_with(new))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while holding this")
    }
}

impl fmt::Debug for MemoryRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryRows").field("name", &self.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl RowStore for MemoryRows {
    fn value_bytes(&self) -> usize {
        record::LONGEST_VALUE
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        key::encode(key)?;
        let state = self.state();
        Ok(state.rows.get(key).map(|(put, value)| Row { version: version(*put), value: value.clone() }))
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        let state = self.state();
        let from = (Bound::Included(prefix), Bound::Unbounded);
        let found = state.rows.range::<str, _>(from).take_while(|(key, _)| key.starts_with(prefix));
        Ok(found.map(|(key, (put, _))| (key.clone(), version(*put))).collect())
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        key::encode(key)?; // refuses what the other stores refuse, so that this one rehearses them
        record::check(&value, self.value_bytes())?;
        let mut state = self.state();
        let as_expected = match (state.rows.get(key), expect) {
            (None, Expect::Absent) => true,
            (Some((put, _)), Expect::Is(expected)) => version(*put) == expected,
            _ => false,
        };
        if !as_expected {
            return Ok(Put::Refused);
        }
        state.puts += 1;
        let put = state.puts;
        state.rows.insert(key.to_owned(), (put, value));
        Ok(Put::Done(version(put)))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        key::encode(key)?;
        self.state().rows.remove(key);
        Ok(())
    }
}

fn version(put: u64) -> Version {
    Version::new(put.to_string())
}
