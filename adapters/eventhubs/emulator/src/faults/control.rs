//! Faults, hubs and records over HTTP, for tests in other languages and processes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Deserialize;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{Disruption, SendFault};
use crate::{
    config::{HubTable, duration},
    hub::HubSettings,
    server::Shared,
};

/// The largest body of a request.
const BODY: usize = 64 << 10;
/// How many requests are served at once.
const AT_ONCE: usize = 64;

/// What is asked for by `POST /faults`, one a request: `{"busy": 0.1}`, `{"settle_after": "20ms"}`,
/// `{"next_sends": {"fault": "release", "count": 3}}`, `{"disrupt": {"detach_senders": {}}}`.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Ask {
    Disrupt(Disruption),
    SettleAfter(Span),
    Busy(f64),
    NextSends { fault: SendFault, count: u64 },
    Freeze(bool),
    Pause { hub: String, partition: usize, paused: bool },
    Clear {},
}

#[derive(Deserialize)]
pub(crate) struct Span(#[serde(deserialize_with = "duration")] Duration);

/// Serves until told to stop.
pub(crate) async fn serve(listener: TcpListener, shared: Arc<Shared>, stop: CancellationToken) {
    let mut requests = JoinSet::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = requests.join_next(), if !requests.is_empty() => {}
            accepted = listener.accept(), if requests.len() < AT_ONCE => {
                let Ok((socket, _)) = accepted else { continue };
                let shared = Arc::clone(&shared);
                requests.spawn(async move {
                    let service = service_fn(|request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(answer(request, &shared).await) }
                    });
                    let mut http = http1::Builder::new();
                    http.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(10)).keep_alive(false);
                    // A client that disconnects early gets no answer.
                    let _ = http.serve_connection(TokioIo::new(socket), service).await;
                });
            }
        }
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let body = match Limited::new(body, BODY).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return said(StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB, or broke off"),
    };
    match act(&head.method, &path, &body, shared) {
        Ok(text) => said(StatusCode::OK, &text),
        Err((status, text)) => said(status, &text),
    }
}

fn act(method: &Method, path: &str, body: &[u8], shared: &Shared) -> Result<String, (StatusCode, String)> {
    let refused = |error: &dyn std::fmt::Display| (StatusCode::BAD_REQUEST, error.to_string());
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    match (method, &segments[..]) {
        (&Method::GET, ["health"]) => {}
        (&Method::POST, ["faults"]) => {
            ask(parse(body).map_err(|reason| refused(&reason))?, shared);
        }
        (&Method::POST, ["hubs"]) => {
            let table: HubTable = serde_json::from_slice(body).map_err(|error| refused(&error))?;
            shared.namespace.create(HubSettings::from(table)).map_err(|error| refused(&error))?;
        }
        (&Method::DELETE, ["hubs", name]) => shared.namespace.delete(name).map_err(|error| refused(&error))?,
        (&Method::PUT, ["hubs", name, "partitions", count]) => {
            let count = count.parse().map_err(|_| refused(&"the number of partitions is no number"))?;
            shared.namespace.grow(name, count).map_err(|error| refused(&error))?;
        }
        (&Method::GET, ["records"]) => {
            let lines = shared.records.all().into_iter().map(|record| format!("{record:?}\n"));
            return Ok(lines.collect());
        }
        (&Method::GET, ["open"]) => {
            let open = *shared.gauge.follow().borrow();
            return Ok(format!("{{\"connections\":{},\"links\":{}}}\n", open.connections, open.links));
        }
        (&Method::DELETE, ["records"]) => shared.records.clear(),
        _ => return Err((StatusCode::NOT_FOUND, format!("there is no {method} {path}"))),
    }
    Ok(String::new())
}

/// Reads the body of a request for a fault.
pub(crate) fn parse(body: &[u8]) -> Result<Ask, String> {
    match serde_json::from_slice(body).map_err(|error| error.to_string())? {
        Ask::Busy(share) if !(0.0..=1.0).contains(&share) => Err("the share of busy requests is 0 to 1".to_owned()),
        ask => Ok(ask),
    }
}

fn ask(ask: Ask, shared: &Shared) {
    let faults = &shared.faults;
    match ask {
        Ask::Disrupt(disruption) => faults.disrupt(disruption),
        Ask::SettleAfter(Span(delay)) => faults.settle_after(delay),
        Ask::Busy(share) => faults.busy(share),
        Ask::NextSends { fault, count } => faults.next_sends(fault, count),
        Ask::Freeze(frozen) => faults.freeze(frozen),
        Ask::Pause { hub, partition, paused } => faults.pause(&hub, partition, paused),
        Ask::Clear {} => faults.clear(),
    }
}

fn said(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(text.to_owned())));
    *response.status_mut() = status;
    response
}
