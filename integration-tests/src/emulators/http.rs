use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Puts nothing to a path, as creating a bucket takes; panics if that is not answered by 200 or 201.
pub(crate) fn create(server: SocketAddr, path: &str, headers: &str) {
    let answer = put(server, path, headers).unwrap_or_else(|error| panic!("{server} does not answer: {error}"));
    let head = answer.lines().next().unwrap_or_default();
    assert!(head.contains(" 200 ") || head.contains(" 201 "), "not created: {head}");
}

fn put(server: SocketAddr, path: &str, headers: &str) -> std::io::Result<String> {
    let time = Duration::from_secs(60);
    let mut stream = TcpStream::connect_timeout(&server, time)?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    write!(stream, "PUT {path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n")?;
    let mut answer = Vec::new();
    stream.take(64 * 1024).read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
