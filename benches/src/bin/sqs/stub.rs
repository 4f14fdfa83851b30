//! A queue that is never empty and stores nothing: SQS's protocol of JSON, answered as fast as can be, by a process of its
//! own, so that the client is what is measured.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use serde::Deserialize;

/// The word by which this program is told to be the stub.
pub(crate) const WORD: &str = "stub";

/// How often each operation was asked for, and of how many messages.
pub(crate) type Counts = BTreeMap<String, (u64, u64)>;

/// The stub in a process of its own, which ends with this.
#[derive(Debug)]
pub(crate) struct Stub {
    process: Child,
    /// Closed when this process ends, however it ends: then the stub ends too.
    _stdin: Option<ChildStdin>,
    address: SocketAddr,
}

impl Stub {
    /// Starts it, with messages whose bodies are so large.
    pub(crate) fn start(bytes: usize) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process =
            command.args([WORD, &bytes.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or(io::ErrorKind::NotFound)?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { _stdin: process.stdin.take(), process, address })
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since this was called last.
    pub(crate) fn counts(&self) -> io::Result<Counts> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"POST / HTTP/1.1\r\nX-Amz-Target: AmazonSQS.Counts\r\nContent-Length: 0\r\n\r\n")?;
        let (_, body) = read(&mut BufReader::new(stream))?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(serde_json::from_slice(&body)?)
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Debug)]
struct Server {
    payload: &'static str,
    counts: Mutex<Counts>,
    next: AtomicU64,
}

/// Says where it listens, and serves until nobody holds its standard input.
pub(crate) fn serve(payload: &'static str) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let server = Arc::new(Server { payload, counts: Mutex::default(), next: AtomicU64::new(0) });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            thread::spawn(move || server.talk(&stream));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

impl Server {
    fn talk(&self, stream: &TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (mut reader, mut writer) = (BufReader::with_capacity(64 << 10, stream.try_clone()?), stream.try_clone()?);
        while let Some((operation, body)) = read(&mut reader)? {
            let answer = self.answer(&operation, &body)?;
            let mut whole = String::with_capacity(answer.len() + 128);
            let _ = write!(
                whole,
                "HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.0\r\nContent-Length: {}\r\n\r\n{answer}",
                answer.len()
            );
            writer.write_all(whole.as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, operation: &str, body: &[u8]) -> io::Result<String> {
        if operation == "Counts" {
            let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
            return Ok(serde_json::to_string(&counts)?);
        }
        let asked: Asked<'_> = serde_json::from_slice(body)?;
        let (answer, messages) = match operation {
            "GetQueueUrl" => (r#"{"QueueUrl":"http://127.0.0.1/000000000000/bench"}"#.to_owned(), 0),
            "GetQueueAttributes" => (r#"{"Attributes":{"MaximumMessageSize":"1048576"}}"#.to_owned(), 0),
            "SendMessage" => (format!("{{{}}}", self.stored()), 1),
            "SendMessageBatch" => (done(&asked, || format!(",{}", self.stored())), asked.entries.len()),
            "ReceiveMessage" => self.messages(&asked),
            _ => (done(&asked, String::new), asked.entries.len()),
        };
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(operation.to_owned()).or_default();
        *count = (count.0 + 1, count.1 + messages as u64);
        drop(counts);
        Ok(answer)
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    fn stored(&self) -> String {
        format!(r#""MessageId":"{}","MD5OfMessageBody":"{MD5}""#, uuid(self.number()))
    }

    fn messages(&self, asked: &Asked<'_>) -> (String, usize) {
        let count = asked.max_number_of_messages.unwrap_or(1);
        let mut answer = r#"{"Messages":["#.to_owned();
        for index in 0..count {
            let number = self.number();
            let comma = if index == 0 { "" } else { "," };
            let id = uuid(number);
            // As long as one of AWS, which is about 300 characters.
            let _ = write!(
                answer,
                r#"{comma}{{"MessageId":"{id}","ReceiptHandle":"{number:0300}","MD5OfBody":"{MD5}","Body":"{}""#,
                self.payload
            );
            if !asked.message_system_attribute_names.is_empty() {
                answer.push_str(
                    r#","Attributes":{"ApproximateReceiveCount":"1","SentTimestamp":"1764061200000","MessageGroupId":"customer-7"}"#,
                );
            }
            if !asked.message_attribute_names.is_empty() {
                let _ = write!(
                    answer,
                    r#","MessageAttributes":{{"strait-id":{{"DataType":"String","StringValue":"{id}"}}}},"MD5OfMessageAttributes":"{MD5}""#
                );
            }
            answer.push('}');
        }
        answer.push_str("]}");
        (answer, count)
    }
}

/// Nobody checks it.
const MD5: &str = "fafb00f5732ab283681e124bf8747ed1";

fn uuid(number: u64) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn done(asked: &Asked<'_>, more: impl Fn() -> String) -> String {
    let mut answer = r#"{"Failed":[],"Successful":["#.to_owned();
    for (index, entry) in asked.entries.iter().enumerate() {
        let _ = write!(answer, r#"{}{{"Id":"{}"{}}}"#, if index == 0 { "" } else { "," }, entry.id, more());
    }
    answer.push_str("]}");
    answer
}

/// What matters of a request.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Asked<'a> {
    #[serde(borrow)]
    entries: Vec<Entry<'a>>,
    max_number_of_messages: Option<usize>,
    #[serde(borrow)]
    message_attribute_names: Vec<Cow<'a, str>>,
    #[serde(borrow)]
    message_system_attribute_names: Vec<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
}

/// The operation that a call names, or that an answer does not, and the body. `None` at the end.
fn read(stream: &mut impl io::BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
    let (mut operation, mut length, mut line) = (String::new(), 0, String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(io::Error::other)?;
        } else if name.eq_ignore_ascii_case("x-amz-target") {
            value.rsplit('.').next().unwrap_or_default().trim().clone_into(&mut operation);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some((operation, body)))
}
