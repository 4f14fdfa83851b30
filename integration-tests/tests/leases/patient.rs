//! A store that is asked again what failed for a moment.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use async_trait::async_trait;
use bytes::Bytes;
use integration_tests::again::again;
use strait_core::Result;
use strait_kit::{Expect, Put, Row, RowStore, Version};

/// A store whose rows have one writer each, or writers who look again when they are refused.
#[derive(Debug)]
pub(crate) struct Patient(pub(crate) Arc<dyn RowStore>);

#[async_trait]
impl RowStore for Patient {
    fn value_bytes(&self) -> usize {
        self.0.value_bytes()
    }

    async fn get(&self, key: &str) -> Result<Option<Row>> {
        again(|| self.0.get(key)).await
    }

    async fn versions(&self, prefix: &str) -> Result<Vec<(String, Version)>> {
        again(|| self.0.versions(prefix)).await
    }

    async fn put(&self, key: &str, expect: Expect, value: Bytes) -> Result<Put> {
        let ambiguous = AtomicBool::new(false);
        again(|| async {
            match self.0.put(key, expect.clone(), value.clone()).await {
                // It may have been an earlier attempt that changed the row.
                Ok(Put::Refused) if ambiguous.load(Relaxed) => {
                    let ours = self.0.get(key).await?.filter(|row| row.value == value);
                    Ok(ours.map_or(Put::Refused, |row| Put::Done(row.version)))
                }
                Err(error) => {
                    ambiguous.fetch_or(error.is_ambiguous(), Relaxed);
                    Err(error)
                }
                answer => answer,
            }
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<()> {
        again(|| self.0.delete(key)).await
    }
}

/// The suite on a store in memory that fails for a moment now and then.
mod suite {
    use std::sync::Arc;

    use strait_kit::RowStore;
    use strait_leases::{Faults, FaultyRows, Options, open, suite::Handles};

    use super::Patient;

    async fn handles() -> Handles {
        let faults = Faults { outage: 10, lost_reply: 10, ..Faults::default() };
        let mut handles = Vec::new();
        for seed in 0..3 {
            let rows = open("memory:patient", &Options::default()).await.unwrap();
            handles.push(Arc::new(Patient(Arc::new(FaultyRows::new(rows, faults, seed)))) as Arc<dyn RowStore>);
        }
        handles
    }

    strait_leases::row_store_suite!(handles());
}
