//! Where the service puts a partition key: Bob Jenkins' lookup3, folded into 16 bits. The emulator has its own, so that each
//! is checked by the other.

/// The partition of a key, of so many: the remainder of the signed hash, without its sign, as .NET, Java and JavaScript
/// compute it.
pub(crate) fn partition(key: &str, count: usize) -> usize {
    let count = i32::try_from(count.max(1)).unwrap_or(i32::MAX);
    (i32::from(hash(key.as_bytes())) % count).unsigned_abs() as usize
}

#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "the hash is the low 16 bits, signed")]
fn hash(key: &[u8]) -> i16 {
    let (primary, secondary) = lookup3(key);
    (primary ^ secondary) as u16 as i16
}

/// `hashlittle2` with both seeds 0.
fn lookup3(key: &[u8]) -> (u32, u32) {
    let start = 0xdead_beef_u32.wrapping_add(u32::try_from(key.len()).unwrap_or(u32::MAX));
    let (mut a, mut b, mut c) = (start, start, start);
    // The last block, which may be whole, is mixed in another way.
    let whole = key.len().saturating_sub(1) / 12;
    let (blocks, last) = key.split_at(whole * 12);
    for block in blocks.chunks_exact(12) {
        (a, b, c) = add(block, a, b, c);
        for [first, second, third] in [[4, 6, 8], [16, 19, 4]] {
            a = a.wrapping_sub(c) ^ c.rotate_left(first);
            c = c.wrapping_add(b);
            b = b.wrapping_sub(a) ^ a.rotate_left(second);
            a = a.wrapping_add(c);
            c = c.wrapping_sub(b) ^ b.rotate_left(third);
            b = b.wrapping_add(a);
        }
    }
    if last.is_empty() {
        return (c, b);
    }
    (a, b, c) = add(last, a, b, c);
    for [first, second, third] in [[14, 11, 25], [16, 4, 14]] {
        c = (c ^ b).wrapping_sub(b.rotate_left(first));
        a = (a ^ c).wrapping_sub(c.rotate_left(second));
        b = (b ^ a).wrapping_sub(a.rotate_left(third));
    }
    ((c ^ b).wrapping_sub(b.rotate_left(24)), b)
}

/// Adds a block of up to twelve bytes, little-endian; what is missing is 0.
fn add(block: &[u8], a: u32, b: u32, c: u32) -> (u32, u32, u32) {
    let mut words = [0; 3];
    for (place, byte) in block.iter().enumerate() {
        words[place / 4] |= u32::from(*byte) << (8 * (place % 4));
    }
    (a.wrapping_add(words[0]), b.wrapping_add(words[1]), c.wrapping_add(words[2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From azure-eventhub 5.15.1 for Python, `generate_hash_code`; the last from @azure/event-hubs 6.0.4,
    /// `hashPartitionKey`, since Python's takes characters for bytes.
    #[test]
    fn hashes_are_those_of_azures_clients() {
        for (key, expected) in [
            ("", 0),
            ("a", -16220),
            ("customer-7", -22770),
            ("1234567890ab", 8720),
            ("7149583486996073602", 12977),
            ("sOdeEAsyQoEuEFPGerWO", -6503),
            ("XTmcEfmcEPGerWOsOdeEAsyQoEuEFPGerWO", -22343),
            ("The quick brown fox jumps over the lazy dog", -31937),
            ("ключ 7", 13774),
        ] {
            assert_eq!(hash(key.as_bytes()), expected, "{key}");
        }
    }

    /// From the same, `mapPartitionKeyToId`.
    #[test]
    fn the_partition_is_that_of_azures_client_for_javascript() {
        for (key, of_4, of_32) in [("a", 0, 28), ("7", 3, 31), ("FWfAT", 1, 5), ("7149583486996073602", 1, 17)] {
            assert_eq!((partition(key, 4), partition(key, 32)), (of_4, of_32), "{key}");
        }
    }
}
