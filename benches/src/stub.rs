//! A service in a process of its own, so that its client is what is measured: the program starts itself once more, with
//! arguments by which it knows that it is to serve.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, BufRead, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Arc, Mutex, PoisonError},
    thread,
};

/// The word by which a program is told to serve.
pub const WORD: &str = "stub";

/// How often each operation was asked for, and of how many messages.
pub type Counts = BTreeMap<String, (u64, u64)>;

/// A stub in a process of its own, which ends with this.
#[derive(Debug)]
pub struct Stub {
    process: Child,
    /// Closed when this process ends, however it ends: then the stub ends too.
    _stdin: Option<ChildStdin>,
    address: SocketAddr,
}

impl Stub {
    /// Starts this program with [`WORD`] and these arguments. It is to say where it listens, in its first line.
    ///
    /// # Errors
    ///
    /// What the system says, or what is wrong with its first line.
    pub fn start(arguments: &[String]) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(WORD).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().ok_or(io::ErrorKind::NotFound)?).read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { _stdin: process.stdin.take(), process, address })
    }

    /// Its URL.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What was asked since this was called last, of one that [`serve`] serves.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn counts(&self) -> io::Result<Counts> {
        let mut stream = TcpStream::connect(self.address)?;
        stream.write_all(b"POST / HTTP/1.1\r\nX-Amz-Target: Stub.Counts\r\nContent-Length: 0\r\n\r\n")?;
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

/// Says where it listens, and answers calls, each connection by a thread of its own, until nobody holds its standard input.
/// `answer` is told the operation and the body, and brings the body of the answer and how many messages are in either.
///
/// # Errors
///
/// What the system says.
pub fn serve(answer: impl Fn(&str, &[u8]) -> io::Result<(String, usize)> + Send + Sync + 'static) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    writeln!(io::stdout(), "{}", listener.local_addr()?)?;
    let server = Arc::new(Server { answer, counts: Mutex::default() });
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let server = Arc::clone(&server);
            thread::spawn(move || server.talk(&stream));
        }
    });
    io::stdin().read_to_end(&mut Vec::new()).map(drop)
}

struct Server<A> {
    answer: A,
    counts: Mutex<Counts>,
}

impl<A: Fn(&str, &[u8]) -> io::Result<(String, usize)>> Server<A> {
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
        let (answer, messages) = (self.answer)(operation, body)?;
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(operation.to_owned()).or_default();
        *count = (count.0 + 1, count.1 + messages as u64);
        drop(counts);
        Ok(answer)
    }
}

/// The operation that a call names, or that an answer does not, and the body. `None` at the end.
fn read(stream: &mut impl BufRead) -> io::Result<Option<(String, Vec<u8>)>> {
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
