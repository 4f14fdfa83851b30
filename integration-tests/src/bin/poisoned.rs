//! `poisoned CONFIGURATION`: a process of the group `app` that aborts at the payload `poison`, for tests of what kills its
//! process. Says each payload before, on a line of its own. Stops at SIGTERM.

use std::{
    env,
    error::Error,
    io::{Write as _, stdout},
    process::abort,
};

use strait_config::{Bus, Registry};
use strait_runtime::{Delivery, Failure};
use strait_testkit::served::Served;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let text = env::args().nth(1).ok_or("usage: poisoned CONFIGURATION")?;
    let bus = Bus::builder(Registry::new().with(Served)).text("strait.toml", &text).build()?;
    let worker = bus.worker("app").await?;
    let handler = |delivery: Delivery, _| async move {
        let payload = String::from_utf8_lossy(&delivery.message().payload).into_owned();
        writeln!(stdout(), "{payload}").map_err(Failure::retry)?;
        if payload == "poison" {
            abort();
        }
        Ok(())
    };
    Ok(worker.stop_on_signals().run(handler).await?)
}
