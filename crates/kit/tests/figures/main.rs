//! What `docs/coordination.md` says under "Measured": the real coordinator, `LogConsumer`, `Receiver` and `Worker`, over
//! rows and a log in memory, mostly on paused clocks. `cargo test -p strait-kit --test figures -- --nocapture` prints it.

mod blocked;
mod frozen;
mod group;
mod moves;
mod rows;
mod stream;
mod takeover;
