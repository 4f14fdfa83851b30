//! `group-worker CONFIGURATION`: a process of the group `app` on Kinesis, for tests that kill it. Says its process id and the
//! payload of each message, in one line. Stops at SIGTERM, and ends with its standard input.

use std::{
    env,
    error::Error,
    io::{Write as _, copy, sink, stdin, stdout},
    process::{exit, id},
    thread,
};

use strait_config::{Bus, Registry};
use strait_kinesis::Kinesis;
use strait_runtime::{Delivery, Failure};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    // The test that started it may be killed, too.
    thread::spawn(|| {
        let _ = copy(&mut stdin(), &mut sink());
        exit(1)
    });
    let text = env::args().nth(1).ok_or("usage: group-worker CONFIGURATION")?;
    let bus = Bus::builder(Registry::new().with(Kinesis)).text("strait.toml", &text).build()?;
    let worker = bus.worker("app").await?;
    let handler = |delivery: Delivery, _| async move {
        let payload = String::from_utf8_lossy(&delivery.message().payload);
        writeln!(stdout(), "{} {payload}", id()).map_err(Failure::retry)
    };
    Ok(worker.stop_on_signals().run(handler).await?)
}
