//! Values of AMQP 1.0 as bytes: where one ends, and whether it is well-formed. Nothing is copied.

/// Bytes that are no AMQP value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// How deep values may nest.
const DEPTH: u32 = 32;

/// The length of the value that these bytes begin with.
pub(crate) fn measure(bytes: &[u8]) -> Result<usize, Malformed> {
    value(bytes, 0)
}

/// The entries of a map, or the items of a list, each a whole value; and the length of all.
pub(crate) fn items(bytes: &[u8]) -> Result<(Vec<&[u8]>, usize), Malformed> {
    let (&code, rest) = bytes.split_first().ok_or(Malformed)?;
    if code == 0x45 {
        return Ok((Vec::new(), 1));
    }
    let compound = Compound::read(code, rest)?;
    let mut items = Vec::new();
    let mut left = compound.contents;
    for _ in 0..compound.count {
        let (item, after) = left.split_at(value(left, 1)?);
        items.push(item);
        left = after;
    }
    if left.is_empty() { Ok((items, 1 + compound.length)) } else { Err(Malformed) }
}

/// The text of a string or a symbol.
pub(crate) fn text(value: &[u8]) -> Option<&str> {
    let ([0xa1 | 0xa3, _, text @ ..] | [0xb1 | 0xb3, _, _, _, _, text @ ..]) = value else { return None };
    std::str::from_utf8(text).ok()
}

fn value(bytes: &[u8], depth: u32) -> Result<usize, Malformed> {
    if depth > DEPTH {
        return Err(Malformed);
    }
    let (&code, rest) = bytes.split_first().ok_or(Malformed)?;
    if code != 0 {
        return Ok(1 + contents(code, rest, depth)?);
    }
    let descriptor = value(rest, depth + 1)?;
    let described = value(rest.get(descriptor..).ok_or(Malformed)?, depth + 1)?;
    Ok(1 + descriptor + described)
}

/// The length of what follows a constructor.
fn contents(code: u8, bytes: &[u8], depth: u32) -> Result<usize, Malformed> {
    if depth > DEPTH {
        return Err(Malformed);
    }
    let fixed = match code {
        0x40..=0x45 => 0,
        0x50..=0x56 => 1,
        0x60 | 0x61 => 2,
        0x70..=0x74 => 4,
        0x80..=0x84 => 8,
        0x94 | 0x98 => 16,
        0xa0 | 0xa1 | 0xa3 | 0xb0 | 0xb1 | 0xb3 => return variable(code, bytes),
        0xc0 | 0xc1 | 0xd0 | 0xd1 => {
            let compound = Compound::read(code, bytes)?;
            if code & 1 == 1 && compound.count % 2 == 1 {
                return Err(Malformed); // a map has a value for each key
            }
            let mut left = compound.contents;
            for _ in 0..compound.count {
                left = &left[value(left, depth + 1)?..];
            }
            return if left.is_empty() { Ok(compound.length) } else { Err(Malformed) };
        }
        0xe0 | 0xf0 => return array(code, bytes, depth),
        _ => return Err(Malformed),
    };
    if bytes.len() < fixed { Err(Malformed) } else { Ok(fixed) }
}

fn variable(code: u8, bytes: &[u8]) -> Result<usize, Malformed> {
    let (length, prefix) = number(code, bytes)?;
    let text = bytes.get(prefix..).and_then(|rest| rest.get(..length)).ok_or(Malformed)?;
    let well_formed = match code {
        0xa1 | 0xb1 => std::str::from_utf8(text).is_ok(),
        0xa3 | 0xb3 => text.is_ascii(),
        _ => true,
    };
    if well_formed { Ok(prefix + length) } else { Err(Malformed) }
}

fn array(code: u8, bytes: &[u8], depth: u32) -> Result<usize, Malformed> {
    let array = Compound::read(code, bytes)?;
    let mut left = array.contents;
    while let [0, rest @ ..] = left {
        left = &rest[value(rest, depth + 1)?..]; // the descriptor of all its elements
    }
    let (&of, elements) = left.split_first().ok_or(Malformed)?;
    left = elements;
    // Elements without width could be any number.
    if !(0x40..=0x45).contains(&of) {
        for _ in 0..array.count {
            left = &left[contents(of, left, depth + 1)?..];
        }
    }
    if left.is_empty() { Ok(array.length) } else { Err(Malformed) }
}

/// The size or count that a constructor is followed by, and how long that number is.
fn number(code: u8, bytes: &[u8]) -> Result<(usize, usize), Malformed> {
    match (code >> 4, bytes) {
        (0xa | 0xc | 0xe, &[short, ..]) => Ok((usize::from(short), 1)),
        (0xb | 0xd | 0xf, &[a, b, c, d, ..]) => {
            Ok((usize::try_from(u32::from_be_bytes([a, b, c, d])).map_err(|_| Malformed)?, 4))
        }
        _ => Err(Malformed),
    }
}

/// A list, map or array.
struct Compound<'a> {
    count: usize,
    contents: &'a [u8],
    /// From after the constructor to the end.
    length: usize,
}

impl<'a> Compound<'a> {
    fn read(code: u8, bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (size, prefix) = number(code, bytes)?;
        let counted = bytes.get(prefix..).and_then(|rest| rest.get(..size)).ok_or(Malformed)?;
        let (count, prefix_of_count) = number(code, counted)?;
        Ok(Self { count, contents: &counted[prefix_of_count..], length: prefix + size })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_measured() {
        for (bytes, length) in [
            (&b"\x40"[..], 1),
            (b"\x56\x01\xff", 2),
            (b"\x80\0\0\0\0\0\0\0\x01", 9),
            (b"\xa1\x02ab", 4),
            (b"\xb1\0\0\0\x02ab", 7),
            (b"\xc0\x01\x00", 3),
            (b"\xc1\x05\x02\xa3\x01k\x40", 7),
            (b"\xd0\0\0\0\x06\0\0\0\x01\x54\x07", 11),
            (b"\xe0\x04\x02\x54\x07\x08", 6),
            (b"\xe0\x02\x09\x40", 4),
            (b"\0\xa3\x01x\xa1\x01y", 7),
            (b"\0\x53\x77\x45", 4),
        ] {
            assert_eq!(measure(bytes), Ok(length), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_no_value_is_malformed() {
        for bytes in [
            &b""[..],
            b"\x3f",
            b"\x80\0\0",
            b"\xa1\x03ab",
            b"\xa1\x01\xff",
            b"\xa3\x01\xff",
            b"\xc1\x03\x01\x40",
            b"\xc1\x02\x01\x40",
            b"\xc0\x02\x02\x40",
            b"\xe0\x03\x02\x54\x07",
            b"\xe0\x01\x00",
        ] {
            assert_eq!(measure(bytes), Err(Malformed), "{bytes:02x?}");
        }
        assert_eq!(measure(&[0; 4096]), Err(Malformed), "deep nesting");
        let mut list = b"\x45".to_vec();
        for _ in 0..40 {
            let size = u8::try_from(list.len() + 1).unwrap();
            list = [&[0xc0, size, 1][..], &list].concat();
        }
        assert_eq!(measure(&list), Err(Malformed), "deep lists");
    }

    #[test]
    fn the_items_of_a_map_are_its_keys_and_values() {
        let (items, length) = items(b"\xc1\x07\x02\xa3\x01k\xa1\x01v").unwrap();
        assert_eq!((items, length), (vec![&b"\xa3\x01k"[..], b"\xa1\x01v"], 9));
        assert_eq!(text(b"\xa3\x01k"), Some("k"));
        assert_eq!(text(b"\x54\x01"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_measured_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(length) = measure(&bytes) {
                prop_assert!(length <= bytes.len());
                prop_assert_eq!(measure(&bytes[..length]), Ok(length));
            }
            let _ = items(&bytes);
        }
    }
}
