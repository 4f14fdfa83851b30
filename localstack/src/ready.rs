use std::{
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use crate::Emulator;

/// Asks an emulator whether it serves.
pub(crate) fn ask(emulator: Emulator, port: u16) -> bool {
    let (path, answer) = match emulator {
        Emulator::EventHubs => return exchange(port, b"AMQP\x03\x01\0\0").is_ok_and(|head| head.starts_with("AMQP")),
        Emulator::LocalStack => ("/_localstack/health", "HTTP/1.1 200"),
        Emulator::PubSub => ("/", "HTTP/1.1 200"),
        // It serves nobody without credentials, but says so by itself.
        Emulator::Azurite => ("/devstoreaccount1?comp=list", "HTTP/1.1 "),
    };
    get(port, path).is_ok_and(|head| head.starts_with(answer))
}

fn get(port: u16, path: &str) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    exchange(port, request.as_bytes())
}

/// The first bytes of an answer, as many as AMQP's header has at least.
fn exchange(port: u16, request: &[u8]) -> std::io::Result<String> {
    let time = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), time)?;
    stream.set_read_timeout(Some(time))?;
    stream.set_write_timeout(Some(time))?;
    stream.write_all(request)?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(String::from_utf8_lossy(&head).into_owned())
}
