//! Messages of HTTP/1.1, one a connection.

#[cfg(feature = "kinesis")]
use std::time::SystemTime;
use std::{io, net::SocketAddr};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Most bytes of a message. What is larger ends its connection.
pub(crate) const LARGEST: usize = 16 << 20;

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

    pub(crate) fn is_chunked(&self) -> bool {
        self.get("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"))
    }

    /// The head of a message whose body comes in chunks, and whose connection ends after it.
    pub(crate) fn chunked(&self) -> String {
        self.fields() + "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    }

    /// The whole message with this body, whose connection ends after it.
    pub(crate) fn with_body(&self, body: &[u8]) -> Vec<u8> {
        let head = format!("{}Content-Length: {}\r\nConnection: close\r\n\r\n", self.fields(), body.len());
        [head.as_bytes(), body].concat()
    }

    /// What it says, but for the body and the connection.
    fn fields(&self) -> String {
        let about_the_body = |line: &str| {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            ["connection", "content-length", "transfer-encoding", "keep-alive"].contains(&name.as_str())
        };
        let mut message = String::new();
        for line in self.0.lines().filter(|line| !line.is_empty() && !about_the_body(line)) {
            message.extend([line, "\r\n"]);
        }
        message
    }
}

/// An answer that no server gave.
pub(crate) fn answer(status: u16, json: bool, body: &[u8]) -> Vec<u8> {
    let kind = if json { "application/x-amz-json-1.0" } else { "text/xml" };
    Head(format!("HTTP/1.1 {status} As-Planned\r\nContent-Type: {kind}\r\n")).with_body(body)
}

/// An answer of JSON from a server whose clock says so.
#[cfg(feature = "kinesis")]
pub(crate) fn answer_at(status: u16, time: SystemTime, body: &[u8]) -> Vec<u8> {
    let date = httpdate::fmt_http_date(time);
    let head = format!("HTTP/1.1 {status} X\r\nDate: {date}\r\nContent-Type: application/x-amz-json-1.1\r\n");
    Head(head).with_body(body)
}

/// The head of an answer that is pushed in chunks, from a server whose clock says so.
#[cfg(feature = "kinesis")]
pub(crate) fn pushed_at(time: SystemTime) -> String {
    let date = httpdate::fmt_http_date(time);
    Head(format!("HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Type: application/vnd.amazon.eventstream\r\n")).chunked()
}

/// Passes a call on, and brings the beginning of the answer.
pub(crate) async fn forward(server: SocketAddr, head: &Head, body: &[u8]) -> io::Result<(Head, Body, TcpStream)> {
    let mut upstream = TcpStream::connect(server).await?;
    upstream.write_all(&head.with_body(body)).await?;
    let (head, body) = begin(&mut upstream).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
    Ok((head, body, upstream))
}

/// A message, whose body has a length or comes in chunks; `None` if the other side closes before there is one.
pub(crate) async fn read(stream: &mut TcpStream) -> io::Result<Option<(Head, Bytes)>> {
    let Some((head, mut body)) = begin(stream).await? else { return Ok(None) };
    let body = body.whole(&head, stream).await?;
    Ok(body.map(|body| (head, body)))
}

/// The head of a message, and its body, which is still to be read.
async fn begin(stream: &mut TcpStream) -> io::Result<Option<(Head, Body)>> {
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
    Ok(Some((Head(String::from_utf8_lossy(&head).into_owned()), Body(bytes))))
}

/// The body of a message, as far as it has come and is not taken.
#[derive(Debug)]
pub(crate) struct Body(BytesMut);

impl Body {
    /// The whole of it; `None` if the other side closes before.
    pub(crate) async fn whole(&mut self, head: &Head, stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
        if head.is_chunked() {
            return self.all_chunks(stream).await;
        }
        let length = head.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        while self.0.len() < length {
            if !more(stream, &mut self.0).await? {
                return Ok(None);
            }
        }
        Ok(Some(self.0.split_to(length).freeze()))
    }

    async fn all_chunks(&mut self, stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
        let mut all = BytesMut::new();
        loop {
            match self.chunk(stream).await? {
                Some(chunk) if chunk.is_empty() => return Ok(Some(all.freeze())),
                Some(_) if all.len() > LARGEST => return Err(io::ErrorKind::InvalidData.into()),
                Some(chunk) => all.extend_from_slice(&chunk),
                None => return Ok(None),
            }
        }
    }

    /// The next chunk, the last of which is empty; `None` if the other side closes before. Cancel-safe.
    pub(crate) async fn chunk(&mut self, stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
        loop {
            if let Some(line) = find(&self.0, b"\r\n") {
                let size = String::from_utf8_lossy(&self.0[..line]);
                let size = usize::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16);
                let size = size.ok().filter(|size| *size <= LARGEST).ok_or(io::ErrorKind::InvalidData)?;
                if self.0.len() >= line + 2 + size + 2 {
                    let chunk = self.0.split_to(line + 2 + size + 2).freeze();
                    return Ok(Some(chunk.slice(line + 2..line + 2 + size)));
                }
            }
            if !more(stream, &mut self.0).await? {
                return Ok(None);
            }
        }
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
