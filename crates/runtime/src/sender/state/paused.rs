use std::collections::HashSet;

use strait_core::Key;

/// Most keys that are paused one by one. Once there are more, all of them are.
const MOST: usize = 10_000;

/// The keys whose messages are refused until somebody resumes them.
#[derive(Debug, Default)]
pub(in crate::sender) struct Paused {
    keys: HashSet<Key>,
    /// Whether there are too many to be remembered one by one.
    all: bool,
}

impl Paused {
    pub(super) fn add(&mut self, key: Key) {
        if self.keys.len() < MOST || self.keys.contains(&key) {
            self.keys.insert(key);
        } else {
            self.all = true;
        }
    }

    /// Why a message of this key is refused, if it is.
    pub(super) fn refusal(&self, key: &Key) -> Option<&'static str> {
        if self.all {
            Some("all keys are paused, since too many are; resume them")
        } else if self.keys.contains(key) {
            Some("the key is paused after a message of it was not sent; resume it")
        } else {
            None
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty() && !self.all
    }

    pub(super) fn resume(&mut self, key: &Key) {
        self.keys.remove(key);
    }

    pub(super) fn resume_all(&mut self) {
        *self = Self::default();
    }

    pub(in crate::sender) fn len(&self) -> usize {
        self.keys.len()
    }

    pub(in crate::sender) fn list(&self) -> Vec<Key> {
        self.keys.iter().cloned().collect()
    }
}
