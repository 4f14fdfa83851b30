use std::{ops::RangeInclusive, sync::Arc};

/// A partition of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its name.
    pub id: Arc<str>,
    /// The partitions that it was split or merged from.
    pub parents: Vec<Arc<str>>,
    /// Whether nothing is stored in it any more: it was split or merged.
    pub closed: bool,
    /// The hashes of the keys that it has, where the provider tells. No two open partitions have the same.
    pub hashes: Option<RangeInclusive<u128>>,
}

impl Partition {
    /// An open partition without parents, whose hashes are not known.
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self { id: id.into(), parents: Vec::new(), closed: false, hashes: None }
    }

    /// Says what it was split or merged from.
    pub fn with_parents<P: Into<Arc<str>>>(mut self, parents: impl IntoIterator<Item = P>) -> Self {
        self.parents = parents.into_iter().map(Into::into).collect();
        self
    }

    /// Says whether it was split or merged.
    pub fn with_closed(mut self, closed: bool) -> Self {
        self.closed = closed;
        self
    }

    /// Says which hashes are its own.
    pub fn with_hashes(mut self, hashes: RangeInclusive<u128>) -> Self {
        self.hashes = Some(hashes);
        self
    }
}

/// What became of a partition in which nothing is stored any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Became {
    /// It was split or merged into these. None if what it became is not known yet: it has not ended before it is.
    Children(Vec<Partition>),
    /// Nothing: it was removed, and keys that it had need not go on elsewhere.
    Nothing,
}

impl Became {
    /// Whether it is not known yet.
    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self, Self::Children(children) if children.is_empty())
    }
}
