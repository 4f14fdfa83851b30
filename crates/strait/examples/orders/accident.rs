//! An accident on the way: in each group one member dies without a word, and the others take over.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use tokio::task::AbortHandle;

/// Aborts the first member of each group once the group has handled so many messages.
#[derive(Debug)]
pub(crate) struct Accident {
    after: u64,
    groups: Mutex<HashMap<&'static str, Group>>,
}

#[derive(Debug)]
struct Group {
    handled: u64,
    victim: AbortHandle,
}

impl Accident {
    /// After `after` messages; never if that is 0.
    pub(crate) fn new(after: u64) -> Self {
        Self { after, groups: Mutex::default() }
    }

    /// Names the member of `group` that is to die.
    pub(crate) fn choose(&self, group: &'static str, victim: AbortHandle) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group, Group { handled: 0, victim });
    }

    /// `group` handled one more message.
    pub(crate) fn count(&self, group: &'static str) {
        if let Some(group) = self.groups.lock().unwrap_or_else(PoisonError::into_inner).get_mut(group) {
            group.handled += 1;
            if group.handled == self.after {
                group.victim.abort();
            }
        }
    }
}
