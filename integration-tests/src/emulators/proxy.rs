//! A proxy that does to HTTP requests what networks and servers do to them.

use std::{
    fmt,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

/// What is done to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    Pass,
    /// The server acts on it, and its answer is lost with the connection.
    LoseReply,
    /// It is answered by this status, and the server does not see it.
    Answer(u16),
    /// It is never answered, and the server does not see it.
    Stall,
}

/// Most bytes of a request or of an answer. What is larger ends its connection.
const LARGEST: usize = 4 << 20;

/// A proxy before one server. Ends when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// How many requests there were, and what was done to them.
#[derive(Debug, Default)]
pub struct Seen {
    /// Requests that the server saw.
    pub forwarded: AtomicU64,
    /// Answers that were lost.
    pub lost: AtomicU64,
    /// Requests that were answered in place of the server.
    pub answered: AtomicU64,
    /// Requests that were never answered.
    pub stalled: AtomicU64,
}

type Choice = Arc<dyn Fn(&str) -> Fault + Send + Sync>;

impl Proxy {
    /// Listens on a free port. `choose` sees the method of each request and says what is done to it.
    ///
    /// # Panics
    ///
    /// There is no port.
    pub async fn start(server: SocketAddr, choose: impl Fn(&str) -> Fault + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Seen::default());
        let (choose, counts): (Choice, _) = (Arc::new(choose), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (choose, counts) = (Arc::clone(&choose), Arc::clone(&counts));
                connections.spawn(async move {
                    // One that breaks off is what the client is to cope with.
                    let _ = serve(client, server, &choose, &counts).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it has seen.
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

/// Serves one request, and closes the connection.
async fn serve(mut client: TcpStream, server: SocketAddr, choose: &Choice, seen: &Seen) -> std::io::Result<()> {
    let Some(request) = read_request(&mut client).await? else { return Ok(()) };
    match choose(request.method()) {
        Fault::Stall => {
            seen.stalled.fetch_add(1, Ordering::Relaxed);
            client.read_u8().await.map(drop) // until the client gives up
        }
        Fault::Answer(status) => {
            seen.answered.fetch_add(1, Ordering::Relaxed);
            let answer = format!("HTTP/1.1 {status} Fault\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            client.write_all(answer.as_bytes()).await
        }
        fault => {
            let answer = request.forward(server).await?;
            seen.forwarded.fetch_add(1, Ordering::Relaxed);
            if fault == Fault::LoseReply {
                seen.lost.fetch_add(1, Ordering::Relaxed);
                return Ok(());
            }
            client.write_all(&answer).await
        }
    }
}

struct Request {
    head: String,
    body: Vec<u8>,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method()).finish_non_exhaustive()
    }
}

impl Request {
    fn method(&self) -> &str {
        self.head.split(' ').next().unwrap_or_default()
    }

    /// The whole answer of the server, which closes the connection after it.
    async fn forward(&self, server: SocketAddr) -> std::io::Result<Vec<u8>> {
        let mut upstream = TcpStream::connect(server).await?;
        let lines =
            self.head.trim_end().split("\r\n").filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let head = lines.chain(["Connection: close", "", ""]).collect::<Vec<_>>().join("\r\n");
        upstream.write_all(head.as_bytes()).await?;
        upstream.write_all(&self.body).await?;
        let mut answer = Vec::new();
        upstream.take(LARGEST as u64).read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

/// A request with a length; `None` if the client closes before it sends one.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if bytes.len() > LARGEST || client.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    };
    let mut body = bytes.split_off(end);
    let head = String::from_utf8_lossy(&bytes).into_owned();
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, length)| length.trim().parse::<usize>().ok())
        .unwrap_or(0);
    while body.len() < length {
        if body.len() > LARGEST || client.read_buf(&mut body).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Request { head, body }))
}
