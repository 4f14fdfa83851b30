use std::fmt;

/// Where an event is in its partition, in a form of its own: a position in bytes, and nothing that could be taken for a
/// sequence number.
///
/// Where the namespace is replicated, offsets are opaque to clients: the epoch of the primary stands before the position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset {
    pub(crate) position: u64,
    pub(crate) replicated: bool,
}

impl Offset {
    /// Reads what `Display` writes.
    pub(crate) fn parse(text: &str, replicated: bool) -> Option<Self> {
        let position = if replicated { text.strip_prefix("1:")? } else { text };
        position.parse().ok().map(|position| Self { position, replicated })
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.replicated {
            f.write_str("1:")?;
        }
        write!(f, "{}", self.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_are_read_as_they_are_written() {
        for (replicated, text) in [(false, "4294967296"), (true, "1:4294967296")] {
            let offset = Offset { position: 1 << 32, replicated };
            assert_eq!(offset.to_string(), text);
            assert_eq!(Offset::parse(text, replicated), Some(offset));
            assert_eq!(Offset::parse(text, !replicated), None);
        }
        assert_eq!(Offset::parse("-1", false), None);
    }
}
