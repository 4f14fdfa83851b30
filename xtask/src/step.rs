use std::{env, ffi::OsStr, process::Command, time::Instant};

/// The cargo that runs this, with these arguments.
pub(crate) fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

/// Runs one step after the other, and says how long each took.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    count: usize,
}

impl Steps {
    /// Runs a command to its end. The first that fails ends everything, by its name.
    pub(crate) fn run(&mut self, name: &str, command: &mut Command) -> Result<(), String> {
        self.check(name, || {
            let status = command.status().map_err(|error| format!("cannot be started: {error}"))?;
            if status.success() { Ok(()) } else { Err(status.to_string()) }
        })
    }

    /// Runs a step that is no command.
    pub(crate) fn check(&mut self, name: &str, step: impl FnOnce() -> Result<(), String>) -> Result<(), String> {
        self.count += 1;
        eprintln!("== {}. {name}", self.count);
        let start = Instant::now();
        let outcome = step().map_err(|reason| format!("{name} failed: {reason}"));
        eprintln!("== {name}: {:.0} s", start.elapsed().as_secs_f64());
        outcome
    }
}
