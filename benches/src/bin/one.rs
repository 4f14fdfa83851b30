//! `one CASE MESSAGES`: runs one case on a current-thread runtime and ends with its last message.
//!
//! Made to be run under Valgrind with two numbers of messages: what happens once cancels out of the difference.

use std::{env, process, sync::Arc};

use strait_benches::{Case, Clock, run};

fn main() -> Result<(), String> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [case, messages] = &arguments[..] else { return Err("usage: one CASE MESSAGES".into()) };
    let case: Case = case.parse()?;
    let messages = messages.parse().map_err(|error| format!("{messages}: {error}"))?;
    let clock = Arc::new(Clock::new(messages, || process::exit(0)));
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| error.to_string())?;
    runtime.block_on(async move { tokio::spawn(run(case, clock)).await }).map_err(|error| error.to_string())
}
