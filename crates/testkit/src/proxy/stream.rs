//! Answers that come bit by bit, and are passed on so.

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::http1::{Body, Head, LARGEST};

/// The bytes of an event that say how long it is.
const LENGTH: usize = 4;

/// Passes an answer in chunks on to `client` as they come, and ends with it. Of a stream of events, as AWS frames them, at
/// most `events` are passed on, each whole, and then both connections break off.
pub(super) async fn pass_on(
    client: &mut TcpStream,
    head: &Head,
    (mut body, mut upstream): (Body, TcpStream),
    events: Option<usize>,
) -> io::Result<()> {
    client.write_all(head.chunked().as_bytes()).await?;
    let (mut waiting, mut left) = (BytesMut::new(), events);
    loop {
        let chunk = tokio::select! {
            chunk = body.chunk(&mut upstream) => chunk?,
            _ = client.read_u8() => return Ok(()), // it has gone, or says something that nobody asked for
        };
        let Some(chunk) = chunk else { return Ok(()) }; // what breaks off there breaks off here
        if chunk.is_empty() {
            return client.write_all(b"0\r\n\r\n").await;
        }
        let Some(left) = &mut left else {
            write(client, &chunk).await?;
            continue;
        };
        if waiting.len() > LARGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        waiting.extend_from_slice(&chunk);
        while *left > 0
            && let Some(event) = event(&mut waiting)
        {
            write(client, &event).await?;
            *left -= 1;
        }
        if *left == 0 {
            return Ok(());
        }
    }
}

async fn write(client: &mut TcpStream, chunk: &[u8]) -> io::Result<()> {
    let size = format!("{:x}\r\n", chunk.len());
    client.write_all(&[size.as_bytes(), chunk, b"\r\n"].concat()).await
}

/// The next event that has come whole.
fn event(bytes: &mut BytesMut) -> Option<Bytes> {
    let length = bytes.get(..LENGTH)?.get_u32() as usize;
    (bytes.len() >= length.max(LENGTH)).then(|| bytes.split_to(length.max(LENGTH)).freeze())
}
