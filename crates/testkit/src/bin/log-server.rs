//! `log-server`: serves topics in memory on a free port, says which on stdout, and stops when its standard input ends: with
//! whoever started it.

#![allow(clippy::print_stdout, reason = "it says where it listens")]

use std::{io::Read as _, process::ExitCode, thread};

use strait_memory::LogOptions;
use strait_testkit::served::LogServer;
use tokio::sync::oneshot;

#[tokio::main]
async fn main() -> ExitCode {
    let server = match LogServer::start(LogOptions::default()).await {
        Ok(server) => server,
        Err(error) => {
            eprintln!("log-server: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", server.address());
    let (end, ended) = oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new()); // an error is an end too
        let _ = end.send(());
    });
    let _ = ended.await;
    ExitCode::SUCCESS
}
