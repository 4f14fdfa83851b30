use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// Which log it is, among all that there are and were.
///
/// A group's rows keep it, so that the group goes on with no other log: its positions would mean something else there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    name: Arc<str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    made: Option<Arc<str>>,
}

impl Identity {
    /// The log of this name, which no other has at the same time: for Kinesis the ARN of the stream.
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), made: None }
    }

    /// Says what tells it from one of the same name that was deleted before: mostly when it was made. Left out where that
    /// is not known.
    pub fn with_made(mut self, made: impl Into<Arc<str>>) -> Self {
        self.made = Some(made.into());
        self
    }

    /// Whether `other` is known to be another log.
    pub(crate) fn is_another(&self, other: &Self) -> bool {
        let made = self.made.as_ref().zip(other.made.as_ref());
        self.name != other.name || made.is_some_and(|(one, other)| one != other)
    }

    /// What is known of a log of which `stored` was known, and `told` is told now. The two are no others of each other.
    pub(crate) fn complete(stored: Option<&Self>, told: Option<&Self>) -> Option<Self> {
        let stored = stored.filter(|stored| stored.made.is_some() || told.is_none());
        stored.or(told).cloned()
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.made {
            Some(made) => write!(f, "{:?} (made {made})", self.name),
            None => write!(f, "{:?}", self.name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_of_a_log_makes_it_no_other() {
        let [one, two] = ["1", "2"].map(|made| Identity::new("orders").with_made(made));
        let unknown = Identity::new("orders");
        assert!(one.is_another(&two) && one.is_another(&Identity::new("bills").with_made("1")));
        assert!(!one.is_another(&unknown) && !unknown.is_another(&two));
        assert_eq!(Identity::complete(Some(&unknown), Some(&one)), Some(one.clone()));
        assert_eq!(Identity::complete(Some(&one), Some(&unknown)), Some(one.clone()));
        assert_eq!(Identity::complete(Some(&one), None), Some(one.clone()));
        assert_eq!(Identity::complete(None, Some(&unknown)), Some(unknown));
        assert_eq!(one.to_string(), "\"orders\" (made 1)");
    }
}
