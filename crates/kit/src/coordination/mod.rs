//! Who of several processes reads which partition of a log.
//!
//! Members write rows of a [`RowStore`](crate::RowStore) and read them: there is no server, no clock that they share, no
//! transaction. `docs/coordination.md` says how, and what each failure costs. [`Machine`] is the protocol as a pure state
//! machine, which the simulation runs; [`Coordinator`] runs it over a store, as the [`Ownership`](crate::Ownership) of a
//! [`LogConsumer`](crate::LogConsumer).
//!
//! The rooms: `admission` says whether the rows are those of this log, `life` and `membership` are this process's own,
//! `members` what it knows of the others, `plan` and `rebalance` who is to own what, `partitions` what it takes, `commits`
//! what it writes of what it holds, `reshard` what becomes of parents and children, `audit` what it mends.

mod admission;
mod audit;
mod calls;
mod commits;
mod coordinator;
mod driver;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod life;
mod machine;
mod members;
mod membership;
mod packed;
mod partitions;
mod plan;
mod rebalance;
mod reshard;
mod rows;
mod settings;

pub use calls::{Call, Event, Now, Output, Reply};
pub use coordinator::Coordinator;
pub use machine::Machine;
pub use rebalance::rebalance;
pub use settings::CoordinatorSettings;
