//! Messages of HTTP/1.1, one a connection.

use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Most bytes of a message. What is larger ends its connection.
const LARGEST: usize = 16 << 20;

/// The first line, and the lines that follow it.
#[derive(Clone, Debug)]
pub(crate) struct Head(String);

impl Head {
    pub(crate) fn method(&self) -> &str {
        self.0.split(' ').next().unwrap_or_default()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let mut fields = self.0.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    pub(crate) fn is_json(&self) -> bool {
        self.get("content-type").is_some_and(|kind| kind.contains("json"))
    }

    /// The whole message with this body, whose connection ends after it.
    pub(crate) fn with_body(&self, body: &[u8]) -> Vec<u8> {
        let about_the_body = |line: &str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            ["connection", "content-length", "transfer-encoding", "keep-alive"].contains(&name.as_str())
        };
        let mut message = String::new();
        for line in self.0.lines().filter(|line| !line.is_empty() && !about_the_body(line)) {
            message.extend([line, "\r\n"]);
        }
        message.extend(["Content-Length: ", &body.len().to_string(), "\r\nConnection: close\r\n\r\n"]);
        [message.as_bytes(), body].concat()
    }
}

/// An answer that no server gave.
pub(crate) fn answer(status: u16, json: bool, body: &[u8]) -> Vec<u8> {
    let kind = if json { "application/x-amz-json-1.0" } else { "text/xml" };
    Head(format!("HTTP/1.1 {status} As-Planned\r\nContent-Type: {kind}\r\n")).with_body(body)
}

/// Passes a call on, and brings the answer.
pub(crate) async fn forward(server: SocketAddr, head: &Head, body: &[u8]) -> io::Result<(Head, Bytes)> {
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&head.with_body(body)).await?;
    read(&mut upstream).await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}

/// A message, whose body has a length or comes in chunks; `None` if the other side closes before there is one.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<(Head, Bytes)>> {
    let mut bytes = BytesMut::new();
    let end = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
        if !more(stream, &mut bytes).await? {
            return Ok(None);
        }
    };
    let head = bytes.split_to(end);
    let head = Head(String::from_utf8_lossy(&head).into_owned());
    if head.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(chunks(stream, bytes).await?.map(|body| (head, body)));
    }
    let length = head.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    while bytes.len() < length {
        if !more(stream, &mut bytes).await? {
            return Ok(None);
        }
    }
    Ok(Some((head, bytes.split_to(length).freeze())))
}

async fn chunks(stream: &mut TcpStream, mut bytes: BytesMut) -> io::Result<Option<Bytes>> {
    let mut body = BytesMut::new();
    loop {
        let Some(line) = find(&bytes, b"\r\n") else {
            if !more(stream, &mut bytes).await? {
                return Ok(None);
            }
            continue;
        };
        let size = String::from_utf8_lossy(&bytes[..line]);
        let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
        let size = size.ok().filter(|size| *size <= LARGEST).ok_or(io::ErrorKind::InvalidData)?;
        while bytes.len() < line + 2 + size + 2 {
            if !more(stream, &mut bytes).await? {
                return Ok(None);
            }
        }
        if size == 0 {
            return Ok(Some(body.freeze()));
        }
        body.extend_from_slice(&bytes[line + 2..line + 2 + size]);
        let _ = bytes.split_to(line + 2 + size + 2);
    }
}

async fn more(stream: &mut TcpStream, bytes: &mut BytesMut) -> io::Result<bool> {
    if bytes.len() > LARGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    Ok(stream.read_buf(bytes).await? > 0)
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
