//! What networks do to requests, by a proxy before the emulators.

use std::{
    net::{SocketAddr, TcpListener},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use integration_tests::{again::again, emulators::fresh};
use strait_core::ErrorKind;
use strait_kit::{Expect, Put, RowStore};
use strait_leases::{open, suite::counter};
use strait_testkit::proxy::{Proxy, Trouble};
use tokio::task::JoinSet;

use crate::{
    patient::Patient,
    stores::{LONG, Store},
};

/// A store behind a proxy that passes everything until it is told otherwise by what is returned.
async fn proxied(
    store: &Store,
    timeout: Duration,
) -> (Proxy, Arc<dyn RowStore>, Arc<Mutex<Option<(&'static str, Trouble)>>>) {
    let order = Arc::new(Mutex::new(None));
    let ordered = Arc::clone(&order);
    let proxy = Proxy::start(store.server, move |call| match &*ordered.lock().unwrap() {
        Some((method, trouble)) if call.operation == *method => Some(Trouble::clone(trouble)),
        _ => None,
    })
    .await;
    let rows = store.open_at(proxy.address(), timeout).await;
    (proxy, rows, order)
}

/// How many calls met trouble.
fn troubled(proxy: &Proxy) -> usize {
    proxy.seen().iter().filter(|(_, trouble)| trouble.is_some()).count()
}

#[tokio::test]
async fn a_put_whose_reply_is_lost_is_ambiguous_and_not_repeated() {
    for store in Store::all() {
        let (proxy, rows, order) = proxied(&store, LONG).await;
        let key = fresh("lost");
        let [put, .., delete] = store.operations();
        *order.lock().unwrap() = Some((put, Trouble::LoseAnswer));
        let error = rows.put(&key, Expect::Absent, "x".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, true), "{error:?}");
        assert_eq!(proxy.troubled(put), 1, "the client repeated a put");
        *order.lock().unwrap() = None;
        let calm = Patient(Arc::clone(&rows));
        assert_eq!(&calm.get(&key).await.unwrap().unwrap().value[..], b"x", "it was stored all the same");
        let second = again(|| rows.put(&key, Expect::Absent, "x".into())).await;
        assert_eq!(second.unwrap(), Put::Refused, "as R3 says");
        *order.lock().unwrap() = Some((delete, Trouble::LoseAnswer));
        // S3 deletes by a batch, which is posted.
        let deleted = rows.delete(&key).await;
        if let Err(error) = &deleted {
            assert!(error.is_ambiguous(), "{error:?}");
        }
        *order.lock().unwrap() = None;
        assert_eq!(calm.get(&key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn statuses_are_kinds_and_say_whether_something_may_be_stored() {
    let expected = [
        (400, ErrorKind::Other, false),
        (403, ErrorKind::Denied, false),
        (429, ErrorKind::Throttled, false),
        (500, ErrorKind::Unavailable, true),
        (503, ErrorKind::Unavailable, true),
    ];
    // Of objects alone: what is not there, and a request that was not complete in time.
    let of_objects = [(404, ErrorKind::NotFound, false), (408, ErrorKind::Other, true)];
    for store in Store::all() {
        let (proxy, rows, order) = proxied(&store, LONG).await;
        let key = fresh("status");
        let [put, get, ..] = store.operations();
        let mut requests = 0;
        let of_objects = if store.is_table() { &[][..] } else { &of_objects[..] };
        for &(status, kind, ambiguous) in expected.iter().chain(of_objects) {
            *order.lock().unwrap() = Some((put, Trouble::Refuse(status, "Planned")));
            let error = rows.put(&key, Expect::Absent, "x".into()).await.unwrap_err();
            assert_eq!((error.kind(), error.is_ambiguous()), (kind, ambiguous), "{status}: {error:?}");
            let told = if store.is_table() { "Planned".to_owned() } else { format!("HTTP {status}") };
            assert!(error.to_string().contains(&told), "{error}");
            *order.lock().unwrap() = Some((get, Trouble::Refuse(status, "Planned")));
            if status != 404 {
                let error = rows.get(&key).await.unwrap_err();
                assert!(error.kind() == kind && !error.is_ambiguous(), "{status}: {error:?}");
                requests += 1;
            }
            requests += 1;
        }
        assert_eq!(troubled(&proxy), requests, "the client repeated a request");
        *order.lock().unwrap() = None;
        assert_eq!(Patient(rows).get(&key).await.unwrap(), None);
    }
}

#[tokio::test]
async fn what_is_never_answered_ends_at_its_deadline() {
    let timeout = Duration::from_millis(700);
    for store in Store::all() {
        let (proxy, rows, order) = proxied(&store, timeout).await;
        let key = fresh("stalled");
        let [put, get, list, _] = store.operations();
        for operation in [put, get] {
            *order.lock().unwrap() = Some((operation, Trouble::Stall));
            let start = Instant::now();
            let error = if operation == put {
                rows.put(&key, Expect::Absent, "x".into()).await.map(drop).unwrap_err()
            } else {
                rows.get(&key).await.map(drop).unwrap_err()
            };
            assert!(start.elapsed() + Duration::from_millis(50) >= timeout, "{:?}", start.elapsed());
            assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, operation == put), "{error:?}");
        }
        *order.lock().unwrap() = Some((list, Trouble::Stall));
        let error = rows.versions(&key).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error:?}");
        assert_eq!(troubled(&proxy), 3);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_stores_nothing() {
    // A port that was free a moment ago, and that nobody else is given while it is bound.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    for store in Store::all() {
        let error = open(&store.url, &store.options(address)).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error:?}");
        let (proxy, rows, _) = proxied(&store, LONG).await;
        drop(proxy);
        let error = rows.put("row", Expect::Absent, "x".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, false), "{error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_writers_through_a_bad_network_lose_no_update() {
    const WRITERS: usize = 8;
    const ADDED: u64 = 12;
    for store in Store::all() {
        // Every seventh reply is lost, every eleventh request is answered 503 and not seen by the server.
        let count = AtomicU64::new(0);
        let [put, ..] = store.operations();
        let proxy = Proxy::start(store.server, move |call| match count.fetch_add(1, Ordering::Relaxed) {
            0 => None, // the probe of the opening
            number if call.operation == put && number % 7 == 0 => Some(Trouble::LoseAnswer),
            number if number % 11 == 0 => Some(Trouble::Refuse(503, "Planned")),
            _ => None,
        })
        .await;
        let rows = store.open_at(proxy.address(), LONG).await;
        let key = fresh("network");
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (rows, key) = (Arc::clone(&rows), key.clone());
            writers.spawn(async move {
                for count in 0..ADDED {
                    counter::add(&rows, &key, WRITERS, writer, count).await;
                }
            });
        }
        writers.join_all().await;
        let row = store.open().await.get(&key).await.unwrap();
        assert_eq!(counter::read(row.as_ref(), WRITERS), [ADDED; WRITERS]);
        let seen = proxy.seen();
        let lost = seen.iter().filter(|(_, trouble)| *trouble == Some(Trouble::LoseAnswer)).count();
        let refused = troubled(&proxy) - lost;
        assert!(lost > 5 && refused > 5, "{lost} answers lost, {refused} calls refused");
    }
}
