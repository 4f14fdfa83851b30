use std::{fmt, sync::Arc};

use bytes::Bytes;

/// Metadata beside the payload: an ordered multimap from names to bytes.
///
/// One word wide. Empty ones own nothing, and clones share until one of them is changed.
///
/// What is received must be representable, so any name and any value is. What *every* provider carries is narrower, the
/// *portable subset*: names `[a-z0-9][a-z0-9._-]{0,99}`, not beginning with `strait-`, `aws.`, `amazon.` or `goog`, once
/// each; values of UTF-8, 1 to 1,024 bytes. A sender refuses what its provider cannot carry, and names the header;
/// of a message that was [received and is sent on](crate::Message::is_onward) it leaves it out.
///
/// `Debug` shows names and lengths only.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Option<Arc<List>>);

type List = Vec<(Arc<str>, Bytes)>;

impl Headers {
    /// The first value of `name`.
    pub fn get(&self, name: &str) -> Option<&Bytes> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }

    /// The first value of `name`, if it is UTF-8.
    pub fn get_str(&self, name: &str) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Sets the only value of `name`, in the place of its first one.
    pub fn insert(&mut self, name: impl Into<Arc<str>>, value: impl Into<Bytes>) {
        let (name, mut value) = (name.into(), Some(value.into()));
        let list = self.list();
        list.retain_mut(|(other, old)| {
            if *other != name {
                return true;
            }
            value.take().map(|value| *old = value).is_some()
        });
        list.extend(value.map(|value| (name, value)));
    }

    /// Adds a value, beside those that `name` has.
    pub fn append(&mut self, name: impl Into<Arc<str>>, value: impl Into<Bytes>) {
        self.list().push((name.into(), value.into()));
    }

    /// Removes all values of `name`. Returns whether there was one.
    pub fn remove(&mut self, name: &str) -> bool {
        let found = self.get(name).is_some();
        if found {
            self.list().retain(|(other, _)| &**other != name);
        }
        found
    }

    /// Keeps only those for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &Bytes) -> bool) {
        if !self.is_empty() {
            self.list().retain(|(name, value)| keep(name, value));
        }
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0.iter().flat_map(|list| list.iter()).map(|(name, value)| (&**name, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.len())
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes names and values have.
    #[inline]
    pub fn size(&self) -> usize {
        self.0.as_ref().map_or(0, |list| list.iter().map(|(name, value)| name.len() + value.len()).sum())
    }

    fn list(&mut self) -> &mut List {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl<N: Into<Arc<str>>, V: Into<Bytes>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        let list: List = pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self((!list.is_empty()).then(|| Arc::new(list)))
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter().map(|(name, value)| (name, value.len()))).finish()
    }
}

/// The headers that this library writes itself. Names that begin with `strait-` are reserved for it.
pub mod reserved {
    /// What all of them begin with.
    pub const PREFIX: &str = "strait-";
    /// What those of a dead letter begin with.
    pub const DEAD_LETTER_PREFIX: &str = "strait-dead-letter-";
    /// The id of the message that this one was made from.
    pub const CAUSE: &str = "strait-cause";
    /// How often the message was sent again from the dead letters.
    pub const REDRIVE: &str = "strait-redrive";
    /// Which dead letter the message was the last time, by its [dedup id](crate::Message::dedup_id).
    pub const REDRIVE_OF: &str = "strait-redrive-of";
    /// The names of headers that were left out, since the channel cannot carry them: in the order they had, with a comma
    /// between two. A long list is cut off.
    pub const LEFT_OUT: &str = "strait-left-out";
    /// The types that attributes have beside their values, where a provider has some: an object of JSON, by name.
    pub const TYPES: &str = "strait-types";
    /// Why the message is a dead letter.
    pub const REASON: &str = "strait-dead-letter-reason";
    /// How many attempts it had.
    pub const ATTEMPTS: &str = "strait-dead-letter-attempts";
    /// The receiver that could not process it, by its name in the configuration.
    pub const RECEIVER: &str = "strait-dead-letter-receiver";
    /// When it became a dead letter, by the clock of its process: `2026-01-31T12:00:00.000Z`.
    pub const TIME: &str = "strait-dead-letter-time";
    /// Where it was received from: `provider:source`.
    pub const SOURCE: &str = "strait-dead-letter-source";
    /// The partition it was received from, on a log.
    pub const PARTITION: &str = "strait-dead-letter-partition";
    /// Its position there.
    pub const POSITION: &str = "strait-dead-letter-position";
    /// The length of the payload before it was truncated.
    pub const TRUNCATED: &str = "strait-dead-letter-truncated";
    /// The key, where the channel of the dead letters cannot carry it.
    pub const KEY: &str = "strait-dead-letter-key";
    /// How often the message became a dead letter, this time included. A redrive begins anew.
    pub const DEATHS: &str = "strait-dead-letter-deaths";

    const OURS: [&str; 15] = [
        CAUSE, REDRIVE, REDRIVE_OF, LEFT_OUT, TYPES, REASON, ATTEMPTS, RECEIVER, TIME, SOURCE, PARTITION, POSITION,
        TRUNCATED, KEY, DEATHS,
    ];

    /// Whether this library wrote a header of this name, so that a sender lets it pass.
    pub fn is_ours(name: &str) -> bool {
        OURS.contains(&name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn insert_replaces_and_append_adds() {
        let mut headers = Headers::default();
        headers.insert("a", "1");
        headers.append("b", "2");
        headers.append("a", "3");
        let shared = headers.clone();
        headers.insert("a", "4");
        assert_eq!(headers.iter().collect::<Vec<_>>(), [("a", &Bytes::from("4")), ("b", &Bytes::from("2"))]);
        assert_eq!(shared.len(), 3, "a clone is not changed");
        assert!(headers.remove("a") && !headers.remove("a"));
        assert_eq!(headers.size(), 2);
    }

    #[test]
    fn debug_shows_no_value() {
        let headers: Headers = [("token", "hunter2")].into_iter().collect();
        assert_eq!(format!("{headers:?}"), r#"{"token": 7}"#);
        assert_eq!(size_of::<Headers>(), size_of::<usize>());
    }
}
