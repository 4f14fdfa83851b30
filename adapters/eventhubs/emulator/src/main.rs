//! Runs an emulator by a TOML file, until SIGINT or SIGTERM.

use std::{
    io::{Write as _, stdout},
    path::PathBuf,
    process::ExitCode,
};

use strait_eventhubs_emulator::{Config, Emulator, HubSettings};
use tokio::signal::unix::{SignalKind, signal};

const USAGE: &str = "usage: strait-eventhubs-emulator [--config FILE] [--listen ADDRESS] [--control ADDRESS] [--hub NAME[:PARTITIONS]]..";

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            eprintln!("strait-eventhubs-emulator: {reason}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), String> {
    let config = configuration()?;
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| error.to_string())?;
    let names: Vec<_> = config.hubs.iter().map(|hub| hub.name.clone()).collect();
    let emulator = Emulator::start(config).await.map_err(|error| error.to_string())?;
    let mut lines = vec![format!("listening on {}", emulator.address())];
    lines.extend(emulator.control().map(|control| format!("control on http://{control}")));
    lines.extend(names.iter().map(|name| emulator.connection_string(name)));
    writeln!(stdout(), "{}", lines.join("\n")).map_err(|error| error.to_string())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    emulator.shutdown().await;
    Ok(())
}

fn configuration() -> Result<Config, String> {
    use lexopt::prelude::{Long, ValueExt as _};
    let wrong = |error: lexopt::Error| format!("{error}\n{USAGE}");
    let (mut file, mut listen, mut control, mut hubs) = (None, None, None, Vec::new());
    let mut arguments = lexopt::Parser::from_env();
    while let Some(argument) = arguments.next().map_err(wrong)? {
        let name = match argument {
            Long(name) => name.to_owned(),
            other => return Err(wrong(other.unexpected())),
        };
        let value = arguments.value().map_err(wrong)?;
        match name.as_str() {
            "config" => file = Some(PathBuf::from(value)),
            "listen" => listen = Some(value.parse().map_err(wrong)?),
            "control" => control = Some(value.parse().map_err(wrong)?),
            "hub" => hubs.push(value.string().map_err(wrong)?),
            _ => return Err(format!("there is no --{name}\n{USAGE}")),
        }
    }
    let mut config = match file {
        Some(file) => Config::read(&file).map_err(|error| error.to_string())?,
        None => Config::default(),
    };
    config.listen = listen.unwrap_or(config.listen);
    config.control = control.or(config.control);
    for hub in hubs {
        let (name, partitions) = hub.split_once(':').unwrap_or((&hub, "4"));
        let partitions =
            partitions.parse().map_err(|_| format!("{partitions:?} is no number of partitions\n{USAGE}"))?;
        config.hubs.push(HubSettings::new(name, partitions));
    }
    Ok(config)
}
