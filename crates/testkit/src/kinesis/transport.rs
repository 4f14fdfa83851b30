//! How calls come here, and answers go back: one a connection, or over TLS many at once as streams of HTTP/2.

use std::{future::poll_fn, io, sync::Arc};

use bytes::{Bytes, BytesMut};
use h2::{
    Reason, RecvStream, SendStream,
    server::{self, SendResponse},
};
use http::{Request, Response};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};

use super::{
    Answered, Fault, Shared,
    events::{self, Counted, Ended, Sink},
};
use crate::http1;

/// TLS by a certificate and a key in PEM, for HTTP/2 alone.
pub(super) fn acceptor(certificate: &[u8], key: &[u8]) -> TlsAcceptor {
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_slice(key).unwrap();
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Serves a connection.
pub(super) async fn serve(client: TcpStream, tls: Option<TlsAcceptor>, shared: &Arc<Shared>) -> io::Result<()> {
    let _open = Counted::new(shared, &shared.connections);
    match tls {
        Some(tls) => serve_streams(tls.accept(client).await?, shared).await.map_err(io::Error::other),
        None => serve_one(client, shared).await,
    }
}

fn operation(target: &str) -> &str {
    target.rsplit('.').next().unwrap_or_default()
}

/// Serves one call, and closes the connection.
async fn serve_one(mut client: TcpStream, shared: &Shared) -> io::Result<()> {
    let Some((head, body)) = http1::read(&mut client).await? else { return Ok(()) };
    let Answered { status, now, body, feed, fault } =
        shared.call(operation(head.get("x-amz-target").unwrap_or_default()), &body);
    if let Some(feed) = feed {
        client.write_all(http1::pushed_at(now).as_bytes()).await?;
        let mut chunks = Chunks(client);
        if events::send(shared, feed, fault, &mut chunks).await? == Ended::InOrder {
            chunks.0.write_all(b"0\r\n\r\n").await?;
        }
        return Ok(());
    }
    let answer = http1::answer_at(status, now, body.as_bytes());
    match fault {
        Some(Fault::LoseAnswer) => Ok(()),
        Some(Fault::Truncate(bytes)) => {
            let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
            client.write_all(&answer[..answer.len().min(body + bytes)]).await
        }
        _ => client.write_all(&answer).await,
    }
}

struct Chunks(TcpStream);

impl Sink for Chunks {
    async fn send(&mut self, bytes: Bytes) -> io::Result<()> {
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
        self.0.write_all(&chunk).await
    }

    async fn gone(&mut self) {
        // Nothing more comes of a call.
        let _ = self.0.read(&mut [0]).await;
    }
}

/// Serves the calls of a connection, many at once.
async fn serve_streams(
    client: tokio_rustls::server::TlsStream<TcpStream>,
    shared: &Arc<Shared>,
) -> Result<(), h2::Error> {
    let mut connection = server::handshake(client).await?;
    let mut calls = JoinSet::new();
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let shared = Arc::clone(shared);
        calls.spawn(async move {
            // One that is given up is the client's own.
            let _ = serve_stream(request, respond, &shared).await;
        });
        while calls.try_join_next().is_some() {}
    }
    Ok(())
}

async fn serve_stream(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    shared: &Shared,
) -> Result<(), h2::Error> {
    let (head, mut body) = request.into_parts();
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let Answered { status, now, body, feed, fault } = shared.call(operation(target.unwrap_or_default()), &bytes);
    let kind = if feed.is_some() { "application/vnd.amazon.eventstream" } else { "application/x-amz-json-1.1" };
    let answer = Response::builder().status(status).header("content-type", kind);
    let answer = answer.header("date", httpdate::fmt_http_date(now)).body(()).expect("its words are those of a head");
    if matches!(fault, Some(Fault::LoseAnswer | Fault::Truncate(_))) {
        respond.send_reset(Reason::INTERNAL_ERROR);
        return Ok(());
    }
    let mut data = Data(respond.send_response(answer, false)?);
    match feed {
        Some(feed) => match events::send(shared, feed, fault, &mut data).await {
            Ok(Ended::InOrder) => data.0.send_data(Bytes::new(), true),
            Ok(Ended::Cut) | Err(_) => {
                data.0.send_reset(Reason::INTERNAL_ERROR);
                Ok(())
            }
        },
        None => data.0.send_data(body.into(), true),
    }
}

struct Data(SendStream<Bytes>);

impl Sink for Data {
    /// Waits for as much as the client's windows leave.
    async fn send(&mut self, mut bytes: Bytes) -> io::Result<()> {
        while !bytes.is_empty() {
            self.0.reserve_capacity(bytes.len());
            let room = poll_fn(|context| self.0.poll_capacity(context)).await;
            let room = room.ok_or(io::ErrorKind::BrokenPipe)?.map_err(io::Error::other)?;
            let part = bytes.split_to(room.min(bytes.len()));
            self.0.send_data(part, false).map_err(io::Error::other)?;
        }
        Ok(())
    }

    async fn gone(&mut self) {
        let _ = poll_fn(|context| self.0.poll_reset(context)).await;
    }
}
