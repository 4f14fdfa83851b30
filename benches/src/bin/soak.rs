//! `soak [MINUTES]`: loads a log and a queue in memory for a while, with a million keys, failures that are retried and
//! dead letters that are consumed, and looks whether anything grows. Default: 10 minutes.
//!
//! Fails if what is resident at most in the first four tenths of the time is exceeded by more than 5 % later, or if tasks or file
//! descriptors are left once all is closed.

#![allow(clippy::print_stdout, reason = "a program whose result is a table")]

use std::{
    collections::VecDeque,
    env, fs,
    io::Error,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Relaxed, SeqCst},
        },
    },
    time::Duration,
};

use strait_core::{Consumer, Key, Message, Producer, Result};
use strait_kit::{LogSettings, QueueSettings, Start};
use strait_memory::{LogOptions, MemoryLog, MemoryQueue, QueueOptions};
use strait_runtime::{
    Backoff, Context, DeadLetter, Delivery, Failure, Oversize, Pending, Receiver, ReceiverSettings, Retry, Sender,
    SenderSettings, Worker,
};
use tokio::{
    runtime::{Handle, Runtime},
    sync::Semaphore,
    task::JoinHandle,
    time::{Instant, sleep},
};

const KEYS: u64 = 1_000_000;
const SAMPLE: Duration = Duration::from_secs(2);
const PAGE: u64 = 4096;
/// How many tenths of the time are there to warm up.
const WARM: u32 = 4;
const BYTES: usize = 16 << 20;
const ATTEMPTS: u32 = 3;
/// How many messages may be stored and not dealt with: what a store holds at most is no accident then.
const UNREAD: usize = 20_000;

/// What may grow.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    memory: u64,
    files: usize,
    tasks: usize,
}

impl Sample {
    fn take() -> std::result::Result<Self, Error> {
        let pages = fs::read_to_string("/proc/self/statm")?;
        let pages: u64 =
            pages.split(' ').nth(1).and_then(|pages| pages.parse().ok()).ok_or_else(|| Error::other(pages.clone()))?;
        // One of them is that of the directory itself.
        let files = fs::read_dir("/proc/self/fd")?.count() - 1;
        Ok(Self { memory: pages * PAGE, files, tasks: Handle::current().metrics().num_alive_tasks() })
    }

    fn max(self, other: Self) -> Self {
        Self {
            memory: self.memory.max(other.memory),
            files: self.files.max(other.files),
            tasks: self.tasks.max(other.tasks),
        }
    }

    fn print(self, name: &str) {
        #[allow(clippy::cast_precision_loss, reason = "for people")]
        let memory = self.memory as f64 / f64::from(1 << 20);
        println!("{name:<28} {memory:>10.1} {:>8} {:>8}", self.files, self.tasks);
    }
}

#[derive(Debug, Default)]
struct Counts {
    stop: AtomicBool,
    sent: AtomicU64,
    processed: AtomicU64,
    failed: AtomicU64,
    buried: AtomicU64,
}

fn main() -> ExitCode {
    let minutes = env::args().nth(1).map_or(Ok(10.0), |text| text.parse());
    let Ok(minutes) = minutes else {
        println!("usage: soak [MINUTES]");
        return ExitCode::FAILURE;
    };
    let outcome = Runtime::new().map_err(|error| error.to_string()).and_then(|runtime| {
        runtime
            .block_on(async move { tokio::spawn(soak(Duration::from_secs_f64(60.0 * minutes))).await })
            .map_err(|error| error.to_string())?
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            println!("FAILED: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(time: Duration) -> std::result::Result<(), String> {
    let sample = || Sample::take().map_err(|error| error.to_string());
    let told = |error: strait_core::Error| error.to_string();
    println!("{:<28} {:>10} {:>8} {:>8}", "", "RSS MiB", "files", "tasks");
    let before = sample()?;
    before.print("before");

    let counts = Arc::new(Counts::default());
    let loads = [
        Load::start(log().map_err(told)?, &counts).await.map_err(told)?,
        Load::start(queue("work"), &counts).await.map_err(told)?,
    ];
    let (mut warm, mut max, mut end) = (Sample::default(), Sample::default(), before);
    for tenth in 1..=10 {
        let until = Instant::now() + time / 10;
        while Instant::now() < until {
            sleep(SAMPLE.min(time / 20)).await;
            end = sample()?;
            let most = if tenth <= WARM { &mut warm } else { &mut max };
            *most = most.max(end);
        }
        end.print(&format!("after {tenth} tenths"));
    }
    warm.print("most, while warming up");
    max.print("most, then");

    counts.stop.store(true, SeqCst);
    for load in loads {
        load.close().await.map_err(told)?;
    }
    let mut after = sample()?;
    for _ in 0..100 {
        if (after.tasks, after.files) == (before.tasks, before.files) {
            break;
        }
        sleep(Duration::from_millis(100)).await;
        after = sample()?;
    }
    after.print("closed");
    println!(
        "{} sent, {} processed, {} attempts failed, {} dead letters",
        counts.sent.load(Relaxed),
        counts.processed.load(Relaxed),
        counts.failed.load(Relaxed),
        counts.buried.load(Relaxed)
    );
    if max.memory * 100 > warm.memory * 105 {
        return Err("memory grew by more than 5 % after the warm-up".into());
    }
    if (after.tasks, after.files) != (before.tasks, before.files) {
        return Err("tasks or files are left".into());
    }
    Ok(())
}

type Ends = (Arc<dyn Producer>, Arc<dyn Consumer>);

fn log() -> Result<Ends> {
    let mut options = LogOptions::named("work");
    options.bytes = BYTES;
    let log = MemoryLog::new(options);
    let consumer = log.consumer("soak", &Start::Earliest, LogSettings::default())?;
    Ok((log.producer(), consumer))
}

fn queue(name: &str) -> Ends {
    let mut options = QueueOptions::named(name);
    options.bytes = BYTES;
    let queue = MemoryQueue::new(options);
    (queue.producer(), queue.consumer(QueueSettings::default()))
}

/// A sender and a worker on one channel, and another worker on its dead letters.
struct Load {
    sending: JoinHandle<Result<()>>,
    receivers: [Receiver; 2],
    workers: [JoinHandle<Result<()>>; 2],
    buried: Sender,
}

impl Load {
    async fn start((producer, consumer): Ends, counts: &Arc<Counts>) -> Result<Self> {
        let room = Arc::new(Semaphore::new(UNREAD));
        let sender = Sender::new(producer, SenderSettings::default())?;
        let sending = tokio::spawn(send(sender, Arc::clone(&room), Arc::clone(counts)));
        // As much is stored at the beginning as ever will be.
        while room.available_permits() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
        let (grave, graveyard) = queue("dead");
        let buried = Sender::new(grave, SenderSettings::default())?;
        let mut settings = ReceiverSettings::new(DeadLetter::Channel(buried.clone())).in_order();
        settings.retry = Retry::new(ATTEMPTS, Backoff::new(Duration::from_millis(1), Duration::from_millis(4)));
        settings.oversize = Oversize::Truncate;
        settings.prefetch = Some(settings.buffer); // as much is to be in hand as ever will be
        let receiver = Receiver::new(consumer, settings)?;
        let mourner = Receiver::new(graveyard, ReceiverSettings::new(DeadLetter::Discard))?;

        let (counted, freed) = (Arc::clone(counts), Arc::clone(&room));
        let work = Worker::new(receiver.clone()).run(move |delivery: Delivery, context: Context| {
            let outcome = handle(&delivery, &context, &counted);
            if outcome.is_ok() || context.attempt() == ATTEMPTS {
                freed.add_permits(1);
            }
            async move {
                drop(delivery);
                outcome
            }
        });
        let counted = Arc::clone(counts);
        let mourn = Worker::new(mourner.clone()).run(move |_: Delivery, _| {
            counted.buried.fetch_add(1, Relaxed);
            async { Ok(()) }
        });
        Ok(Self { sending, receivers: [receiver, mourner], workers: [tokio::spawn(work), tokio::spawn(mourn)], buried })
    }

    async fn close(self) -> Result<()> {
        let told = |error: tokio::task::JoinError| {
            strait_core::Error::new(strait_core::ErrorKind::Other, "a task panicked").with_source(error)
        };
        self.sending.await.map_err(told)??;
        let [receiver, mourner] = self.receivers;
        let [work, mourn] = self.workers;
        receiver.close().await?;
        work.await.map_err(told)??;
        self.buried.close().await?;
        mourner.close().await?;
        mourn.await.map_err(told)?
    }
}

/// Fails for good once in a thousand messages, and for now once in a hundred.
fn handle(delivery: &Delivery, context: &Context, counts: &Counts) -> Result<(), Failure> {
    let number = delivery.message().payload.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    if number % 1000 == 7 || (number % 100 == 3 && context.attempt() == 1) {
        counts.failed.fetch_add(1, Relaxed);
        return Err(Failure::retry("it is its turn"));
    }
    counts.processed.fetch_add(1, Relaxed);
    Ok(())
}

async fn send(sender: Sender, room: Arc<Semaphore>, counts: Arc<Counts>) -> Result<()> {
    let mut pending: VecDeque<Pending> = VecDeque::new();
    for number in 0_u64.. {
        if counts.stop.load(Relaxed) {
            break;
        }
        room.acquire().await.expect("is never closed").forget();
        let mut payload = vec![0; 256];
        payload[..8].copy_from_slice(&number.to_le_bytes());
        let message = Message::new(payload).with_key(Key::new(&format!("customer-{}", number % KEYS))?);
        pending.push_back(sender.enqueue(message).await?);
        if pending.len() >= 1024
            && let Some(oldest) = pending.pop_front()
        {
            oldest.await.into_result()?;
            counts.sent.fetch_add(1, Relaxed);
        }
    }
    for last in pending {
        last.await.into_result()?;
        counts.sent.fetch_add(1, Relaxed);
    }
    sender.close().await
}
