/// Entries of a batch, by their places: of the first 512.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entries([u64; 8]);

impl Entries {
    /// Whether the entry at this place is one of them.
    pub fn contains(&self, place: usize) -> bool {
        self.0.get(place / 64).is_some_and(|bits| bits & (1 << (place % 64)) > 0)
    }
}

/// Those whose bits are set.
impl From<u32> for Entries {
    fn from(bits: u32) -> Self {
        Self([bits.into(), 0, 0, 0, 0, 0, 0, 0])
    }
}

/// Those at these places. What is beyond the last that there can be is none.
impl FromIterator<usize> for Entries {
    fn from_iter<I: IntoIterator<Item = usize>>(places: I) -> Self {
        let mut entries = Self::default();
        for place in places {
            if let Some(bits) = entries.0.get_mut(place / 64) {
                *bits |= 1 << (place % 64);
            }
        }
        entries
    }
}
