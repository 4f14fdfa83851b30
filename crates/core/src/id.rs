use std::{fmt, str::FromStr};

use uuid::Uuid;

use crate::{Error, ErrorKind, Result};

/// A message's name: a UUID, the same on every attempt to send it.
///
/// A sender stamps a `UUIDv7` on a message that has none. Consumers deduplicate by it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id([u8; 16]);

impl Id {
    /// The id with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
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
        assert_eq!(id.to_string().parse::<Id>().unwrap(), id);
        assert_eq!("nonsense".parse::<Id>().unwrap_err().to_string(), "id: is not a UUID");
    }
}
