//! A process that only pays and ships, for one that places orders and looks after them.

use std::{
    io::{Write as _, stdout},
    sync::Arc,
};

use tokio_util::sync::CancellationToken;

use crate::{Error, accident::Accident, args::Args, crew::Crew, journal::Journal, open, progress::Progress, services};

/// How often it says how much is done.
const SAY: u64 = 100;

/// Works until it is told to stop.
pub(crate) async fn run(args: &Args) -> Result<(), Error> {
    let bus = open(args)?;
    let accident = Arc::new(Accident::new(0));
    let journal = Journal::create(None, Arc::clone(&accident), false)?;
    let stop = CancellationToken::new();
    let mut crew = Crew::new(bus.clone(), args.members, accident, stop.clone());
    let progress = Progress::new();
    services::sell(&mut crew, &bus, &journal, &progress).await?;
    let mut handled = journal.follow();
    let mut said = 0;
    let mut told = std::pin::pin!(told_to_stop());
    loop {
        tokio::select! {
            ended = crew.done() => return ended.and(Err("the services ended before they were told to".into())),
            signal = &mut told => break signal?,
            _ = handled.changed() => {
                let done = progress.charged.position();
                if done >= said + SAY {
                    said = done;
                    writeln!(stdout(), "{done}")?;
                }
            }
        }
    }
    stop.cancel();
    crew.done().await?;
    Ok(bus.close().await?)
}

#[cfg(unix)]
async fn told_to_stop() -> std::io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = terminate.recv() => Ok(()),
        interrupt = tokio::signal::ctrl_c() => interrupt,
    }
}

#[cfg(not(unix))]
async fn told_to_stop() -> std::io::Result<()> {
    tokio::signal::ctrl_c().await
}
