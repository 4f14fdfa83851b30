//! A proxy before a service that speaks HTTP or gRPC, and that does to it what networks and services do.
//!
//! It knows the operations of AWS: those of SQS, Kinesis and DynamoDB by their header, those of SNS by their form. Others
//! are called by their method. By gRPC every call says what it is. A plan says for each call what becomes of it; what was
//! asked, and what was done to it, is kept. Signatures are not made anew, so that the service must not check them: an
//! emulator's do not.

mod entries;
mod grpc;
mod mask;
mod stream;

use std::{
    fmt, io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};

pub use entries::Entries;

use crate::http1::{self, Head};

/// What becomes of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// It is answered with this status and this error code, and the service does not see it. Of gRPC it is the status's
    /// number, and what it says.
    Refuse(u16, &'static str),
    /// The service acts on it, and its answer is lost with the connection, and with whatever else is under way on it.
    LoseAnswer,
    /// The service acts on it, and the answer breaks off in the middle of its body.
    Truncate,
    /// The service acts on it after so long.
    Delay(Duration),
    /// The service acts on it, and its answer is on its way at so many bytes a second.
    Trickle(usize),
    /// It is never answered, and the service does not see it.
    Stall,
    /// Of the entries of its batch these fail, with this code, and the service does not see them. A call that is no batch
    /// passes, and so does one by gRPC.
    Mask(Entries, &'static str),
    /// The service acts on it, and its answer, a stream of events as AWS frames them, breaks off with the connection after
    /// so many: the first response is one of them. An answer that does not come in chunks passes, and so does gRPC.
    CutAfter(usize),
}

/// A call to the service.
#[derive(Clone, Debug)]
pub struct Call {
    /// What it asks for, as the service calls it: `SendMessageBatch`, `Pull`, or the method: `PUT`.
    pub operation: String,
    /// Its body.
    pub body: Bytes,
}

/// Listens on this machine, and passes calls on. Ends when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    script: Arc<Script>,
    _tasks: JoinSet<()>,
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy").field("address", &self.address).finish_non_exhaustive()
    }
}

type Plan = dyn Fn(&Call) -> Option<Trouble> + Send + Sync;

/// What is to become of calls, and what became of those that there were.
struct Script {
    plan: Box<Plan>,
    seen: Mutex<Vec<(Call, Option<Trouble>)>>,
}

impl Script {
    /// What is to become of this call.
    fn trouble(&self, call: &Call) -> Option<Trouble> {
        let trouble = (self.plan)(call);
        self.seen().push((call.clone(), trouble.clone()));
        trouble
    }

    fn seen(&self) -> MutexGuard<'_, Vec<(Call, Option<Trouble>)>> {
        self.seen.lock().unwrap()
    }
}

impl Proxy {
    /// Listens on a free port before `server`. `plan` is asked once for each call. Must be called inside a Tokio runtime.
    ///
    /// # Panics
    ///
    /// If there is no free port.
    pub async fn start(server: SocketAddr, plan: impl Fn(&Call) -> Option<Trouble> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script = Arc::new(Script { plan: Box::new(plan), seen: Mutex::default() });
        let (mut tasks, shared) = (JoinSet::new(), Arc::clone(&script));
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let script = Arc::clone(&shared);
                connections.spawn(async move {
                    // One that breaks off is what the client is to cope with.
                    let _ = serve(client, server, &script).await;
                });
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, script, _tasks: tasks }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every call so far, in the order in which they came, and what became of it.
    pub fn seen(&self) -> Vec<(Call, Option<Trouble>)> {
        self.script.seen().clone()
    }

    /// How many calls of this operation met trouble.
    pub fn troubled(&self, operation: &str) -> usize {
        self.script.seen().iter().filter(|(call, trouble)| call.operation == operation && trouble.is_some()).count()
    }
}

async fn serve(client: TcpStream, server: SocketAddr, script: &Arc<Script>) -> io::Result<()> {
    let mut start = grpc::PREFACE.map(|_| 0);
    client.peek(&mut start).await?; // a preface comes whole
    if start == grpc::PREFACE {
        grpc::serve(client, server, script).await
    } else {
        serve_one(client, server, script).await
    }
}

/// Serves one call, and closes the connection. What comes in chunks is passed on as it comes, unless more than a cut or a
/// delay is to become of it.
async fn serve_one(mut client: TcpStream, server: SocketAddr, script: &Script) -> io::Result<()> {
    let Some((head, body)) = http1::read(&mut client).await? else { return Ok(()) };
    let call = Call { operation: operation(&head, &body), body };
    let trouble = script.trouble(&call);
    let (head, mut body, mut masked) = (head, call.body, None);
    match &trouble {
        Some(Trouble::Refuse(status, code)) => return client.write_all(&refusal(&head, *status, code)).await,
        Some(Trouble::Stall) => return client.read_u8().await.map(drop), // until the client gives up
        Some(Trouble::Delay(time)) => sleep(*time).await,
        Some(Trouble::Mask(mask, code)) => {
            if let Some((rest, failed)) = mask::take(&body, *mask, code) {
                (body, masked) = (rest, Some(failed));
            }
        }
        _ => {}
    }
    let answer = match &masked {
        Some(masked) if masked.is_all() => http1::answer(200, head.is_json(), &masked.answer(b"{}")),
        _ => {
            let (answered, mut rest, mut upstream) = http1::forward(server, &head, &body).await?;
            let events = match &trouble {
                None | Some(Trouble::Delay(_)) => Some(None),
                Some(Trouble::CutAfter(events)) => Some(Some(*events)),
                _ => None,
            };
            if let Some(events) = events.filter(|_| answered.is_chunked()) {
                return stream::pass_on(&mut client, &answered, (rest, upstream), events).await;
            }
            let answer = rest.whole(&answered, &mut upstream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
            match &masked {
                Some(masked) => http1::answer(200, head.is_json(), &masked.answer(&answer)),
                None => answered.with_body(&answer),
            }
        }
    };
    match trouble {
        Some(Trouble::LoseAnswer) => Ok(()),
        // So that the length that was promised is not kept.
        Some(Trouble::Truncate) => client.write_all(&answer[..answer.len().saturating_sub(7)]).await,
        Some(Trouble::Trickle(rate)) => {
            for tenth in answer.chunks(rate.div_ceil(10).max(1)) {
                sleep(Duration::from_millis(100)).await;
                client.write_all(tenth).await?;
            }
            Ok(())
        }
        _ => client.write_all(&answer).await,
    }
}

fn operation(head: &Head, body: &[u8]) -> String {
    if let Some(target) = head.get("x-amz-target") {
        return target.rsplit('.').next().unwrap_or_default().to_owned();
    }
    let form = String::from_utf8_lossy(body);
    form.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or(head.method()).to_owned()
}

/// An error, as services of JSON and of forms say it.
fn refusal(head: &Head, status: u16, code: &str) -> Vec<u8> {
    let body = if head.is_json() {
        format!(r#"{{"__type":"{code}","message":"as planned"}}"#)
    } else {
        format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>")
    };
    http1::answer(status, head.is_json(), body.as_bytes())
}

#[cfg(test)]
mod tests;
