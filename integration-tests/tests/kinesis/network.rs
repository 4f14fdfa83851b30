//! What networks and the service do on the way: throttling, lost answers, requests that fail in part.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use async_trait::async_trait;
use fastrand::Rng;
use integration_tests::{
    again::again,
    emulators::LocalStack,
    kinesis::{Stream, connect, connect_to, stored, unsettled},
    queues::answered,
    weather::{message, weathers_a_storm},
};
use strait_core::{ErrorKind, Limits, Message, Plan, Producer, Receipt, Result};
use strait_kinesis::{Client, Envelope, KinesisLog, KinesisProducer};
use strait_kit::{Log as _, LogConsumer, LogSettings, Start, Static};
use strait_testkit::proxy::{Call, Entries, Proxy, Trouble};

const SHARDS: usize = 2;
const POLL: Duration = Duration::from_millis(200);
const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// A stream, a client that nothing happens to, and one of a proxy.
async fn scene(plan: impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static) -> (Stream, Client, Client, Proxy) {
    let calm = again(connect).await.unwrap();
    let stream = Stream::create(&calm, SHARDS).await.unwrap();
    let proxy = Proxy::start(LocalStack::get().address(), plan).await;
    let through = connect_to(&format!("http://{}", proxy.address())).await.unwrap();
    (stream, calm, through, proxy)
}

/// What is told of each message is what became of its record, for every mask of a request.
#[tokio::test]
async fn of_a_request_that_fails_in_part_each_message_is_told_the_truth() {
    let mask = Arc::new(AtomicU32::new(0));
    let masks = Arc::clone(&mask);
    let plan = move |call: &Call| {
        (call.operation == "PutRecords").then(|| Trouble::Mask(masks.load(Relaxed).into(), THROTTLED))
    };
    let (stream, calm, through, _proxy) = scene(plan).await;
    let producer = again(|| KinesisProducer::open(&through, &stream.0, Envelope::Kpl)).await.unwrap();
    let mut confirmed = BTreeSet::new();
    for round in 0..32 {
        mask.store(round, Relaxed);
        let batch: Vec<_> = (0..5).map(|entry| message(&format!("{round}-{entry}-"), entry)).collect();
        for (entry, outcome) in producer.send(&batch).await.into_iter().enumerate() {
            assert_eq!(outcome.is_err(), round & (1 << entry) > 0);
            match outcome {
                Ok(_) => drop(confirmed.insert(batch[entry].payload.clone())),
                Err(error) => assert!(error.kind() == ErrorKind::Throttled && !error.is_ambiguous()),
            }
        }
    }
    let log = again(|| KinesisLog::open(&calm, &stream.0, "all", POLL)).await.unwrap();
    let mut found = Vec::new();
    for shard in answered(|| log.partitions()).await {
        found.extend(answered(|| stored(&log, &shard.id)).await.into_iter().map(|record| record.message.payload));
    }
    assert_eq!(found.len(), confirmed.len());
    assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), confirmed);
    stream.delete(&calm).await.unwrap();
}

/// By chance, of a tenth of the calls the answer is lost and a quarter is throttled, and of a quarter of the requests to
/// send some records are. Not those by which something is opened: they are not tried again.
fn storm(seed: u64) -> impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static {
    let rng = Mutex::new(Rng::with_seed(seed));
    move |call| {
        let mut rng = rng.lock().expect("nothing panics while holding this");
        match (call.operation.as_str(), rng.u8(..100)) {
            ("PutRecords" | "GetRecords" | "GetShardIterator", 0..25) => Some(Trouble::Refuse(400, THROTTLED)),
            ("PutRecords" | "GetRecords" | "GetShardIterator", 25..35) => Some(Trouble::LoseAnswer),
            ("PutRecords", 35..60) => {
                Some(Trouble::Mask((0..500).filter(|_| rng.bool()).collect::<Entries>(), THROTTLED))
            }
            _ => None,
        }
    }
}

/// A producer of small requests, so that there are many.
#[derive(Debug)]
struct Small(KinesisProducer);

#[async_trait]
impl Producer for Small {
    fn limits(&self) -> Limits {
        let mut limits = self.0.limits();
        limits.messages = 10;
        limits
    }

    fn destinations(&self) -> Vec<String> {
        self.0.destinations()
    }

    fn plan(&self, message: &Message) -> Result<Plan> {
        self.0.plan(message)
    }

    async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
        self.0.send(batch).await
    }

    async fn close(&self) -> Result<()> {
        self.0.close().await
    }
}

/// All that was said to be sent is stored and comes, what was said not to be is not, and each key is in order.
#[tokio::test]
async fn nothing_is_lost_in_a_storm() {
    let (stream, calm, through, proxy) = scene(storm(3)).await;
    let producer = again(|| KinesisProducer::open(&through, &stream.0, Envelope::Kpl)).await.unwrap();
    let log = again(|| KinesisLog::open(&through, &stream.0, "all", POLL)).await.unwrap();
    let seen = again(|| KinesisLog::open(&calm, &stream.0, "all", POLL)).await.unwrap();
    let shards = answered(|| seen.partitions()).await;
    let ownership = Arc::new(Static::new(shards.iter().map(|shard| (shard.clone(), Start::Earliest))));
    let consumer = LogConsumer::new(log, Arc::clone(&ownership) as _, LogSettings::default());
    let left = async || {
        let settled: BTreeMap<_, _> = ownership.progress();
        let mut count = 0;
        for shard in &shards {
            count += answered(|| unsettled(&seen, &shard.id, settled.get(&shard.id))).await;
        }
        count
    };
    let (patient, hasty) = (Arc::new(Small(producer.another())), Arc::new(Small(producer)));
    Box::pin(weathers_a_storm(patient, hasty, Arc::new(consumer), 1024, false, left)).await;
    for operation in ["PutRecords", "GetRecords"] {
        assert!(proxy.troubled(operation) > 5, "{operation} met trouble {} times", proxy.troubled(operation));
    }
    stream.delete(&calm).await.unwrap();
}
