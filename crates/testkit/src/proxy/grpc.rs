use std::{future::poll_fn, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use h2::{
    Reason, RecvStream,
    client::{self, SendRequest},
    server::{self, SendResponse},
};
use http::{HeaderMap, Request, Response};
use tokio::{net::TcpStream, task::JoinSet, time::sleep};

use super::{Call, Script, Trouble};

/// What a connection begins with whose calls are streams of it.
pub(super) const PREFACE: [u8; 3] = *b"PRI";

/// What becomes of the connection after a call.
enum After {
    GoesOn,
    Ends,
}

/// Serves the calls of a connection, many at once, until it ends or is lost with an answer. Each is to be one message;
/// what it is answered with may be a stream, and is passed on once it is whole.
pub(super) async fn serve(client: TcpStream, server: SocketAddr, script: &Arc<Script>) -> io::Result<()> {
    let (upstream, connection) =
        client::handshake(TcpStream::connect(server).await?).await.map_err(io::Error::other)?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move { connection.await.map(|()| After::Ends) });
    let mut downstream = server::handshake(client).await.map_err(io::Error::other)?;
    loop {
        tokio::select! {
            call = downstream.accept() => {
                let Some(call) = call else { return Ok(()) };
                let (request, respond) = call.map_err(io::Error::other)?;
                tasks.spawn(answer(request, respond, upstream.clone(), Arc::clone(script)));
            }
            Some(outcome) = tasks.join_next() => {
                // A call that breaks off is what the client is to cope with.
                if matches!(outcome, Ok(Ok(After::Ends))) {
                    return Ok(());
                }
            }
        }
    }
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    upstream: SendRequest<Bytes>,
    script: Arc<Script>,
) -> Result<After, h2::Error> {
    let (head, body) = request.into_parts();
    let (body, _) = read(body).await?;
    let call = Call { operation: head.uri.path().rsplit('/').next().unwrap_or_default().to_owned(), body };
    let trouble = script.trouble(&call);
    match &trouble {
        Some(Trouble::Refuse(status, message)) => {
            return respond.send_response(refusal(*status, message), true).map(|_| After::GoesOn);
        }
        Some(Trouble::Stall) => return given_up(&mut respond).await,
        Some(Trouble::Delay(time)) => sleep(*time).await,
        _ => {}
    }
    let (answer, mut request) = upstream.ready().await?.send_request(Request::from_parts(head, ()), false)?;
    request.send_data(call.body, true)?;
    let (head, body) = tokio::select! {
        answer = answer => answer?.into_parts(),
        outcome = given_up(&mut respond) => return outcome, // and so it is at the service
    };
    let is_all = body.is_end_stream();
    let (body, trailers) = read(body).await?;
    if trouble == Some(Trouble::LoseAnswer) {
        return Ok(After::Ends);
    }
    let mut answer = respond.send_response(Response::from_parts(head, ()), is_all)?;
    if is_all {
        return Ok(After::GoesOn);
    }
    match trouble {
        Some(Trouble::Truncate) => {
            answer.send_data(body.slice(..body.len() / 2), false)?;
            answer.send_reset(Reason::INTERNAL_ERROR);
            return Ok(After::GoesOn);
        }
        Some(Trouble::Trickle(rate)) => {
            for tenth in body.chunks(rate.div_ceil(10).max(1)) {
                sleep(Duration::from_millis(100)).await;
                answer.send_data(Bytes::copy_from_slice(tenth), false)?;
            }
        }
        _ => answer.send_data(body, false)?,
    }
    answer.send_trailers(trailers.unwrap_or_default())?;
    Ok(After::GoesOn)
}

/// Waits until the client gives up.
async fn given_up(respond: &mut SendResponse<Bytes>) -> Result<After, h2::Error> {
    poll_fn(|context| respond.poll_reset(context)).await.map(|_| After::GoesOn)
}

/// An answer of nothing but a status: its number, by gRPC, and what it says.
fn refusal(status: u16, message: &str) -> Response<()> {
    let response = Response::builder().header("content-type", "application/grpc").header("grpc-status", status);
    response.header("grpc-message", message).body(()).expect("a plan's words are those of a header")
}

async fn read(mut body: RecvStream) -> Result<(Bytes, Option<HeaderMap>), h2::Error> {
    let mut bytes = BytesMut::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len())?;
        bytes.extend_from_slice(&data);
    }
    Ok((bytes.freeze(), body.trailers().await?))
}
