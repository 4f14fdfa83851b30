//! The same by hand: loops on the SDK's client, as many as Strait has requests under way, with requests that carry the same.

use std::{hint::black_box, sync::Arc};

use aws_sdk_kinesis::{
    Client,
    primitives::Blob,
    types::{PutRecordsRequestEntry, ShardIteratorType},
};
use bytes::Bytes;
use strait_benches::Gauge;
use strait_core::{Id, Key, Message};
use strait_kinesis::kpl::{Aggregate, Opened, open};
use tokio::task::JoinSet;

use crate::load::{ID, Load, STREAM, keys};

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// What a request takes.
const BATCH: usize = 500;

async fn all<F>(tasks: impl Iterator<Item = F>) -> Result<()>
where
    F: Future<Output = Result<()>> + Send + 'static,
{
    tasks.collect::<JoinSet<_>>().join_all().await.into_iter().collect()
}

/// Reads each shard, a loop each. `bare`, records are not opened.
pub(crate) async fn work(client: Client, gauge: Arc<Gauge>, load: Load, bare: bool) -> Result<()> {
    let shards = client.list_shards().stream_name(STREAM).send().await?.shards.unwrap_or_default();
    let read = |shard: aws_sdk_kinesis::types::Shard| {
        read_loop(client.clone(), shard.shard_id, Arc::clone(&gauge), load.limit, bare)
    };
    all(shards.into_iter().map(read)).await
}

async fn read_loop(client: Client, shard: String, gauge: Arc<Gauge>, limit: i32, bare: bool) -> Result<()> {
    let request = client.get_shard_iterator().stream_name(STREAM).shard_id(&shard);
    let mut iterator = request.shard_iterator_type(ShardIteratorType::TrimHorizon).send().await?.shard_iterator;
    while !gauge.is_done() {
        let page = client.get_records().set_shard_iterator(iterator).limit(limit).send().await?;
        for record in page.records {
            black_box(&record.sequence_number);
            let data = Bytes::from(record.data.into_inner());
            if bare {
                black_box(data.len());
                gauge.hit(1);
                continue;
            }
            let Opened::Messages(messages) = open(&data) else { return Err("it is no aggregate".into()) };
            for message in messages {
                black_box((message.payload.len(), message.id));
                gauge.hit(1);
            }
        }
        iterator = page.next_shard_iterator;
    }
    Ok(())
}

/// How messages are put into records.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Packing {
    /// Those of a request share a record: they have no key.
    Together,
    /// Each has one of its own, and a key.
    Apart,
    /// Each is one as it is.
    Bare,
}

/// Sends in batches.
pub(crate) async fn send(client: Client, gauge: Arc<Gauge>, load: Load, packing: Packing) -> Result<()> {
    all((0..load.requests).map(|_| send_loop(client.clone(), Arc::clone(&gauge), load, packing))).await
}

async fn send_loop(client: Client, gauge: Arc<Gauge>, load: Load, packing: Packing) -> Result<()> {
    let (keys, id) = (keys(BATCH), ID.parse::<Id>()?);
    while !gauge.is_done() {
        let entries = match packing {
            Packing::Together => vec![together(load, id, BATCH)?],
            Packing::Apart => keys.iter().map(|key| apart(load, id, key)).collect::<Result<_>>()?,
            Packing::Bare => {
                keys.iter().map(|key| entry(key.as_str(), None, load.payload.into())).collect::<Result<_>>()?
            }
        };
        let count = entries.len();
        let sent = client.put_records().stream_name(STREAM).set_records(Some(entries)).send().await?;
        let stored = |record: &&aws_sdk_kinesis::types::PutRecordsResultEntry| record.error_code.is_none();
        if sent.records.len() != count || sent.records.iter().filter(stored).count() != count {
            return Err("some are not stored".into());
        }
        for record in sent.records {
            black_box(record.sequence_number);
        }
        gauge.hit(BATCH);
    }
    Ok(())
}

fn together(load: Load, id: Id, count: usize) -> Result<PutRecordsRequestEntry> {
    let mut aggregate = Aggregate::keyless(fastrand::u128(..));
    for _ in 0..count {
        aggregate.push(&load.message().with_id(id))?;
    }
    let hash = aggregate.explicit_hash_key().map(str::to_owned);
    let key = aggregate.partition_key().to_owned();
    entry(&key, hash, aggregate.finish())
}

fn apart(load: Load, id: Id, key: &Key) -> Result<PutRecordsRequestEntry> {
    let mut aggregate = Aggregate::of(key);
    aggregate.push(&message(load, id, key))?;
    entry(key.as_str(), None, aggregate.finish())
}

fn message(load: Load, id: Id, key: &Key) -> Message {
    load.message().with_id(id).with_key(key.clone())
}

fn entry(key: &str, hash: Option<String>, data: Vec<u8>) -> Result<PutRecordsRequestEntry> {
    let entry = PutRecordsRequestEntry::builder().partition_key(key).set_explicit_hash_key(hash);
    Ok(entry.data(Blob::new(data)).build()?)
}

/// Sends one by one, with so many callers.
pub(crate) async fn send_single(client: Client, gauge: Arc<Gauge>, load: Load) -> Result<()> {
    let caller = |client: Client, gauge: Arc<Gauge>| async move {
        let id = ID.parse::<Id>()?;
        while !gauge.is_done() {
            let PutRecordsRequestEntry { partition_key, explicit_hash_key, data, .. } = together(load, id, 1)?;
            let request = client.put_record().stream_name(STREAM).set_partition_key(partition_key);
            request.set_explicit_hash_key(explicit_hash_key).data(data).send().await?;
            gauge.hit(1);
        }
        Ok(())
    };
    all((0..load.callers).map(|_| caller(client.clone(), Arc::clone(&gauge)))).await
}
