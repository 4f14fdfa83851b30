//! How a row is written down where whole files or objects are kept.

use bytes::{BufMut, Bytes, BytesMut};
use strait_core::{Error, ErrorKind, Result};
use uuid::Uuid;

/// Most bytes of a value in a file or an object.
pub(crate) const LONGEST_VALUE: usize = 1 << 20;

/// What every record begins with: whose it is, and the form.
const MAGIC: &[u8] = b"strait-row 1 ";

/// Bytes before the value: the magic, a fresh UUID as text, and a line end, so that people can read them.
pub(crate) const HEAD: usize = MAGIC.len() + 36 + 1;

/// Refuses a value that is too long.
pub(crate) fn check(value: &Bytes, longest: usize) -> Result<()> {
    if value.len() <= longest {
        return Ok(());
    }
    let message = format!("leases: the value of a row has {} bytes; {longest} fit", value.len());
    Err(Error::new(ErrorKind::Invalid, message))
}

/// The record of `value`, under a nonce that was never used before.
///
/// The nonce makes equal values different: where the store names a version by its content, a version would come back.
pub(crate) fn encode(nonce: Uuid, value: &Bytes) -> Bytes {
    let mut record = BytesMut::with_capacity(HEAD + value.len());
    record.put_slice(MAGIC);
    record.put_slice(nonce.hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    record.put_u8(b'\n');
    record.put_slice(value);
    record.freeze()
}

/// The nonce that a record begins with; `None` if it is none of ours.
pub(crate) fn nonce(record: &[u8]) -> Option<Uuid> {
    let text = record.get(..HEAD)?.strip_prefix(MAGIC)?.strip_suffix(b"\n")?;
    Uuid::try_parse_ascii(text).ok()
}

/// The value of a record; `None` if it is none of ours.
pub(crate) fn value(record: &Bytes) -> Option<Bytes> {
    nonce(record)?;
    Some(record.slice(HEAD..))
}

/// Something else lies where a row should be.
pub(crate) fn foreign(place: &str) -> Error {
    Error::new(ErrorKind::Other, format!("leases: {place}: what lies in the place of a row is not one"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_make_different_records() {
        let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
        let records = [one, two].map(|nonce| encode(nonce, &Bytes::from_static(b"same")));
        assert_ne!(records[0], records[1]);
        for (record, its) in records.iter().zip([one, two]) {
            assert_eq!(nonce(record), Some(its));
            assert_eq!(value(record).as_deref(), Some(&b"same"[..]));
        }
        assert_eq!(value(&encode(one, &Bytes::new())).as_deref(), Some(&b""[..]));
    }

    #[test]
    fn what_is_not_ours_has_no_value() {
        let record = encode(Uuid::new_v4(), &Bytes::from_static(b"x"));
        for other in [Bytes::new(), record.slice(..HEAD - 1), record.slice(1..), Bytes::from(vec![0; 100])] {
            assert_eq!(value(&other), None);
        }
    }
}
