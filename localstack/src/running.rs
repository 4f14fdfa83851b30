use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{self, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Mutex, MutexGuard, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

use crate::{Emulator, cache, installed, ready};

/// How long one may take until it serves: seconds, but much longer on a busy machine.
const PATIENCE: Duration = Duration::from_secs(180);

/// An emulator that runs. It ends when this is dropped, and when the process ends, however that ends: a guard beside it
/// holds the other end of a pipe.
#[derive(Debug)]
pub struct Running {
    emulator: Emulator,
    port: u16,
    pipe: Option<ChildStdin>,
    /// Told once. Locked, so that this can be kept where threads share it.
    ended: Mutex<Receiver<ExitStatus>>,
}

impl Running {
    /// Which it is.
    pub fn emulator(&self) -> Emulator {
        self.emulator
    }

    /// Where it listens, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn end(&self) -> MutexGuard<'_, Receiver<ExitStatus>> {
        self.ended.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at most so long for it to end by itself.
    pub fn ended(&self, time: Duration) -> Option<String> {
        match self.end().recv_timeout(time) {
            Ok(status) => Some(format!("{} ended: {status}", self.emulator.name())),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(format!("{} ended", self.emulator.name())),
        }
    }
}

impl Drop for Running {
    /// Tells the guard, and waits until nothing is left: at most 20 s or so.
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.end().recv(); // there is none any more if it had ended before
    }
}

/// Starts an emulator on a free port, and waits until it serves: 2 to 20 s.
///
/// # Errors
///
/// It is not installed, or ended, or did not serve within three minutes.
pub fn start(emulator: Emulator) -> Result<Running, String> {
    let installed = installed(emulator)?;
    let mut last = String::new();
    // Between our asking for a free port and its taking it, somebody else may have it.
    for _ in 0..3 {
        match try_start(emulator, &installed) {
            Ok(running) => return Ok(running),
            Err(reason) => last = reason,
        }
    }
    Err(last)
}

fn try_start(emulator: Emulator, installed: &Path) -> Result<Running, String> {
    let failed = |error: std::io::Error| format!("{} cannot be started: {error}", emulator.name());
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).map_err(failed)?.port();
    let folder = cache::folder()?.join("run").join(format!("{}-{}-{port}", emulator.name(), process::id()));
    fs::create_dir_all(&folder).map_err(failed)?;
    let scripts = cache::scripts(emulator);
    let mut child = Command::new("bash")
        .arg(scripts.with_file_name("guard.sh"))
        .arg(&folder)
        .arg("bash")
        .arg(scripts.join("start.sh"))
        .arg(installed)
        .arg(&folder)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        // An interrupt at the terminal is for us, who then tell the guard.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let pipe = child.stdin.take();
    let (tell, ended) = channel();
    thread::spawn(move || {
        if let Ok(status) = child.wait() {
            let _ = tell.send(status); // nobody listens any more if the process is about to end
        }
    });
    let running = Running { emulator, port, pipe, ended: Mutex::new(ended) };
    let start = Instant::now();
    while !ready::ask(emulator, port) {
        if let Some(reason) = running.ended(Duration::from_millis(100)) {
            return Err(reason);
        }
        if start.elapsed() > PATIENCE {
            return Err(format!("{} did not serve within {PATIENCE:?}", emulator.name()));
        }
    }
    Ok(running)
}
