//! A service that answers each operation as it is told, and keeps what it was asked.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// A request, as far as tests look at it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// `SendMessageBatch`, or `Publish` of a form.
    pub(crate) operation: String,
    /// By lower-case name.
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

impl Call {
    /// The region and the service that it is signed for: `eu-west-1/sqs`.
    pub(crate) fn scope(&self) -> String {
        let scope = self.headers["authorization"].split("Credential=").nth(1).unwrap();
        let parts: Vec<_> = scope.split(',').next().unwrap().split('/').collect();
        parts[2..4].join("/")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// An answer: its status, and its body.
pub(crate) type Answer = (u16, String);

/// Listens until the test's runtime ends.
pub(crate) struct Stub {
    pub(crate) address: SocketAddr,
    calls: Arc<Mutex<Vec<Call>>>,
}

impl Stub {
    pub(crate) async fn start(answer: impl Fn(&Call) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, calls) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Call>>>::default());
        let (answer, seen) = (Arc::new(answer), Arc::clone(&calls));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut stream = BufReader::new(stream);
                    while let Some(call) = read(&mut stream).await {
                        let (status, body) = answer(&call);
                        seen.lock().unwrap().push(call);
                        let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
                        stream.write_all((head + &body).as_bytes()).await.unwrap();
                    }
                });
            }
        });
        Self { address, calls }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The calls of an operation.
    pub(crate) fn calls(&self, operation: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.operation == operation).cloned().collect()
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Call> {
    let mut headers = HashMap::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        if line == "\r\n" {
            break;
        }
        if let Some((name, value)) = line.split_once(": ") {
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
    }
    let mut body = vec![0; headers.get("content-length").map_or(0, |length| length.parse().unwrap())];
    stream.read_exact(&mut body).await.ok()?;
    let body = String::from_utf8(body).unwrap();
    // SQS names an operation in a header, SNS and STS in a form.
    let target = headers.get("x-amz-target").and_then(|target| target.rsplit('.').next()).map(str::to_owned);
    let form = || body.split('&').find_map(|field| field.strip_prefix("Action=")).map(str::to_owned);
    Some(Call { operation: target.or_else(form).unwrap_or_default(), headers, body })
}
