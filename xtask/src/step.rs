use std::{
    fmt, fs,
    process::Command,
    time::{Duration, Instant},
};

/// Runs one step after the other. Prints as a table of what each took.
#[derive(Debug, Default)]
pub(crate) struct Steps(Vec<Step>);

#[derive(Debug)]
struct Step {
    name: String,
    elapsed: Duration,
    /// Of its processes and all that they waited for, where the system tells.
    processor: Option<Duration>,
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
        eprintln!("== {}. {name}", self.0.len() + 1);
        let (start, used) = (Instant::now(), processor_time());
        let outcome = step().map_err(|reason| format!("{name} failed: {reason}"));
        let elapsed = start.elapsed();
        let processor = processor_time().zip(used).map(|(now, before)| now.saturating_sub(before));
        let used =
            processor.map_or_else(String::new, |time| format!(", of processor time {:.0} s", time.as_secs_f64()));
        eprintln!("== {name}: {:.0} s{used}", elapsed.as_secs_f64());
        self.0.push(Step { name: name.to_owned(), elapsed, processor });
        outcome
    }
}

impl fmt::Display for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |name: &str, elapsed: Duration, processor: Option<Duration>| {
            let processor = processor.map_or_else(|| "-".to_owned(), |time| format!("{:.0}", time.as_secs_f64()));
            writeln!(f, "{name:<56} {:>8.0} {processor:>10}", elapsed.as_secs_f64())
        };
        for step in &self.0 {
            line(&step.name, step.elapsed, step.processor)?;
        }
        line("all", self.0.iter().map(|step| step.elapsed).sum(), self.0.iter().map(|step| step.processor).sum())?;
        write!(f, "{:<56} {:>8} {:>10}", "", "seconds", "processor")
    }
}

/// What the children of this process that have ended have used of the processors, as Linux counts it: in hundredths.
fn processor_time() -> Option<Duration> {
    children(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// The 16th and 17th field of `/proc/PID/stat`. The second is a name, in parentheses, and may have any character in it.
fn children(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks()? + ticks()?) * 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_that_of_the_children() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 1 2 3 4 100 200 1500 250 20 0 1 0 9";
        assert_eq!(children(stat), Some(Duration::from_millis(17_500)));
        assert_eq!(children("7 (a) S 1 7"), None);
    }

    #[test]
    fn a_step_that_fails_is_named_and_in_the_table() {
        let mut steps = Steps::default();
        assert_eq!(steps.check("first", || Ok(())), Ok(()));
        assert_eq!(steps.check("second", || Err("why".to_owned())), Err("second failed: why".to_owned()));
        let table = steps.to_string();
        assert!(table.contains("first") && table.contains("second"), "{table}");
    }
}
