use std::{collections::HashMap, mem};

use strait_core::Key;

/// The keys of which a message waits after it was throttled, and what they hold: at most half of the buffer, so that the
/// keys of other partitions have the rest.
#[derive(Debug)]
pub(in crate::sender) struct Throttled {
    /// How many bytes of the buffer each holds.
    keys: HashMap<Key, usize>,
    bytes: usize,
    most: usize,
    /// Whether a message was refused for want of room since one last left.
    refused: bool,
}

impl Throttled {
    pub(super) fn new(buffer_bytes: usize) -> Self {
        Self { keys: HashMap::new(), bytes: 0, most: buffer_bytes / 2, refused: false }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    pub(super) fn holds(&self, key: &Key) -> bool {
        self.keys.contains_key(key)
    }

    /// How many bytes of the buffer are held.
    pub(in crate::sender) fn bytes(&self) -> usize {
        self.bytes
    }

    /// A message of a key was throttled, which holds so many bytes.
    pub(super) fn begin(&mut self, key: Key, bytes: usize) {
        self.bytes += bytes;
        self.keys.insert(key, bytes);
    }

    /// Whether there is room for a message of this key. If not, [`leave`](Self::leave) tells of it.
    pub(super) fn has_room(&mut self, key: &Key, bytes: usize) -> bool {
        let fits = !self.holds(key) || self.bytes + bytes <= self.most;
        self.refused |= !fits;
        fits
    }

    /// A message of this key is accepted.
    pub(super) fn accept(&mut self, key: &Key, bytes: usize) {
        if let Some(held) = self.keys.get_mut(key) {
            *held += bytes;
            self.bytes += bytes;
        }
    }

    /// A message of this key has its outcome. Its key is throttled no more if it was the last, or if it was sent and little
    /// is held. Returns whether somebody waits for room.
    pub(super) fn leave(&mut self, key: &Key, bytes: usize, was_sent: bool) -> bool {
        let Some(held) = self.keys.get_mut(key) else { return false };
        *held -= bytes;
        self.bytes -= bytes;
        if *held == 0 || (was_sent && self.bytes <= self.most / 2) {
            self.bytes -= *held;
            self.keys.remove(key);
        }
        mem::take(&mut self.refused)
    }
}
