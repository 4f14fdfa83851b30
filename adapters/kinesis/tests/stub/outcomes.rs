//! What becomes of each message is told by its own record's result, and by nothing else.

use strait_core::{ErrorKind, Producer as _};
use strait_kinesis::Envelope;
use strait_testkit::kinesis::{Fault, StreamSettings};

use super::{message, orders, payloads, stored};

const THROTTLED: &str = "ProvisionedThroughputExceededException";

/// All masks of five records, with counts of failures that are right, too small and too large.
#[tokio::test]
async fn every_mask_is_told_record_by_record_whatever_the_count_says() {
    let names = ["a", "b", "c", "d", "e"];
    for envelope in [Envelope::Kpl, Envelope::Plain] {
        for mask in 0..32_usize {
            let (stub, producer) = orders(StreamSettings::default(), envelope).await;
            let failing: Vec<_> = (0..5).filter(|place| mask & (1 << place) > 0).collect();
            let masked = failing.clone();
            stub.plan(move |_| Some(Fault::Mask(masked.clone(), THROTTLED)));
            let batch: Vec<_> = names.iter().zip(0..).map(|(name, number)| message(name, number, *name)).collect();
            let outcomes = producer.send(&batch).await;
            for (place, outcome) in outcomes.iter().enumerate() {
                match outcome {
                    Ok(_) => assert!(!failing.contains(&place)),
                    Err(error) => {
                        assert!(failing.contains(&place), "{error}");
                        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Throttled, false));
                    }
                }
            }
            let sent: Vec<_> = names.iter().enumerate().filter(|(place, _)| !failing.contains(place)).collect();
            assert_eq!(payloads(&stored(&stub)), sent.iter().map(|(_, name)| **name).collect::<Vec<_>>());
        }
        for count in [0, 5] {
            let (stub, producer) = orders(StreamSettings::default(), envelope).await;
            stub.plan(move |_| Some(Fault::Count(count)));
            let batch: Vec<_> = names.iter().zip(0..).map(|(name, number)| message(name, number, *name)).collect();
            assert!(producer.send(&batch).await.iter().all(Result::is_ok), "the count lies");
        }
    }
}

#[tokio::test]
async fn of_an_answer_with_another_number_of_results_nothing_is_known() {
    for results in [0, 1, 2, 4, 500] {
        let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
        stub.plan(move |_| Some(Fault::Results(results)));
        let batch = ["a", "b", "c"].map(|name| message(name, 1, name));
        for outcome in producer.send(&batch).await {
            let error = outcome.unwrap_err();
            assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, true), "{results}: {error}");
        }
        assert_eq!(stored(&stub).len(), 3);
    }
}

#[tokio::test]
async fn a_failure_inside_the_service_may_have_stored_its_record_alone() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    for (code, kind, ambiguous) in [
        ("InternalFailure", ErrorKind::Unavailable, true),
        ("SomethingNewException", ErrorKind::Unavailable, true),
        ("KMSThrottlingException", ErrorKind::Throttled, false),
        ("InvalidArgumentException", ErrorKind::Invalid, false),
    ] {
        stub.plan(move |_| Some(Fault::Mask(vec![1], code)));
        let outcomes = producer.send(&["a", "b"].map(|name| message(name, 1, name))).await;
        let error = outcomes[1].as_ref().unwrap_err();
        assert!(outcomes[0].is_ok());
        assert_eq!((error.kind(), error.is_ambiguous()), (kind, ambiguous), "{code}: {error}");
    }
}

/// The answer breaks off, or never comes: wherever that is, nothing is called sent, and nothing is called not sent.
#[tokio::test]
async fn of_an_answer_that_breaks_off_nothing_is_known() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    for length in (0..64).step_by(7) {
        stub.plan(move |_| Some(Fault::Truncate(length)));
        let error = producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap_err();
        assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Unavailable, true), "{length}: {error}");
    }
    stub.plan(|_| Some(Fault::LoseAnswer));
    assert!(producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap_err().is_ambiguous());
    stub.plan(|_| Some(Fault::Refuse(400, THROTTLED)));
    let error = producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap_err();
    assert_eq!((error.kind(), error.is_ambiguous()), (ErrorKind::Throttled, false));
}

#[tokio::test]
async fn a_producer_that_is_closed_sends_nothing() {
    let (stub, producer) = orders(StreamSettings::default(), Envelope::Kpl).await;
    let another = producer.another();
    producer.close().await.unwrap();
    producer.close().await.unwrap();
    let error = producer.send(&[message("a", 1, "x")]).await.remove(0).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Closed, "kinesis: cannot send to \"orders\": it is closed")
    );
    assert!(stored(&stub).is_empty());
    another.send(&[message("a", 1, "x")]).await.remove(0).unwrap();
}
