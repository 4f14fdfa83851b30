//! Reading a shard by asking for its records.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_core::{Budget, ErrorKind, Key, Lag, Message, Position, Producer as _};
use strait_kinesis::{Envelope, KinesisLog, KinesisProducer};
use strait_kit::{Log as _, Page, Reader, Record, Start};
use strait_testkit::kinesis::{Fault, StreamSettings, Stub};
use tokio::sync::Notify;

use super::{connect, message, payloads};

pub(super) const FIRST: &str = "shardId-000000000000";
pub(super) const AHEAD: usize = 1 << 20;
pub(super) const MINUTE: Duration = Duration::from_mins(1);
pub(super) const HOUR: Duration = Duration::from_hours(1);
pub(super) const ALL: Budget = Budget::new(1000, 1 << 20);

pub(super) struct Scene {
    pub(super) stub: Stub,
    pub(super) log: Arc<KinesisLog>,
    producer: KinesisProducer,
}

impl Scene {
    async fn new(settings: StreamSettings) -> Self {
        let stub = Stub::start().await;
        stub.create("orders", settings);
        let client = connect(&stub).await;
        let log = KinesisLog::open(&client, "orders", "billing", Duration::from_millis(300)).await.unwrap();
        let producer = KinesisProducer::open(&client, "orders", Envelope::Kpl).await.unwrap();
        Self { stub, log, producer }
    }

    /// The same, whose log has its records pushed.
    pub(super) async fn pushed(settings: StreamSettings) -> Self {
        let scene = Self::new(settings).await;
        let client = connect(&scene.stub).await;
        let log = KinesisLog::open_fan_out(&client, "orders", "billing", "billing", true).await.unwrap();
        Self { log, ..scene }
    }

    /// Stores messages of a key, in one record.
    pub(super) async fn put(&self, numbers: std::ops::Range<u64>) {
        let batch: Vec<_> = numbers.map(|number| message("a", number, number.to_string())).collect();
        assert!(self.producer.send(&batch).await.iter().all(Result::is_ok));
    }

    pub(super) async fn read(&self, start: Start) -> Box<dyn Reader> {
        self.log.open(FIRST, &start, 1, AHEAD).await.unwrap()
    }

    fn calls(&self) -> usize {
        self.stub.seen("GetRecords").len()
    }
}

/// The next records there are, over pages without any.
pub(super) async fn next(reader: &mut dyn Reader, budget: Budget) -> Vec<Record> {
    loop {
        match reader.next(budget).await.unwrap() {
            Page::Records { records, .. } if records.is_empty() => {}
            Page::Records { records, .. } => return records,
            other => panic!("{other:?}"),
        }
    }
}

/// So many records.
pub(super) async fn take(reader: &mut dyn Reader, count: usize) -> Vec<Record> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(next(reader, ALL).await);
    }
    all
}

pub(super) fn told(records: &[Record]) -> Vec<String> {
    payloads(&records.iter().map(|record| record.message.clone()).collect::<Vec<_>>())
}

/// Facts 20, 21: a position in the middle of a record goes on behind it, and is the same at every reading.
#[tokio::test]
async fn reading_goes_on_behind_any_message() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..5).await;
    scene.put(5..6).await;
    let all = take(&mut *scene.read(Start::Earliest).await, 6).await;
    assert_eq!(told(&all), ["0", "1", "2", "3", "4", "5"]);
    assert_eq!(all[2].message, message("a", 2, "2"));
    assert!(all[0].stored_at.is_some());
    for (index, record) in all[..5].iter().enumerate() {
        let rest = take(&mut *scene.read(Start::After(record.position.clone())).await, 5 - index).await;
        assert_eq!(told(&rest), told(&all[index + 1..]));
        let positions = |records: &[Record]| records.iter().map(|it| it.position.clone()).collect::<Vec<_>>();
        assert_eq!(positions(&rest), positions(&all[index + 1..]));
    }
}

/// Case 36: where nobody asked for long, reading goes on where it was.
#[tokio::test]
async fn an_iterator_that_has_expired_is_made_again_behind_the_last_record() {
    let scene = Scene::new(StreamSettings::default()).await;
    let mut reader = scene.read(Start::Earliest).await;
    for number in 0..3 {
        scene.put(number..number + 1).await;
        assert_eq!(told(&next(&mut *reader, ALL).await), [number.to_string()]);
        scene.stub.advance(6 * MINUTE);
    }
    scene.put(3..4).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["3"]);
}

/// Case 37: also if it expired before anything came.
#[tokio::test]
async fn what_came_while_the_first_iterator_expired_is_read() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    // So that the service's clock is not behind this machine's, by which the place is kept.
    scene.stub.advance(MINUTE);
    let mut reader = scene.read(Start::Latest).await;
    let Page::Records { records, caught_up, .. } = reader.next(ALL).await.unwrap() else { panic!("no records") };
    assert!(records.is_empty() && caught_up);
    scene.stub.advance(6 * MINUTE);
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
}

/// The last records and the end come in one answer: first the records, then the end, with what came after it.
#[tokio::test]
async fn a_shard_ends_with_its_children_behind_its_last_record() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..2).await;
    let children = scene.stub.split("orders", FIRST);
    for told_at_the_end in [true, false] {
        scene.stub.plan(move |call| {
            let is_told = told_at_the_end || call.operation != "GetRecords";
            (!is_told).then_some(Fault::Without("ChildShards"))
        });
        let mut reader = scene.read(Start::Earliest).await;
        assert_eq!(told(&next(&mut *reader, Budget::new(1, 1 << 20)).await), ["0"]);
        assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
        for _ in 0..2 {
            let Page::End { children: found } = reader.next(ALL).await.unwrap() else { panic!("it does not end") };
            let names: Vec<_> = found.iter().map(|child| &*child.id).collect();
            // The engine looks for those that are not told in the list.
            assert_eq!(names, if told_at_the_end { &children[..] } else { &[] });
            assert!(found.iter().all(|child| child.parents == [FIRST.into()] && child.hashes.is_some()));
        }
    }
}

/// Neither a shard nor a stream that is not found is the end of a shard.
#[tokio::test]
async fn nothing_else_is_the_end_of_a_shard() {
    let scene = Scene::new(StreamSettings::default()).await;
    for code in ["ResourceNotFoundException", "InvalidArgumentException"] {
        for operation in ["GetRecords", "GetShardIterator"] {
            scene.stub.plan(move |call| (call.operation == operation).then_some(Fault::Refuse(400, code)));
            let error = scene.read(Start::Earliest).await.next(ALL).await.unwrap_err();
            assert!([ErrorKind::NotFound, ErrorKind::Invalid].contains(&error.kind()), "{error}");
        }
    }
}

/// Case 14: a position of another shard is refused, and not taken for one that is no longer stored.
#[tokio::test]
async fn a_position_of_another_shard_is_refused() {
    let scene = Scene::new(StreamSettings::default().with_shards(2)).await;
    let of_the_other = Position::from(&*format!("4960{:012}{:040}", 1, 0));
    let error = scene.read(Start::After(of_the_other)).await.next(ALL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    let refused = scene.log.open(FIRST, &Start::After(Position::from("x")), 1, AHEAD).await;
    assert_eq!(refused.err().map(|error| error.kind()), Some(ErrorKind::Config));
}

/// Case 23: the service answers as if nothing had been lost, the emulator by the oldest record.
#[tokio::test]
async fn a_place_that_is_no_longer_stored_is_told() {
    for settings in [StreamSettings::default(), StreamSettings::default().with_skips_trimmed()] {
        let scene = Scene::new(settings.clone()).await;
        scene.put(0..2).await;
        let last = next(&mut *scene.read(Start::Earliest).await, ALL).await.pop().unwrap().position;
        scene.stub.advance(25 * HOUR);
        let page = scene.read(Start::After(last.clone())).await.next(ALL).await.unwrap();
        assert!(matches!(page, Page::Trimmed { oldest: None }), "{page:?}");
        scene.put(2..3).await;
        let page = scene.read(Start::After(last)).await.next(ALL).await.unwrap();
        let Page::Trimmed { oldest } = page else { panic!("{page:?}") };
        let first = next(&mut *scene.read(Start::Earliest).await, ALL).await.remove(0);
        assert_eq!(first.message.payload, "2");
        assert_eq!(oldest, settings.skips_trimmed.then_some(first.position));
    }
}

/// A shard where nothing comes says where it may be opened again, however long that is ago.
#[tokio::test]
async fn an_idle_shard_is_resumed_at_a_time() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..2).await;
    let mut reader = scene.read(Start::Earliest).await;
    assert_eq!(next(&mut *reader, ALL).await.len(), 2);
    scene.stub.advance(23 * HOUR + 58 * MINUTE);
    let resume = loop {
        if let Page::Records { resume: Some(resume), .. } = reader.next(ALL).await.unwrap() {
            break resume;
        }
    };
    let Start::At(time) = &resume else { panic!("{resume:?}") };
    assert!(*time <= scene.stub.now() && *time + 2 * MINUTE > scene.stub.now());
    // Its records are forgotten now, and nothing is lost.
    scene.stub.advance(HOUR);
    scene.put(2..3).await;
    assert_eq!(told(&next(&mut *scene.read(resume.clone()).await, ALL).await), ["2"]);
    // Longer than records are kept, something may have come and gone.
    scene.stub.advance(24 * HOUR);
    let page = scene.read(resume).await.next(ALL).await.unwrap();
    assert!(matches!(page, Page::Trimmed { oldest: None }), "{page:?}");
}

/// What was stored before a group began is not read for its place.
#[tokio::test]
async fn a_place_is_not_before_the_start() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    scene.stub.advance(Duration::from_secs(5));
    let start = scene.stub.now();
    scene.stub.advance(Duration::from_secs(1));
    let mut reader = scene.read(Start::At(start)).await;
    let page = reader.next(ALL).await.unwrap();
    let Page::Records { resume: Some(resume), .. } = page else { panic!("{page:?}") };
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *scene.read(resume).await, ALL).await), ["1"]);
}

/// Others share a shard's five calls a second.
#[tokio::test]
async fn throttling_is_no_failure() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    let calls = AtomicUsize::new(0);
    scene.stub.plan(move |call| {
        let is_throttled = call.operation == "GetRecords" && calls.fetch_add(1, Relaxed) < 2;
        is_throttled.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    assert_eq!(told(&next(&mut *scene.read(Start::Earliest).await, ALL).await), ["0"]);
    assert_eq!(scene.calls(), 3);
}

/// A shard that throttles for longer is a failure, and one that others call too is none.
#[tokio::test]
async fn throttling_for_thirty_seconds_is_a_failure() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    let (throttles, seen) = (Arc::new(AtomicBool::new(true)), Arc::new(Notify::new()));
    let (of_plan, of_calls) = (Arc::clone(&throttles), Arc::clone(&seen));
    scene.stub.plan(move |call| {
        let is_throttled = call.operation == "GetRecords" && of_plan.load(Relaxed);
        of_calls.notify_one();
        is_throttled.then_some(Fault::Refuse(400, "ProvisionedThroughputExceededException"))
    });
    let mut reader = scene.read(Start::Earliest).await;
    // A third call is made once the answers to the first two were taken in.
    let called = async {
        while scene.calls() < 3 {
            seen.notified().await;
        }
    };
    tokio::select! {
        page = reader.next(ALL) => panic!("{page:?}"),
        () = called => {}
    }
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(31)).await;
    tokio::time::resume();
    assert_eq!(reader.next(ALL).await.unwrap_err().kind(), ErrorKind::Throttled);
    throttles.store(false, Relaxed);
    assert_eq!(told(&next(&mut *reader, ALL).await), ["0"]);
}

/// A record that is stored may be missing in an answer: it is not lost for that.
#[tokio::test]
async fn a_record_that_is_missing_once_is_not_taken_for_lost() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..2).await;
    let last = next(&mut *scene.read(Start::Earliest).await, ALL).await.pop().unwrap().position;
    scene.put(2..3).await;
    let calls = AtomicUsize::new(0);
    scene.stub.plan(move |call| {
        let is_first = call.operation == "GetRecords" && calls.fetch_add(1, Relaxed) == 0;
        is_first.then_some(Fault::Empty)
    });
    assert_eq!(told(&next(&mut *scene.read(Start::After(last)).await, ALL).await), ["2"]);
}

/// Case 41: where the service brings nothing and says that more is stored, it is called on at once.
#[tokio::test]
async fn an_empty_page_that_is_behind_is_not_the_end() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.stub.plan(|call| (call.operation == "GetRecords").then_some(Fault::Behind(5000)));
    let log = KinesisLog::open(&connect(&scene.stub).await, "orders", "billing", MINUTE).await.unwrap();
    let mut reader = log.open(FIRST, &Start::Earliest, 1, AHEAD).await.unwrap();
    for _ in 0..3 {
        let Page::Records { records, lag, caught_up, resume } = reader.next(ALL).await.unwrap() else { panic!() };
        assert!(records.is_empty() && !caught_up && resume.is_none());
        assert_eq!(lag, Some(Lag::Time(Duration::from_secs(5))));
    }
    // Case 40: where nothing is stored behind it, there is no lag.
    scene.stub.plan(|_| None);
    let Page::Records { lag, caught_up, .. } = reader.next(ALL).await.unwrap() else { panic!() };
    assert!(caught_up && lag == Some(Lag::Time(Duration::ZERO)));
}

/// What was stored in one millisecond is not behind, as the emulator counts.
#[tokio::test]
async fn a_full_page_is_not_known_to_be_the_last() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    scene.put(1..2).await;
    scene.stub.plan(|call| (call.operation == "GetRecords").then_some(Fault::Without("MillisBehindLatest")));
    let mut reader = scene.read(Start::Earliest).await;
    let mut pages = Vec::new();
    for _ in 0..3 {
        let Page::Records { records, caught_up, resume, .. } = reader.next(ALL).await.unwrap() else { panic!() };
        assert!(caught_up || resume.is_none());
        pages.push((told(&records).concat(), caught_up));
    }
    let last = scene.stub.seen("GetRecords")[1].body["Limit"].as_u64() > Some(1);
    assert_eq!(pages, [("0".to_owned(), false), ("1".to_owned(), last), (String::new(), true)]);
}

/// Case 24: the latest record is that by the service's clock. Ours is a minute behind it here.
#[tokio::test]
async fn the_latest_record_is_that_by_the_service() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    scene.stub.advance(MINUTE);
    let log = KinesisLog::open(&connect(&scene.stub).await, "orders", "billing", MINUTE).await.unwrap();
    let start = log.start(&Start::Latest);
    let Start::At(time) = start else { panic!("{start:?}") };
    assert!(time <= scene.stub.now() && time + Duration::from_secs(2) > scene.stub.now());
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *scene.read(start).await, ALL).await), ["1"]);
    assert_eq!(log.start(&Start::Earliest), Start::Earliest);
}

/// Messages without a key come without one, in whatever record they were.
#[tokio::test]
async fn messages_without_a_key_have_none() {
    let scene = Scene::new(StreamSettings::default()).await;
    let batch: Vec<_> = (0..3).map(|number| message("", number, number.to_string())).collect();
    assert!(scene.producer.send(&batch).await.iter().all(Result::is_ok));
    let mut found: Vec<_> = take(&mut *scene.read(Start::Earliest).await, 3).await;
    found.sort_by_key(|record| record.message.id);
    assert_eq!(found.into_iter().map(|record| record.message).collect::<Vec<_>>(), batch);
}

/// Case 24: our clock may be ahead of the service's.
#[tokio::test]
async fn a_time_that_has_not_come_yet_is_waited_for() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..1).await;
    let mut reader = scene.read(Start::At(scene.stub.now() + MINUTE)).await;
    for _ in 0..2 {
        let Page::Records { records, caught_up, .. } = reader.next(ALL).await.unwrap() else { panic!("no records") };
        assert!(records.is_empty() && !caught_up);
    }
    scene.stub.advance(2 * MINUTE);
    scene.put(1..2).await;
    assert_eq!(told(&next(&mut *reader, ALL).await), ["1"]);
}

/// What a call brought beyond a budget is handed out without another call.
#[tokio::test]
async fn what_a_call_brought_is_handed_out_within_each_budget() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.put(0..40).await;
    let mut reader = scene.read(Start::Earliest).await;
    let mut all = Vec::new();
    while all.len() < 40 {
        let records = next(&mut *reader, Budget::new(7, 1 << 20)).await;
        assert!(all.len() + records.len() == 40 || (1..1 << 20).contains(&reader.ahead()), "it says what it holds");
        assert!(records.len() <= 7);
        all.extend(told(&records));
    }
    assert_eq!(all, (0..40).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!((scene.calls(), reader.ahead()), (1, 0));
    // Until it is known how large records are, few are asked for.
    assert_eq!(scene.stub.seen("GetRecords")[0].body["Limit"], 1);
}

/// What a call may bring is what there is room for: a reader may have been opened when there was more.
#[tokio::test]
async fn a_call_brings_no_more_than_there_is_room_for() {
    let scene = Scene::new(StreamSettings::default()).await;
    for number in 0..40 {
        scene.put(number..number + 1).await;
    }
    let mut reader = scene.read(Start::Earliest).await;
    let mut read = 0;
    while limit_of(&scene) < 4 {
        read += next(&mut *reader, ALL).await.len();
    }
    while reader.ahead() > 0 {
        read += next(&mut *reader, ALL).await.len();
    }
    assert!(read < 40, "all was read before it was known how large records are");
    next(&mut *reader, Budget::new(1000, 1)).await;
    assert_eq!(limit_of(&scene), 1);
}

/// How many records the last call was to bring; none yet: 0.
fn limit_of(scene: &Scene) -> u64 {
    scene.stub.seen("GetRecords").pop().map_or(0, |call| call.body["Limit"].as_u64().unwrap())
}

/// What others wrote: the record's key is the key, and the id is always the same.
#[tokio::test]
async fn records_of_others_are_messages() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.stub.put("orders", "k", "plain");
    scene.stub.put("orders", "k", [0xf3, 0x89, 0x9a, 0xc2, 1]);
    let all = take(&mut *scene.read(Start::Earliest).await, 2).await;
    let again = next(&mut *scene.read(Start::Earliest).await, ALL).await;
    assert_eq!((again[0].message.id, all[0].message.id.is_some()), (all[0].message.id, true));
    assert_ne!(all[0].message.id, all[1].message.id);
    let plain: &Message = &all[0].message;
    assert_eq!((&plain.payload[..], &plain.key, plain.headers.len()), (&b"plain"[..], &Key::new("k").ok(), 0));
    let flawed = &all[1].message;
    assert_eq!((flawed.payload.len(), flawed.headers.get_str("strait-kpl-flaw")), (5, Some("checksum")));
}

/// So that a dead letter fits where its message did.
#[tokio::test]
async fn no_message_is_larger_than_a_record_may_be() {
    let scene = Scene::new(StreamSettings::default()).await;
    let most = scene.log.guarantees().message_bytes;
    assert_eq!(most, scene.producer.limits().message_bytes);
    let mut data = vec![0xf3, 0x89, 0x9a, 0xc2];
    data.resize(most - 1, 0);
    scene.stub.put("orders", "k", data);
    let found = next(&mut *scene.read(Start::Earliest).await, Budget::new(1, 1 << 30)).await.remove(0).message;
    assert_eq!((found.size(), found.headers.len()), (most, 0));
}

/// Cases 2, 25, 26: all pages are listed, and a token goes alone.
#[tokio::test]
async fn all_pages_of_shards_are_listed() {
    let scene = Scene::new(StreamSettings::default().with_shards(3)).await;
    let [left, right] = scene.stub.split("orders", FIRST);
    let merged = scene.stub.merge("orders", [&right, "shardId-000000000001"]);
    scene.stub.list_pages_of(2);
    let all = scene.log.partitions().await.unwrap();
    assert_eq!((all.len(), scene.stub.seen("ListShards").len()), (6, 3));
    let of = |id: &str| all.iter().find(|partition| *partition.id == *id).unwrap();
    assert!(of(FIRST).closed && of(&right).closed && !of(&left).closed);
    assert_eq!(of(&merged).parents, [right.as_str().into(), "shardId-000000000001".into()]);
    assert_eq!(*of(&left).hashes.as_ref().unwrap().start(), 0);
}

/// A stream that is being deleted has no shards, and the service calls that a success.
#[tokio::test]
async fn a_list_that_is_not_whole_is_not_believed() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.log.partitions().await.unwrap();
    scene.stub.plan(|call| (call.operation == "ListShards").then_some(Fault::Without("Shards")));
    assert!(scene.log.partitions().await.unwrap_err().is_transient());
    scene.stub.plan(|_| None);
    scene.stub.delete("orders");
    assert_eq!(scene.log.partitions().await.unwrap_err().kind(), ErrorKind::NotFound);
    scene.stub.plan(|call| {
        (call.operation == "DescribeStreamSummary").then_some(Fault::Refuse(400, "AccessDeniedException"))
    });
    assert!(scene.log.partitions().await.unwrap_err().is_transient(), "it has no shards");
}

/// Cases 7 to 9: a stream that was made again under its name is another one.
#[tokio::test]
async fn a_stream_that_was_made_again_is_another_log() {
    let scene = Scene::new(StreamSettings::default()).await;
    scene.log.partitions().await.unwrap();
    scene.stub.advance(MINUTE);
    scene.stub.create("orders", StreamSettings::default());
    let error = scene.log.partitions().await.unwrap_err();
    assert!(error.to_string().ends_with("it was deleted, and another one of its name was made"), "{error}");
    let client = connect(&scene.stub).await;
    let again = KinesisLog::open(&client, "orders", "billing", MINUTE).await.unwrap();
    assert!(again.identity().is_some() && again.identity() != scene.log.identity());
}
