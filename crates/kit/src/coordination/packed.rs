//! Compression of rows that are large: a plan, which each member reads at each poll.

use std::borrow::Cow;

use bytes::Bytes;
use miniz_oxide::{deflate::compress_to_vec_zlib, inflate::decompress_to_vec_zlib_with_limit};

/// Up to here a row stays as it is, for people to read: what `DynamoDB` bills as one read.
const PLAIN: usize = 4 << 10;

/// The most that a compressed row may become: the plan of some 200,000 partitions.
const MOST: usize = 16 << 20;

/// The usual compromise between size and time.
const LEVEL: u8 = 6;

/// JSON as it is stored: compressed by zlib if it is large.
pub(super) fn pack(json: Vec<u8>) -> Bytes {
    if json.len() <= PLAIN { json.into() } else { compress_to_vec_zlib(&json, LEVEL).into() }
}

/// The JSON of a value that is stored; `None` if it was compressed and cannot be read, or is too large.
pub(super) fn unpack(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    if is_compressed(value) {
        decompress_to_vec_zlib_with_limit(value, MOST).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(value))
    }
}

/// Zlib begins with its method, and JSON with a brace.
fn is_compressed(value: &[u8]) -> bool {
    value.first() == Some(&0x78)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_small_can_be_read_by_people() {
        let small = vec![b'{'; PLAIN];
        assert_eq!(pack(small.clone()), small);
        let large = vec![b'{'; PLAIN + 1];
        let packed = pack(large.clone());
        assert!(is_compressed(&packed) && packed.len() < 100, "{} bytes", packed.len());
        assert_eq!(unpack(&packed).as_deref(), Some(&*large));
    }

    #[test]
    fn what_becomes_too_large_is_not_read() {
        let most = compress_to_vec_zlib(&vec![b' '; MOST], LEVEL);
        assert_eq!(unpack(&most).map(|json| json.len()), Some(MOST));
        assert_eq!(unpack(&compress_to_vec_zlib(&vec![b' '; MOST + 1], LEVEL)), None);
    }

    proptest! {
        #[test]
        fn what_is_cut_or_spoilt_is_not_read(at in 0usize..200, byte in any::<u8>()) {
            let json: Vec<u8> = (0..2_000_u32).flat_map(u32::to_le_bytes).collect();
            let packed = pack(json.clone());
            let at = at.min(packed.len() - 1).max(1);
            prop_assert_eq!(unpack(&packed[..at]), None);
            let mut spoilt = packed.to_vec();
            spoilt[at] = byte;
            prop_assert!(spoilt == packed || unpack(&spoilt).as_deref() != Some(&*json));
        }
    }
}
