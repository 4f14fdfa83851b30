//! The emulator in a process of its own, so that the client is what is measured.

use std::{
    env,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    time::Duration,
};

use strait_eventhubs_emulator::{Access, Config, Emulator, HubSettings, Retention};
use tokio::task::spawn_blocking;

use crate::{HUB, PARTITIONS, Result};

/// The word by which this program is told to be the emulator.
pub(crate) const WORD: &str = "emulator";

/// The emulator's process, which ends with this one.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    /// Closed when this process ends, however it ends: then the emulator ends too.
    _stdin: Option<ChildStdin>,
    /// Its address.
    pub(crate) endpoint: String,
    /// The same, and as whom.
    pub(crate) connection_string: String,
}

impl Process {
    /// Starts it. Each request to send is settled after so many milliseconds.
    pub(crate) fn start(settle: u64) -> io::Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        let mut child =
            command.args([WORD, &settle.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or(io::ErrorKind::NotFound)?).read_line(&mut line)?;
        let (endpoint, connection_string) = line.trim().split_once(' ').ok_or(io::ErrorKind::InvalidData)?;
        Ok(Self {
            _stdin: child.stdin.take(),
            child,
            endpoint: endpoint.into(),
            connection_string: connection_string.into(),
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Says how it is reached, and serves until nobody holds its standard input.
pub(crate) async fn serve(settle: Duration) -> Result<()> {
    let retention = Retention { bytes: 128 << 20, ..Retention::default() };
    let hub = HubSettings { retention, ..HubSettings::new(HUB, PARTITIONS) };
    // A loop by hand brings no token.
    let config = Config { access: Access { open: true, ..Access::default() }, ..Config::default().hub(hub) };
    let emulator = Emulator::start(config).await?;
    emulator.faults().settle_after(settle);
    writeln!(io::stdout(), "{} {}", emulator.address(), emulator.connection_string(HUB))?;
    spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new())).await??;
    emulator.shutdown().await;
    Ok(())
}
