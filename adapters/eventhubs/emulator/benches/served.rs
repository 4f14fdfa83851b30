//! How many events the emulator serves, in a process of its own: `cargo bench -p strait-eventhubs-emulator`.
//!
//! `cargo bench -p strait-eventhubs-emulator -- EVENTS BYTES BATCH` sends EVENTS events of BYTES bytes in batches of BATCH
//! events, with 8 batches in flight per partition, and then receives them. Wall times depend on what else the machine does; the
//! processor time of the emulator, the kernel's work for it included, does not.

#![allow(clippy::unwrap_used, reason = "a benchmark may panic")]
#![allow(clippy::print_stdout, reason = "its result")]

use std::{
    collections::VecDeque,
    env, fs,
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use fe2o3_amqp::{
    Connection, Receiver, Sendable, Sender, Session,
    connection::ConnectionHandle,
    link::{SendError, receiver::CreditMode},
    sasl_profile::SaslProfile,
    session::SessionHandle,
    types::{
        definitions::ReceiverSettleMode,
        messaging::{Batch, Data, Message, Outcome},
        primitives::Binary,
    },
};
use tokio::{net::TcpStream, task::JoinSet};

const PARTITIONS: u32 = 4;
const IN_FLIGHT: usize = 8;
const CREDIT: u32 = 1000;
/// The message format of a batch.
const BATCH: u32 = 0x8001_3700;

#[derive(Clone, Copy)]
struct Load {
    events: usize,
    bytes: usize,
    batch: usize,
}

#[tokio::main]
async fn main() {
    let mut numbers = env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let mut number = |default| numbers.next().unwrap_or(default);
    let load = Load { events: number(400_000), bytes: number(1000), batch: number(100) };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("emulator.toml");
    fs::write(&file, "access = { open = true }\n[[hubs]]\nname = \"orders\"\nretention = { bytes = 1073741824 }\n")
        .unwrap();
    let mut emulator = Process::start(&["--config", file.to_str().unwrap()]);
    println!("{} events of {} bytes in batches of {}, {PARTITIONS} partitions", load.events, load.bytes, load.batch);
    println!("| phase | events/s | emulator's CPU, us an event | client's |\n|---|---|---|---|");
    let sent = emulator.measure(load, send).await;
    let received = emulator.measure(load, receive).await;
    report("send", load, sent);
    report("receive", load, received);
    report("both", load, (sent.0 + received.0, sent.1 + received.1, sent.2 + received.2));
}

fn report(phase: &str, load: Load, (wall, emulator, client): (Duration, Duration, Duration)) {
    let events = f64::from(u32::try_from(load.events).unwrap());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / events;
    println!("| {phase} | {:.0} | {:.2} | {:.2} |", events / wall.as_secs_f64(), each(emulator), each(client));
}

/// The emulator's process, which ends with this.
struct Process {
    child: Child,
    /// Kept open: it prints more than is read here.
    _output: BufReader<ChildStdout>,
    address: String,
}

impl Process {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait-eventhubs-emulator"));
        let mut child = command.args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, _output: output, address }
    }

    /// The time on the clock, and that of the processor for the emulator and for this process.
    async fn measure<F: Future<Output = ()> + Send + 'static>(
        &mut self,
        load: Load,
        run: impl Fn(String, u32, Load) -> F,
    ) -> (Duration, Duration, Duration) {
        let own = std::process::id();
        let (start, emulator, client) = (Instant::now(), processor(self.child.id()), processor(own));
        let mut tasks = JoinSet::new();
        for partition in 0..PARTITIONS {
            tasks.spawn(run(self.address.clone(), partition, load));
        }
        while let Some(ended) = tasks.join_next().await {
            ended.unwrap();
        }
        let since = |process, before| processor(process).saturating_sub(before);
        (start.elapsed(), since(self.child.id(), emulator), since(own, client))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The time of the processor that a process has taken: in ticks of 10 ms, by Linux.
fn processor(process: u32) -> Duration {
    let line = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let fields: Vec<_> = line.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(10 * ticks)
}

async fn connect(address: &str) -> (ConnectionHandle<()>, SessionHandle<()>) {
    let stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let connection = Connection::builder()
        .container_id("bench")
        .hostname("localhost")
        .scheme("amqp")
        .max_frame_size(65_536_u32)
        .sasl_profile(SaslProfile::Anonymous)
        .open_with_stream(stream);
    let mut connection = connection.await.unwrap();
    let session = Session::begin(&mut connection).await.unwrap();
    (connection, session)
}

async fn send(address: String, partition: u32, load: Load) {
    let (_connection, mut session) = connect(&address).await;
    let target = format!("orders/Partitions/{partition}");
    let mut sender = Sender::attach(&mut session, "sender", target).await.unwrap();
    let length = u32::try_from(load.bytes).unwrap().to_be_bytes();
    let event = [&[0, 0x53, 0x75, 0xb0][..], &length, &vec![7; load.bytes]].concat();
    let mut in_flight = VecDeque::new();
    for _ in 0..load.events / PARTITIONS as usize / load.batch {
        if in_flight.len() == IN_FLIGHT {
            settle(in_flight.pop_front().unwrap()).await;
        }
        let body = Batch::new(vec![Data(Binary::from(event.clone())); load.batch]);
        let request = Sendable::builder().message(Message::builder().body(body).build()).message_format(BATCH).build();
        in_flight.push_back(sender.send_batchable(request).await.unwrap());
    }
    for request in in_flight {
        settle(request).await;
    }
}

async fn settle(request: impl Future<Output = Result<Outcome, SendError>>) {
    assert!(request.await.unwrap().is_accepted());
}

async fn receive(address: String, partition: u32, load: Load) {
    let (_connection, mut session) = connect(&address).await;
    let mut receiver = Receiver::builder()
        .name("receiver")
        .source(format!("orders/ConsumerGroups/$Default/Partitions/{partition}"))
        .receiver_settle_mode(ReceiverSettleMode::First)
        .credit_mode(CreditMode::Auto(CREDIT))
        .attach(&mut session)
        .await
        .unwrap();
    for _ in 0..load.events / PARTITIONS as usize {
        let event = receiver.recv::<Batch<Data>>().await.unwrap();
        receiver.accept(&event).await.unwrap();
    }
}
