//! A shop's order system: placement, payment, shipping and order management, on whatever channels the configuration
//! names. It checks itself: exit status 1 when anything is lost, out of order or wrong.

mod accident;
mod args;
mod crew;
mod events;
mod expected;
mod intake;
mod join;
mod journal;
mod management;
mod payment;
mod placement;
mod progress;
mod report;
mod services;
mod shipping;
mod store;
mod storefront;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use strait::Bus;
use strait_testkit::served::Served;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use accident::Accident;
use args::Args;
use crew::Crew;
use expected::Expected;
use intake::Intake;
use journal::Journal;
use management::Management;
use progress::Progress;
use report::Report;
use store::Store;

type Error = Box<dyn std::error::Error + Send + Sync>;

const CONFIG: &str = include_str!("strait.toml");

/// How long nothing may be handled before what is missing counts as lost.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::parse(lexopt::Parser::from_env()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            eprint!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprint!("orders: {error}\n\n{}", args::USAGE);
            return ExitCode::from(2);
        }
    };
    let done = if args.join { join::run(&args).await.map(|()| None) } else { run(&args).await.map(Some) };
    match done {
        Ok(None) => ExitCode::SUCCESS,
        Ok(Some(report)) => {
            report.print(args.json);
            if report.is_right() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            eprintln!("orders: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: &Args) -> Result<Report, Error> {
    let intake = Intake::open(args.orders.as_deref())?;
    let bus = open(args)?;
    let database = args.dump.as_deref().map(new_folder).transpose()?.map(|folder| folder.join("orders.sqlite"));
    let accident = Arc::new(Accident::new(args.accident));
    let journal = Journal::create(args.dump.as_deref(), Arc::clone(&accident), args.apart)?;
    let progress = Progress::new();
    let management = Management::new(Store::create(database.as_deref())?, journal.clone(), progress.clone());

    let stop = CancellationToken::new();
    let start = Instant::now();
    let mut crew = Crew::new(bus.clone(), args.members, accident, stop.clone());
    services::manage(&mut crew, &bus, &management, &journal, &progress, &stop).await?;
    if !args.apart {
        services::sell(&mut crew, &bus, &journal, &progress).await?;
    }
    let work = async {
        let expected = placement::place(intake, bus.sender("orders").await?, &progress).await?;
        wait(&journal, &progress, &expected).await;
        Ok::<_, Error>(expected)
    };
    let expected = tokio::select! {
        expected = work => expected,
        ended = crew.done() => ended.and(Err("the services ended before their work".into())),
        signal = tokio::signal::ctrl_c() => signal.map_err(Error::from).and(Err("interrupted".into())),
    };
    stop.cancel();
    crew.done().await?;
    let time = start.elapsed();
    bus.close().await?;
    journal.close()?;
    progress.end();
    let totals = management.store().totals()?;
    Ok(Report::new(crew.provider, &expected?, totals, &journal, time))
}

/// The channels that the configuration names: on what is compiled in, or on a log that processes share.
fn open(args: &Args) -> Result<Bus, Error> {
    let builder = Bus::builder(strait::enabled().with(Served));
    let builder = match &args.config[..] {
        [] => builder.text("strait.toml", CONFIG),
        files => files.iter().fold(builder, |builder, file| builder.files(file.as_path())),
    };
    Ok(builder.build()?)
}

/// Makes a folder that must not be there yet, or be empty.
fn new_folder(path: &Path) -> Result<&Path, Error> {
    let name = path.display();
    fs::create_dir_all(path).map_err(|error| format!("{name}: {error}"))?;
    if fs::read_dir(path)?.next().is_some() {
        return Err(format!("{name}: is not empty").into());
    }
    Ok(path)
}

/// Waits until every service handled everything that is expected of it.
async fn wait(journal: &Journal, progress: &Progress, expected: &Expected) {
    let mut handled = journal.follow();
    while !(progress.finished() >= expected.orders && journal.is_complete(expected)) {
        if timeout(PATIENCE, handled.changed()).await.is_err() {
            eprintln!("orders: nothing was handled for {PATIENCE:?}");
            return;
        }
    }
}
