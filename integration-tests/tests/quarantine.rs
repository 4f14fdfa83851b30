//! A message that kills its process, on a log that processes share: it is found, and nothing else is blamed for it.

#![allow(clippy::unwrap_used, reason = "a test that does not hold panics")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use integration_tests::shared::SharedRig;
use strait_config::{Bus, Registry};
use strait_core::{Key, Message, reserved};
use strait_kit::{LogSettings, Start};
use strait_memory::{LogOptions, MemoryLog};
use strait_runtime::{Backoff, DeadLetter, Delivery, Receiver, ReceiverSettings, Retry, Sender, SenderSettings};
use strait_testkit::{
    Channel, GROUP, Join, Needs, Rig,
    served::{LogServer, Served},
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{sleep, timeout},
};

const SECOND: Duration = Duration::from_secs(1);
/// After how many deaths it is a dead letter, once it is suspected.
const ATTEMPTS: u32 = 3;

fn message(key: &str, text: &str) -> Message {
    Message::new(text.to_owned()).with_key(Key::new(key).unwrap())
}

fn text(message: &Message) -> String {
    String::from_utf8_lossy(&message.payload).into_owned()
}

/// What happened to a group of which each process is replaced by another when it dies.
#[derive(Debug, Default)]
struct Seen {
    deaths: AtomicUsize,
    /// What was acknowledged of each key.
    done: Mutex<BTreeMap<String, Vec<String>>>,
}

/// A process of the group, and those that come after it.
async fn lives(channel: Arc<dyn Channel>, dead: Sender, seen: Arc<Seen>) {
    loop {
        let member = channel.join(Join::default()).await.unwrap();
        let settings = ReceiverSettings::new(DeadLetter::Channel(dead.clone())).in_order();
        let settings = settings.retry(Retry::new(ATTEMPTS, Backoff::new(SECOND / 5, SECOND)));
        let receiver = Receiver::new(Arc::clone(&member.consumer), settings).unwrap();
        let (death, dead) = (Arc::new(Notify::new()), Arc::new(AtomicBool::new(false)));
        loop {
            let delivery = tokio::select! {
                delivery = receiver.recv() => delivery.unwrap().unwrap(),
                () = death.notified() => break,
            };
            let (death, dead, seen) = (Arc::clone(&death), Arc::clone(&dead), Arc::clone(&seen));
            tokio::spawn(async move {
                let text = text(delivery.message());
                match &*text {
                    "poison" => {
                        dead.store(true, Relaxed);
                        death.notify_one();
                    }
                    "slow" => sleep(3 * SECOND).await,
                    _ => sleep(SECOND / 100).await,
                }
                if dead.load(Relaxed) {
                    return std::future::pending().await; // it does nothing any more, not even give back
                }
                let key = delivery.message().key.as_ref().map(ToString::to_string).unwrap_or_default();
                seen.done.lock().unwrap().entry(key).or_default().push(text);
                delivery.ack();
            });
        }
        member.kill(); // whatever it says from now on is not heard
        seen.deaths.fetch_add(1, Relaxed);
    }
}

/// It is the poison, and the reason is that so many died of it.
fn check(letter: &Delivery, deaths: u32) {
    assert_eq!(text(letter.message()), "poison");
    let reason = letter.message().headers.get_str(reserved::REASON).unwrap_or_default();
    assert_eq!(reason, format!("{deaths} processes ended while they worked on it"));
}

/// How often processes died before a poisonous message was a dead letter, and nothing else.
async fn deaths(rig: SharedRig, processes: usize) -> usize {
    let mut needs = Needs::default();
    (needs.partitions, needs.message_bytes) = (3, Some(64 << 10)); // less than a dead letter may have
    let channel: Arc<dyn Channel> = rig.channel(needs).await.unwrap().into();
    // Each partition begins with what is in hand whenever a process dies.
    let first = (0..9).map(|key| message(&format!("k{key}"), if key == 4 { "poison" } else { "slow" }));
    let sent: Vec<Message> = first.chain((0..90).map(|n| message(&format!("k{}", n % 9), &n.to_string()))).collect();
    for outcome in channel.producer().send(&sent).await {
        outcome.unwrap();
    }
    let letters = MemoryLog::new(LogOptions::named("dead"));
    let dead = Sender::new(letters.producer(), SenderSettings::default()).unwrap();
    let seen = Arc::new(Seen::default());
    let all = async {
        while channel.left(GROUP).await > 0 {
            sleep(SECOND).await;
        }
    };
    let mut slots = JoinSet::new();
    for _ in 0..processes {
        slots.spawn(lives(Arc::clone(&channel), dead.clone(), Arc::clone(&seen)));
    }
    tokio::select! {
        done = timeout(1800 * SECOND, all) => done.expect("all is settled"),
        Some(ended) = slots.join_next() => panic!("they live for ever, but for {ended:?}"),
    }
    slots.shutdown().await;

    let grave = letters.consumer("grave", &Start::Earliest, LogSettings::default()).unwrap();
    let grave = Receiver::new(grave, ReceiverSettings::new(DeadLetter::Discard)).unwrap();
    let letter = timeout(60 * SECOND, grave.recv()).await.expect("there is a letter").unwrap().unwrap();
    check(&letter, ATTEMPTS);
    letter.ack();
    let more = timeout(60 * SECOND, grave.recv()).await;
    assert!(more.is_err(), "another is blamed: {more:?}");

    // Whatever else there was is done, in order, if one counts only when each was done first.
    let done = seen.done.lock().unwrap();
    for key in 0..9 {
        let expected =
            sent.iter().filter(|message| message.key.as_ref().is_some_and(|it| it.to_string() == format!("k{key}")));
        let expected: Vec<String> = expected.map(text).filter(|text| text != "poison").collect();
        let mut first = Vec::new();
        for text in done.get(&format!("k{key}")).into_iter().flatten() {
            if !first.contains(text) {
                first.push(text.clone());
            }
        }
        assert_eq!(first, expected, "k{key}");
    }
    seen.deaths.load(Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_message_that_kills_its_process_is_a_dead_letter_after_its_attempts() {
    // Two until it is suspected, then each attempt.
    assert_eq!(deaths(SharedRig::SOUND, 1).await, 2 + ATTEMPTS as usize);
}

#[tokio::test(start_paused = true)]
async fn nothing_else_is_blamed_where_several_processes_die_of_it_and_rows_fail() {
    for _ in 0..10 {
        let deaths = deaths(SharedRig::FAULTY, 3).await;
        assert!((2 + ATTEMPTS as usize..30).contains(&deaths), "{deaths} deaths");
    }
}

/// The same with processes that are real, and abort.
#[tokio::test]
async fn a_message_that_aborts_processes_is_a_dead_letter() {
    let mut options = LogOptions::default();
    (options.partitions, options.message_bytes) = (3, 64 << 10);
    let server = LogServer::start(options).await.unwrap();
    let rows = tempfile::tempdir().unwrap();
    let text = format!(
        r#"
provider = "served"
[connections.served]
address = "{}"
[senders.orders.on.served]
topic = "orders"
[senders.dead.on.served]
topic = "dead"
[receivers.app]
ordering = "key"
retry = {{ attempts = 2 }}
dead_letter = "dead"
oversize = "truncate"
[receivers.app.on.served]
topic = "orders"
group = "app"
leases = "file:{}"
expiry = "2s"
[receivers.graves]
dead_letter = "discard"
[receivers.graves.on.served]
topic = "dead"
group = "graves"
leases = "file:{}"
expiry = "2s"
"#,
        server.address(),
        rows.path().display(),
        rows.path().display(),
    );
    let bus = Bus::builder(Registry::new().with(Served)).text("strait.toml", &text).build().unwrap();
    let sender = bus.sender("orders").await.unwrap();
    let mut expected = BTreeSet::from(["poison".to_owned()]);
    sender.send(message("k4", "poison")).await.unwrap();
    for n in 0..40 {
        sender.send(message(&format!("k{}", n % 9), &n.to_string())).await.unwrap();
        expected.insert(n.to_string());
    }
    let graves = bus.receiver("graves").await.unwrap();
    let (say, mut said) = mpsc::unbounded_channel();
    let mut command = Command::new(env!("CARGO_BIN_EXE_poisoned"));
    command.arg(&text).stdout(Stdio::piped()).kill_on_drop(true);
    let mut processes = JoinSet::new();
    processes.spawn(async move {
        for aborts in 0.. {
            let mut child = command.spawn().unwrap();
            let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
            while let Some(line) = lines.next_line().await.unwrap() {
                say.send((line, aborts)).unwrap();
            }
            assert!(!child.wait().await.unwrap().success());
        }
    });
    let letter = timeout(60 * SECOND, graves.recv()).await.expect("there is a letter").unwrap().unwrap();
    check(&letter, 2);
    letter.ack_confirmed().await.unwrap();
    let mut aborts = 0;
    while !expected.is_empty() {
        let (line, before) = timeout(60 * SECOND, said.recv()).await.expect("all is worked on").unwrap();
        expected.remove(&line);
        aborts = before;
    }
    assert!((4..8).contains(&aborts), "{aborts} aborts");
    let more = timeout(3 * SECOND, graves.recv()).await;
    assert!(more.is_err(), "another is blamed: {more:?}");
    processes.shutdown().await;
    bus.close().await.unwrap();
}
