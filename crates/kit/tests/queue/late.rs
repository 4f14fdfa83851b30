//! Where it comes late: what is no longer leased is nobody's to keep, nor to release.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    time::Duration,
};

use strait_core::{
    Budget, ClaimState, Consumer as _, Error, ErrorKind, Guarantees, Measure, Message, Observer, Origin, Received,
    Result,
};
use strait_kit::{LeaseTerms, Leased, Pause, Queue, QueueConsumer, QueueSettings};
use tokio::{
    sync::Notify,
    time::{Instant, advance, sleep, timeout},
};

const LEASE: Duration = Duration::from_secs(10);

/// Answers polls when it is told to, and remembers what is given back.
#[derive(Clone, Debug, Default)]
struct Slow {
    /// How long a message may be held. No lease is extended if not at all.
    longest: Duration,
    /// Whether the next extension or settlement is answered only when it is told to be: an extension that it is too late.
    late: Arc<AtomicBool>,
    tell: Arc<Notify>,
    answer: Arc<Notify>,
    /// Whether a poll that waits takes what is released.
    takes_released: Arc<AtomicBool>,
    /// How often it was received.
    received: Arc<AtomicU32>,
    deleted: Arc<Mutex<Vec<u32>>>,
    released: Arc<Mutex<Vec<u32>>>,
}

impl Queue for Slow {
    type Handle = u32;

    fn guarantees(&self) -> Guarantees {
        Guarantees::new("slow", "orders")
    }

    fn lease_terms(&self) -> LeaseTerms {
        LeaseTerms { lease: LEASE, longest: self.longest }
    }

    fn counts_deliveries(&self) -> bool {
        false
    }

    async fn receive(&self, _: Budget) -> Result<Vec<Leased<u32>>> {
        self.answer.notified().await;
        let handle = 7 + self.received.fetch_add(1, Relaxed);
        Ok(vec![Leased { message: Message::new("1"), handle, origin: Origin::new(1_u64) }])
    }

    async fn delete(&self, handles: &[u32]) -> Vec<Result<()>> {
        self.deleted.lock().unwrap().extend(handles);
        if self.late.swap(false, Relaxed) {
            self.tell.notified().await;
        }
        vec![Ok(()); handles.len()]
    }

    async fn extend(&self, handles: &[u32]) -> Vec<Result<()>> {
        if self.late.swap(false, Relaxed) {
            self.tell.notified().await;
            return handles.iter().map(|_| Err(Error::new(ErrorKind::Lost, "too late"))).collect();
        }
        vec![Ok(()); handles.len()]
    }

    async fn release(&self, handles: &[u32]) -> Vec<Result<()>> {
        self.released.lock().unwrap().extend(handles);
        if self.takes_released.swap(false, Relaxed) {
            self.answer.notify_one();
        }
        vec![Ok(()); handles.len()]
    }

    async fn postpone(&self, pauses: &[Pause<u32>]) -> Vec<Result<()>> {
        vec![Ok(()); pauses.len()]
    }

    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

fn open() -> (Slow, QueueConsumer<Slow>) {
    open_for(Duration::ZERO)
}

fn open_for(longest: Duration) -> (Slow, QueueConsumer<Slow>) {
    let slow = Slow { longest, ..Slow::default() };
    let mut settings = QueueSettings::default();
    (settings.last_polls, settings.sweep) = (LEASE, 100 * LEASE); // nobody looks for what has ended
    (slow.clone(), QueueConsumer::new(slow, settings))
}

async fn receive(consumer: &QueueConsumer<Slow>) -> Result<Vec<Received>> {
    loop {
        let batch = consumer.receive(Budget::new(1, 1 << 20)).await?;
        if !batch.is_empty() {
            return Ok(batch);
        }
    }
}

/// What is given back when a close finds a poll under way for so long, that is answered then.
async fn given_back_of_a_poll(under_way: Duration) -> Vec<u32> {
    let (slow, consumer) = open();
    assert!(timeout(under_way, receive(&consumer)).await.is_err());
    slow.answer.notify_one();
    // The next poll is never answered: the close gives up on it.
    consumer.close().await.unwrap();
    slow.released.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn what_a_last_poll_brings_is_given_back_within_its_lease_only() {
    assert_eq!(given_back_of_a_poll(LEASE / 2).await, [7]);
    assert_eq!(given_back_of_a_poll(2 * LEASE).await, [0; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_a_poll_took_of_what_was_released_is_released_again() {
    let slow = Slow::default();
    let mut settings = QueueSettings::default();
    settings.last_polls = LEASE / 5;
    let consumer = QueueConsumer::new(slow.clone(), settings);
    slow.answer.notify_one();
    let received = receive(&consumer).await.unwrap();
    assert!(timeout(LEASE / 100, receive(&consumer)).await.is_err(), "another poll is under way");
    slow.takes_released.store(true, Relaxed);
    consumer.close().await.unwrap();
    drop(received);
    assert_eq!(*slow.released.lock().unwrap(), [7, 8]);
}

/// What is given back when a process closes that did nothing for so long.
async fn given_back_of_what_is_held(frozen: Duration) -> Vec<u32> {
    let (slow, consumer) = open();
    slow.answer.notify_one();
    let received = receive(&consumer).await.unwrap();
    advance(frozen).await;
    consumer.close().await.unwrap();
    drop(received);
    slow.released.lock().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_given_back_within_its_lease_only() {
    assert_eq!(given_back_of_what_is_held(LEASE / 10).await, [7]);
    assert_eq!(given_back_of_what_is_held(2 * LEASE).await, [0; 0]);
}

fn state(received: &[Received]) -> ClaimState {
    received[0].claim.state(|| Instant::now().into_std())
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_is_not_kept_by_a_poll_that_was_sent_before() {
    let (slow, consumer) = open();
    slow.answer.notify_one();
    let lost = receive(&consumer).await.unwrap();
    advance(LEASE / 2).await;
    assert!(timeout(LEASE / 2, receive(&consumer)).await.is_err()); // the poll is under way when the lease ends
    slow.answer.notify_one();
    let again = timeout(LEASE, receive(&consumer)).await.expect("it is delivered again").unwrap();
    assert_eq!((state(&lost), state(&again)), (ClaimState::Lost, ClaimState::Held));
}

#[derive(Debug)]
struct Panics;

impl Observer for Panics {
    fn observe(&self, _: Measure<'_>) {
        panic!("on purpose, in an observer");
    }
}

#[tokio::test(start_paused = true)]
async fn an_observer_that_panics_costs_no_lease_and_no_release() {
    let slow = Slow { longest: 100 * LEASE, ..Slow::default() };
    let mut settings = QueueSettings::default();
    settings.observer = Arc::new(Panics);
    let consumer = QueueConsumer::new(slow.clone(), settings);
    slow.answer.notify_one();
    let received = receive(&consumer).await.unwrap();
    sleep(3 * LEASE).await;
    assert_eq!(state(&received), ClaimState::Held);
    drop(received);
    sleep(LEASE / 10).await;
    assert_eq!(*slow.released.lock().unwrap(), [7]);
}

#[tokio::test(start_paused = true)]
async fn an_extension_that_is_never_answered_costs_no_lease() {
    let (slow, consumer) = open_for(100 * LEASE);
    slow.answer.notify_one();
    let received = receive(&consumer).await.unwrap();
    slow.late.store(true, Relaxed);
    sleep(3 * LEASE).await;
    assert!(!slow.late.load(Relaxed), "it was asked for");
    assert_eq!(state(&received), ClaimState::Held);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_of_a_handle_is_not_said_of_the_one_that_replaced_it() {
    let (slow, consumer) = open_for(100 * LEASE);
    slow.answer.notify_one();
    let received = receive(&consumer).await.unwrap();
    let tokens = [received[0].claim.token()];
    let comes_again = async || {
        slow.answer.notify_one();
        assert!(timeout(LEASE / 20, receive(&consumer)).await.is_err(), "it is in hand");
    };
    slow.late.store(true, Relaxed);
    sleep(LEASE / 2).await; // the lease is being extended
    comes_again().await;
    slow.tell.notify_one();
    sleep(LEASE / 20).await;
    assert_eq!(state(&received), ClaimState::Held, "the service knew the first handle no more");

    slow.late.store(true, Relaxed);
    let (outcomes, ()) = tokio::join!(consumer.settle(&tokens), async {
        comes_again().await;
        slow.tell.notify_one();
    });
    assert!(outcomes[0].as_ref().is_err_and(|error| error.is_transient() && error.is_ambiguous()));
    consumer.settle(&tokens).await.pop().unwrap().unwrap();
    assert_eq!(*slow.deleted.lock().unwrap(), [8, 9]);
}
