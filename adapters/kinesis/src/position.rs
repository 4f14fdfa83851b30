//! What positions in a shard are called.
//!
//! A record's own sequence number stands for a message that is the last of its record, so that reading goes on after it. One
//! before the last has its place in the record behind a dot, and reading goes on in that record.

use strait_core::Position;

/// The position of the message at `place` of a record of `count` messages.
pub(crate) fn position(sequence: &str, place: usize, count: usize) -> Position {
    if place + 1 >= count { Position::from(sequence) } else { Position::from(&*format!("{sequence}.{place}")) }
}
