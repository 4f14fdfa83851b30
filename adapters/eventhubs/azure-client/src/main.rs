//! `azure-client-probe EMULATOR [CASE ...]`: what Azure's client for Rust does under the faults that the adapter's tests inject.
//! EMULATOR is the program `strait-eventhubs-emulator`.

use std::{
    env,
    error::Error,
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    process::{Child, ChildStdout, Command, Stdio},
    time::{Duration, Instant},
};

use azure_messaging_eventhubs::{
    ConsumerClient, EventDataBatchOptions, OpenReceiverOptions, ProducerClient, RetryOptions, StartLocation,
    StartPosition,
};
use futures::StreamExt as _;
use tokio::{
    runtime::Builder,
    time::{sleep, timeout},
};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

const HUB: &str = "orders";
const CALL: Duration = Duration::from_secs(10);

/// Name, runtime of one thread, what is expected.
const CASES: [(&str, bool, &str); 13] = [
    ("fast-many-threads", false, "3000 sends return"),
    ("fast-one-thread", true, "3000 sends return"),
    ("release", true, "an error: nothing is stored"),
    ("modify", true, "an error: nothing is stored"),
    ("lose_answer", true, "an error in time; then a send succeeds"),
    ("never_settle", true, "an error in time; then a send succeeds"),
    ("busy", true, "server-busy"),
    ("detach_senders", true, "the next send succeeds within 2 s"),
    ("drop_connections", true, "the next send fails at once or succeeds, and the one after it succeeds"),
    ("freeze", true, "errors in time; after it a send succeeds"),
    ("large-in-a-batch", true, "an event of 600 KiB fits into 1 MiB"),
    ("stolen", true, "told as loss; the partition can be read again by the same client"),
    ("reopen", true, "the second reader starts where it is told to"),
];

fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let emulator = arguments.next().ok_or("usage: azure-client-probe EMULATOR [CASE ...]")?;
    let wanted: Vec<_> = arguments.collect();
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    for (name, one_thread, expected) in CASES {
        if is_wanted(name) {
            let emulator = Emulator::start(&emulator)?;
            let happened = run(one_thread, case(name, &emulator)).unwrap_or_else(|error| short(&error));
            println!("| {name} | {expected} | {happened} |");
        }
    }
    for (name, count, bytes) in [("cpu-1000", 100, 1000), ("cpu-100", 500, 100)] {
        if is_wanted(name) {
            let emulator = Emulator::start(&emulator)?;
            let mut rounds = Vec::new();
            for _ in 0..7 {
                rounds.push(run(true, send_many(&emulator, count, bytes))?);
            }
            rounds.sort_by(f64::total_cmp);
            println!("| {name} | | {:.2} us CPU an event ({:.2}-{:.2}) |", rounds[3], rounds[1], rounds[5]);
        }
    }
    Ok(())
}

fn run<T>(one_thread: bool, task: impl Future<Output = Result<T>>) -> Result<T> {
    let mut builder = if one_thread { Builder::new_current_thread() } else { Builder::new_multi_thread() };
    let runtime = builder.worker_threads(2).enable_all().build()?;
    let done = runtime.block_on(task);
    runtime.shutdown_timeout(Duration::from_millis(200));
    done
}

async fn case(name: &str, emulator: &Emulator) -> Result<String> {
    match name {
        "fast-many-threads" | "fast-one-thread" => {
            let producer = emulator.producer().await?;
            for number in 0..3000 {
                if timeout(CALL, send(&producer)).await.is_err() {
                    return Ok(format!("send {number} does not return"));
                }
            }
            Ok("as expected".into())
        }
        "release" | "modify" | "lose_answer" | "never_settle" | "busy" => {
            let producer = emulator.producer().await?;
            send(&producer).await?;
            emulator.fault(&format!("{{\"next_sends\": {{\"fault\": \"{name}\", \"count\": 1}}}}"))?;
            two_sends(&producer, emulator).await
        }
        "detach_senders" | "drop_connections" => {
            let producer = emulator.producer().await?;
            send(&producer).await?;
            let disruption = if name == "detach_senders" { "{\"detach_senders\": {}}" } else { "\"drop_connections\"" };
            emulator.fault(&format!("{{\"disrupt\": {disruption}}}"))?;
            sleep(Duration::from_millis(200)).await;
            two_sends(&producer, emulator).await
        }
        "freeze" => {
            let producer = emulator.producer().await?;
            send(&producer).await?;
            emulator.fault("{\"freeze\": true}")?;
            let frozen = told(timeout(CALL, send(&producer)).await);
            emulator.fault("{\"freeze\": false}")?;
            Ok(format!("{frozen}; after it: {}", told(timeout(CALL, send(&producer)).await)))
        }
        "large-in-a-batch" => {
            let producer = emulator.producer().await?;
            let batch = producer.create_batch(None).await?;
            Ok(if batch.try_add_event_data(vec![7; 600 << 10], None)? { "as expected" } else { "does not fit" }.into())
        }
        "stolen" => {
            emulator.fill(10).await?;
            let (first, second) = (emulator.consumer().await?, emulator.consumer().await?);
            let one = open(&first, Some(1), StartLocation::Earliest).await?;
            let mut events = one.stream_events();
            events.next().await.ok_or("nothing")??;
            let two = open(&second, Some(2), StartLocation::Earliest).await?;
            two.stream_events().next().await.ok_or("nothing")??;
            sleep(Duration::from_millis(300)).await;
            drop(events);
            let closed = told(timeout(CALL, one.close()).await);
            let again = read_one(&first, Some(3), StartLocation::Earliest).await;
            Ok(format!("close: {closed}; reading again: {again}"))
        }
        _ => {
            emulator.fill(10).await?;
            let client = emulator.consumer().await?;
            let first = read_one(&client, None, StartLocation::SequenceNumber(2)).await;
            let second = read_one(&client, None, StartLocation::Earliest).await;
            Ok(format!("behind 2: {first}; the earliest, after that reader was dropped: {second}"))
        }
    }
}

/// What becomes of two sends, and how many events are stored beyond the first.
async fn two_sends(producer: &ProducerClient, emulator: &Emulator) -> Result<String> {
    let mut told_of = Vec::new();
    for _ in 0..2 {
        let began = Instant::now();
        let sent = timeout(CALL, send(producer)).await;
        told_of.push(format!("{} after {:.1} s", told(sent), began.elapsed().as_secs_f64()));
    }
    let properties = emulator.consumer().await?.get_partition_properties("0").await?;
    Ok(format!("{}; stored of them: {}", told_of.join(", then "), properties.last_enqueued_sequence_number))
}

async fn send(producer: &ProducerClient) -> Result<()> {
    let options = EventDataBatchOptions { partition_id: Some("0".into()), ..Default::default() };
    let batch = producer.create_batch(Some(options)).await?;
    batch.try_add_event_data(vec![7_u8; 100], None)?;
    Ok(producer.send_batch(batch, None).await?)
}

/// The CPU of an event, in microseconds.
async fn send_many(emulator: &Emulator, count: usize, bytes: usize) -> Result<f64> {
    let producer = emulator.producer().await?;
    send(&producer).await?;
    let (requests, before) = (100_000 / count, cpu()?);
    for _ in 0..requests {
        let options = EventDataBatchOptions { partition_id: Some("0".into()), ..Default::default() };
        let batch = producer.create_batch(Some(options)).await?;
        for _ in 0..count {
            batch.try_add_event_data(vec![7_u8; bytes], None)?;
        }
        producer.send_batch(batch, None).await?;
    }
    Ok((cpu()? - before) * 1e6 / (requests * count) as f64)
}

async fn open(
    client: &ConsumerClient,
    epoch: Option<i64>,
    location: StartLocation,
) -> Result<azure_messaging_eventhubs::EventReceiver> {
    let start_position = Some(StartPosition { location, inclusive: false });
    let options = OpenReceiverOptions { owner_level: epoch, start_position, ..Default::default() };
    Ok(client.open_receiver_on_partition("0".into(), Some(options)).await?)
}

/// Opens a reader, reads an event, and drops the reader.
async fn read_one(client: &ConsumerClient, epoch: Option<i64>, location: StartLocation) -> String {
    let read = async {
        let reader = open(client, epoch, location).await?;
        let event = reader.stream_events().next().await.ok_or("the stream ends")??;
        Result::<i64>::Ok(event.sequence_number().unwrap_or(-1))
    };
    match timeout(CALL, read).await {
        Ok(Ok(sequence)) => format!("sequence number {sequence}"),
        Ok(Err(error)) => short(&error),
        Err(_) => "nothing comes".into(),
    }
}

fn told<T, E: std::fmt::Debug>(
    done: std::result::Result<std::result::Result<T, E>, tokio::time::error::Elapsed>,
) -> String {
    match done {
        Ok(Ok(_)) => "Ok".into(),
        Ok(Err(error)) => short(&error),
        Err(_) => "does not return".into(),
    }
}

fn short(error: &impl std::fmt::Debug) -> String {
    format!("{error:?}").replace(['\n', '|'], " ").chars().take(110).collect()
}

/// Seconds of the processor that this process has taken, by Linux.
fn cpu() -> Result<f64> {
    let line = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<_> = line.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    Ok((fields[11].parse::<f64>()? + fields[12].parse::<f64>()?) / 100.0)
}

/// A process, which ends with this value.
struct Emulator {
    child: Child,
    _output: BufReader<ChildStdout>,
    address: String,
    control: String,
}

impl Emulator {
    fn start(program: &str) -> Result<Self> {
        let arguments = ["--hub", "orders:1", "--control", "127.0.0.1:0"];
        let mut child = Command::new(program).args(arguments).stdout(Stdio::piped()).spawn()?;
        let mut output = BufReader::new(child.stdout.take().ok_or("no output")?);
        let (mut address, mut control) = (String::new(), String::new());
        output.read_line(&mut address)?;
        output.read_line(&mut control)?;
        let after = |line: &str, word: &str| Some(line.trim().strip_prefix(word)?.to_owned());
        let address = after(&address, "listening on ").ok_or("no address")?;
        let control = after(&control, "control on http://").ok_or("no control")?;
        Ok(Self { child, _output: output, address, control })
    }

    fn fault(&self, body: &str) -> Result<()> {
        let mut stream = TcpStream::connect(&self.control)?;
        let length = body.len();
        write!(stream, "POST /faults HTTP/1.1\r\nHost: emulator\r\nContent-Length: {length}\r\n\r\n{body}")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        if answer.starts_with("HTTP/1.1 200") { Ok(()) } else { Err(answer.into()) }
    }

    fn endpoint(&self) -> String {
        format!("amqp://{}", self.address)
    }

    async fn producer(&self) -> Result<ProducerClient> {
        let builder = ProducerClient::builder().with_retry_options(no_retries()).with_custom_endpoint(self.endpoint());
        Ok(builder.open_with_connection_string(STRING, Some(HUB)).await?)
    }

    async fn consumer(&self) -> Result<ConsumerClient> {
        let builder = ConsumerClient::builder().with_retry_options(no_retries()).with_custom_endpoint(self.endpoint());
        Ok(builder.open_with_connection_string(STRING, Some(HUB)).await?)
    }

    async fn fill(&self, count: usize) -> Result<()> {
        let producer = self.producer().await?;
        for _ in 0..count {
            send(&producer).await?;
        }
        Ok(())
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const STRING: &str =
    "Endpoint=sb://localhost;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;";

fn no_retries() -> RetryOptions {
    RetryOptions { max_retries: 0, ..RetryOptions::default() }
}
