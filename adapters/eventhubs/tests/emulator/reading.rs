//! Reading, and what ends it.

use std::time::{Duration, SystemTime};

use strait_core::{Budget, ErrorKind, Lag, Position};
use strait_eventhubs_emulator::{Config, Disruption, HubSettings};
use strait_kit::{Log as _, Page, Reader, Start};

use crate::{Scene, after, open, page, read, refused};

fn numbers(records: &[strait_kit::Record]) -> Vec<Position> {
    records.iter().map(|record| record.position.clone()).collect()
}

/// azure-sdk-for-js#6235: sequence number 0 is taken for no checkpoint, and all is read again.
#[tokio::test]
async fn reading_goes_on_behind_a_position() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 10).await;
    let log = scene.log().await;
    for (epoch, (start, first)) in
        [(Start::Earliest, 0), (after(0), 1), (after(8), 9), (Start::At(SystemTime::UNIX_EPOCH), 0)]
            .into_iter()
            .enumerate()
    {
        let mut reader = open(&log, &partition, start, epoch as u64).await;
        let count = 10 - first;
        let expected: Vec<_> = (first..10).map(|number| Position::Number(number as u64)).collect();
        assert_eq!(numbers(&read(&mut *reader, count).await), expected);
        reader.close().await.unwrap();
    }
}

/// azure-sdk-for-net#12286, azure-sdk-for-go#19072: a partition at two processors, since nothing fences.
#[tokio::test]
async fn a_later_owner_cuts_off_the_one_before() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 3).await;
    let log = scene.log().await;
    let mut first = open(&log, &partition, Start::Earliest, 7).await;
    read(&mut *first, 3).await;
    let mut second = open(&log, &partition, Start::Earliest, 8).await;
    assert_eq!(page(&mut *first).await.unwrap_err().kind(), ErrorKind::Lost);
    assert_eq!(refused(&log, &partition, 7).await, ErrorKind::Lost, "an earlier one is refused");
    read(&mut *second, 3).await;
    second.close().await.unwrap();
}

/// azure-sdk-for-java#19753, #45248: a partition silently stops being read.
#[tokio::test]
async fn the_end_of_a_link_is_told_and_it_is_opened_again() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 3).await;
    let log = scene.log().await;
    let detach = Disruption::DetachReceivers { hub: None };
    let all = [detach.clone(), Disruption::CloseConnections, Disruption::DropConnections, detach];
    for (epoch, disruption) in (1..).zip(all) {
        let mut reader = open(&log, &partition, after(0), epoch).await;
        assert_eq!(read(&mut *reader, 2).await.len(), 2);
        scene.emulator.faults().disrupt(disruption);
        assert_eq!(page(&mut *reader).await.unwrap_err().kind(), ErrorKind::Unavailable);
        let _ = reader.close().await; // it is over
    }
}

/// azure-event-hubs-spark#488, #315, azure-sdk-for-python#30931: a position that is older than retention, or beyond the end.
#[tokio::test]
async fn what_is_no_longer_stored_is_told() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 3).await;
    let log = scene.log().await;
    let mut reader = open(&log, &partition, after(487), 1).await;
    assert!(matches!(page(&mut *reader).await.unwrap(), Page::Trimmed { .. }));
    reader.close().await.unwrap();
}

/// Azure/azure-event-hubs#190: the hub is deleted, and the receive loop goes on silently.
#[tokio::test]
async fn a_hub_that_is_deleted_or_made_again_is_told() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 3).await;
    let log = scene.log().await;
    let mut reader = open(&log, &partition, Start::Earliest, 1).await;
    read(&mut *reader, 3).await;
    scene.emulator.namespace().delete("orders").unwrap();
    assert_eq!(page(&mut *reader).await.unwrap_err().kind(), ErrorKind::NotFound);
    let _ = reader.close().await; // it is over
    assert_eq!(log.partitions().await.unwrap_err().kind(), ErrorKind::NotFound);
    // It is told from the one before by the millisecond.
    tokio::time::sleep(Duration::from_millis(2)).await;
    scene.emulator.namespace().create(HubSettings::new("orders", 4)).unwrap();
    let error = log.partitions().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("another one of its name"), "{error}");
}

#[tokio::test]
async fn partitions_that_are_added_are_listed() {
    let scene = Scene::new().await;
    let log = scene.log().await;
    assert_eq!(log.partitions().await.unwrap().len(), 4);
    scene.emulator.namespace().grow("orders", 7).unwrap();
    let ids: Vec<_> = log.partitions().await.unwrap().into_iter().map(|partition| partition.id.to_string()).collect();
    assert_eq!(ids, ["0", "1", "2", "3", "4", "5", "6"]);
}

/// keda#830, #5249: a partition where nothing came is not behind by everything.
#[tokio::test]
async fn lag_is_told_where_it_is_known() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", 3).await;
    let log = scene.log().await;
    let mut reader = open(&log, &partition, Start::Earliest, 1).await;
    read(&mut *reader, 3).await;
    let empty = (0..4).map(|index| index.to_string()).find(|index| *index != partition).unwrap();
    let mut nothing = open(&log, &empty, Start::Earliest, 1).await;
    for reader in [&mut reader, &mut nothing] {
        match reader.next(Budget::new(10, 1 << 20)).await.unwrap() {
            Page::Records { records, lag, caught_up, .. } => {
                assert_eq!((records.len(), lag, caught_up), (0, Some(Lag::Messages(0)), true));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// So many events that most of them are not read when a reader is closed.
const BUSY: usize = 2000;

/// Reads until as many events are in flight as the link has credit for.
async fn in_full_flow(reader: &mut dyn Reader) {
    for _ in 0..2 {
        let page = reader.next(Budget::new(1, 1 << 20)).await.unwrap();
        assert!(matches!(page, Page::Records { records, .. } if records.len() == 1));
    }
}

/// azure-sdk-for-rust#2503, azure-sdk-for-java#38117: closing fails, and what is left counts among the five readers.
#[tokio::test]
async fn opening_and_closing_a_busy_partition_leaves_nothing_behind() {
    let scene = Scene::with(Config::default()).await;
    let partition = scene.fill("a", BUSY).await;
    let log = scene.log().await;
    let mut links = scene.emulator.open();
    let before = links.borrow().links;
    for epoch in 0..300 {
        let mut reader = open(&log, &partition, Start::Earliest, epoch).await;
        in_full_flow(&mut *reader).await;
        reader.close().await.unwrap();
    }
    // The claims of the connection that reads are asked for by two.
    links.wait_for(|open| open.links <= before + 2).await.unwrap();
    assert!(links.borrow().connections <= 3, "{:?}", *links.borrow());
}

/// What is dropped without being closed takes no other reader along for good.
#[tokio::test]
async fn a_reader_may_be_dropped() {
    let scene = Scene::new().await;
    let partition = scene.fill("a", BUSY).await;
    let log = scene.log().await;
    for epoch in 0..20 {
        let mut reader = open(&log, &partition, Start::Earliest, epoch).await;
        in_full_flow(&mut *reader).await;
    }
}
