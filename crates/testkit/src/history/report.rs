use super::Name;

/// What a [`History`](super::History) says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Messages that were said to be stored.
    pub stored: usize,
    /// Messages that were said not to be.
    pub not_stored: usize,
    /// Messages of which nobody knows.
    pub unknown: usize,
    /// Of those, how many turned up.
    pub recovered: usize,
    /// Attempts that began.
    pub attempts: usize,
    /// Attempts that failed.
    pub failed: usize,
    /// Attempts whose claim was lost while they ran.
    pub lost_claims: usize,
    /// How often a message was processed that had been before.
    pub duplicates: usize,
    /// Stored, and never processed.
    pub lost: Vec<Name>,
    /// Processed, and never sent.
    pub unexpected: Vec<Name>,
    /// Processed, although it was said not to be stored.
    pub aborted_reads: Vec<Name>,
    /// Begun before one that was sent before it with the same key was done.
    pub inversions: Vec<Name>,
    /// Begun while another of the same key ran whose claim was held.
    pub overlaps: Vec<Name>,
    /// Processes that closed.
    pub closes: usize,
    /// Of those, how many held at least a hundred messages.
    pub full: usize,
    /// Of those that closed, how many were out of time.
    pub forced: usize,
    /// Processes that were killed.
    pub kills: usize,
    /// Messages that were processed again after their process was killed, or out of time.
    pub replayed_after_crashes: usize,
    /// What was wrong with how processes went: what they kept, how long they took, what was processed again.
    pub bad_ends: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong. Duplicates are allowed, since delivery is at least once, but not more than a crash explains.
    pub fn is_valid(&self) -> bool {
        [&self.lost, &self.unexpected, &self.aborted_reads, &self.inversions, &self.overlaps]
            .iter()
            .all(|wrong| wrong.is_empty())
            && self.bad_ends.is_empty()
    }
}
