use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{Error, ErrorKind, Result};

/// A message's name: a UUID, the same on every attempt to send it.
///
/// A sender stamps a `UUIDv7` on a message that has none. Consumers deduplicate by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; 16]);

impl Id {
    /// How many bytes its text has, as `Display` writes it.
    pub const TEXT_BYTES: usize = 36;

    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The id that these parts always give, in every process: a `UUIDv8` of their FNV-1a hash. Other parts give another,
    /// as far as nobody tries to find some that do not.
    pub fn derived<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        const START: u128 = 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d;
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        let hash = |hash: u128, byte: &u8| (hash ^ u128::from(*byte)).wrapping_mul(PRIME);
        let whole = parts.into_iter().fold(START, |all, part| {
            // The length first, so that no two lists of parts are the same bytes.
            let length = (part.len() as u64).to_be_bytes();
            part.iter().fold(length.iter().fold(all, hash), hash)
        });
        Self(Uuid::from_u128(whole).into_bytes()).of_version_8()
    }

    fn of_version_8(mut self) -> Self {
        self.0[6] = (self.0[6] & 0x0f) | 0x80;
        self.0[8] = (self.0[8] & 0x3f) | 0x80;
        self
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Uuid::from_bytes(self.0).hyphenated(), f)
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Id({self})")
    }
}

impl FromStr for Id {
    type Err = Error;

    /// Reads the usual forms of a UUID.
    fn from_str(text: &str) -> Result<Self> {
        let id = Uuid::try_parse(text)
            .map_err(|cause| Error::new(ErrorKind::Invalid, "id: is not a UUID").with_source(cause))?;
        Ok(Self(id.into_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        let id = Id::from_bytes([7; 16]);
        assert_eq!(id.to_string(), "07070707-0707-0707-0707-070707070707");
        assert_eq!(id.to_string().len(), Id::TEXT_BYTES);
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert_eq!("nonsense".parse::<Id>().unwrap_err().to_string(), "id: is not a UUID");
    }

    #[test]
    fn derived_ids_are_always_the_same_and_tell_their_parts_apart() {
        let of = |parts: &[&str]| Id::derived(parts.iter().map(|part| part.as_bytes()));
        assert_eq!(of(&["a", "b"]).to_string(), "cdbd74ee-3cae-8286-99a9-2573e4d3684c");
        let all = [of(&[]), of(&[""]), of(&["ab"]), of(&["a", "b"]), of(&["", "ab"]), of(&["b", "a"])];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one));
            assert_eq!((one.as_bytes()[6] >> 4, one.as_bytes()[8] >> 6), (8, 2));
        }
    }
}
