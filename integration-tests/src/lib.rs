//! The conformance suite on the memory backend, seeded chaos, attacks, and the proof that each case can fail.

pub mod memory;
