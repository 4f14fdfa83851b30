use bytes::{Buf as _, BufMut as _, Bytes};

/// A header, as it is packed: two bytes for the length of its name, four for that of its value, both big-endian.
type Header<'a> = (&'a str, &'a Bytes);

/// The longest name that can be packed.
pub(super) const LONGEST_NAME: usize = u16::MAX as usize;

/// How many bytes these take, packed.
pub(super) fn size(headers: &[Header<'_>]) -> usize {
    headers.iter().map(|(name, value)| 6 + name.len() + value.len()).sum()
}

/// Packs headers, whose names are not longer than [`LONGEST_NAME`].
pub(super) fn pack(headers: &[Header<'_>]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(size(headers));
    for (name, value) in headers {
        packed.put_u16(u16::try_from(name.len()).unwrap_or(u16::MAX));
        packed.put_slice(name.as_bytes());
        packed.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
        packed.put_slice(value);
    }
    packed
}

/// What was packed; `None` if it was not.
pub(super) fn unpack(mut packed: Bytes) -> Option<Vec<(String, Bytes)>> {
    let mut headers = Vec::new();
    while packed.has_remaining() {
        let length = usize::from(packed.try_get_u16().ok()?);
        let name = String::from_utf8(take(&mut packed, length)?.to_vec()).ok()?;
        let length = usize::try_from(packed.try_get_u32().ok()?).ok()?;
        headers.push((name, take(&mut packed, length)?));
    }
    Some(headers)
}

/// Panics unless what can be unpacked is packed as it was.
#[cfg(any(test, fuzzing))]
pub(crate) fn packed_as_read(bytes: &[u8]) {
    if let Some(headers) = unpack(Bytes::copy_from_slice(bytes)) {
        let borrowed: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
        assert!(pack(&borrowed) == bytes, "headers are packed otherwise than they were");
    }
}

fn take(bytes: &mut Bytes, length: usize) -> Option<Bytes> {
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn comes_out_as_it_went_in(headers: Vec<(String, Vec<u8>)>) {
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name, Bytes::from(value))).collect();
            let borrowed: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value)).collect();
            let packed = pack(&borrowed);
            prop_assert_eq!(packed.len(), size(&borrowed));
            prop_assert_eq!(unpack(packed.into()), Some(headers));
        }

        #[test]
        fn what_was_not_packed_is_seen_and_never_panics(bytes: Vec<u8>) {
            packed_as_read(&bytes);
        }
    }
}
