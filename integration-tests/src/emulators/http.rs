use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

/// Puts a body, which may be empty, to a path, as creating a bucket takes. Asks again what is not answered in time.
///
/// # Panics
///
/// If it is not answered by 200 or 201, or by 409 when it was asked before.
pub(crate) fn create(server: SocketAddr, path: &str, headers: &str, body: &str) {
    let created = |line: &str, codes: &[&str]| codes.iter().any(|code| line.contains(code));
    match put(server, path, headers, body) {
        Ok(line) => assert!(created(&line, &[" 200 ", " 201 "]), "not created: {line}"),
        Err(_) => match put(server, path, headers, body) {
            Ok(line) => assert!(created(&line, &[" 200 ", " 201 ", " 409 "]), "not created: {line}"),
            Err(error) => panic!("{server} does not answer: {error}"),
        },
    }
}

fn put(server: SocketAddr, path: &str, headers: &str, body: &str) -> std::io::Result<String> {
    let time = Duration::from_mins(1);
    let mut stream = TcpStream::connect_timeout(&server, time)?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    write!(
        stream,
        "PUT {path} HTTP/1.1\r\nHost: {server}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n{body}",
        body.len()
    )?;
    // Only the first line: some keep the connection open whatever they are told.
    let mut line = String::new();
    BufReader::new(stream.take(1024)).read_line(&mut line)?;
    Ok(line)
}
