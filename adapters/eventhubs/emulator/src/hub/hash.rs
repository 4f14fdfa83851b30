//! Where the service puts a partition key: Bob Jenkins' lookup3, folded into 16 bits.

/// The hash of a key, as Azure's clients compute it who choose the partition themselves.
pub(crate) fn hash(key: &str) -> i16 {
    if key.is_empty() {
        return 0;
    }
    let (c, b) = lookup3(key.as_bytes());
    let [.., high, low] = (c ^ b).to_be_bytes();
    i16::from_be_bytes([high, low])
}

/// The partition of a key, of so many.
///
/// The remainder is that of .NET, Java and JavaScript, which is 0 or has the sign of the hash. Azure's buffered producer
/// for Python takes the other one, and so chooses another partition where the hash is negative.
pub(crate) fn partition(key: &str, count: usize) -> usize {
    let count = i32::try_from(count.max(1)).unwrap_or(i32::MAX);
    usize::try_from((i32::from(hash(key)) % count).abs()).unwrap_or(0)
}

/// `hashlittle2` with both seeds 0: the primary hash, and the secondary.
fn lookup3(key: &[u8]) -> (u32, u32) {
    let length = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let start = 0xdead_beef_u32.wrapping_add(length);
    let (mut a, mut b, mut c) = (start, start, start);
    let mut left = key;
    while left.len() > 12 {
        let (block, rest) = left.split_at(12);
        (a, b, c) = mix(add(a, block, 0), add(b, block, 4), add(c, block, 8));
        left = rest;
    }
    let (a, b, c) = (add(a, left, 0), add(b, left, 4), add(c, left, 8));
    if left.is_empty() { (c, b) } else { last(a, b, c) }
}

/// Adds four bytes from there, little-endian; what is missing is 0.
fn add(to: u32, block: &[u8], from: usize) -> u32 {
    let mut bytes = [0; 4];
    for (byte, &value) in bytes.iter_mut().zip(block.iter().skip(from)) {
        *byte = value;
    }
    to.wrapping_add(u32::from_le_bytes(bytes))
}

fn mix(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32, u32) {
    for [first, second, third] in [[4, 6, 8], [16, 19, 4]] {
        a = a.wrapping_sub(c) ^ c.rotate_left(first);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(second);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(third);
        b = b.wrapping_add(a);
    }
    (a, b, c)
}

fn last(mut a: u32, mut b: u32, mut c: u32) -> (u32, u32) {
    c = (c ^ b).wrapping_sub(b.rotate_left(14));
    a = (a ^ c).wrapping_sub(c.rotate_left(11));
    b = (b ^ a).wrapping_sub(a.rotate_left(25));
    c = (c ^ b).wrapping_sub(b.rotate_left(16));
    a = (a ^ c).wrapping_sub(c.rotate_left(4));
    b = (b ^ a).wrapping_sub(a.rotate_left(14));
    c = (c ^ b).wrapping_sub(b.rotate_left(24));
    (c, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From azure-eventhub 5.15.1 for Python, `generate_hash_code`.
    #[test]
    fn hashes_are_those_of_azures_client_for_python() {
        for (key, expected) in [
            ("", 0),
            ("a", -16220),
            ("7", -15263),
            ("customer-7", -22770),
            ("1234567890ab", 8720),
            ("7149583486996073602", 12977),
            ("FWfAT", -22341),
            ("sOdeEAsyQoEuEFPGerWO", -6503),
            ("XTmcEfmcEPGerWOsOdeEAsyQoEuEFPGerWO", -22343),
            ("order-000042", -24090),
            ("The quick brown fox jumps over the lazy dog", -31937),
        ] {
            assert_eq!(hash(key), expected, "{key}");
        }
    }

    /// From @azure/event-hubs 6.0.4, `hashPartitionKey`: Python's takes characters for bytes.
    #[test]
    fn keys_that_are_not_ascii_are_hashed_as_utf_8() {
        assert_eq!(hash("ключ 7"), 13774);
    }

    /// From the same, `mapPartitionKeyToId`.
    #[test]
    fn the_partition_is_that_of_azures_client_for_javascript() {
        for (key, of_4, of_32) in [("a", 0, 28), ("7", 3, 31), ("FWfAT", 1, 5), ("7149583486996073602", 1, 17)] {
            assert_eq!((partition(key, 4), partition(key, 32)), (of_4, of_32), "{key}");
        }
    }
}
