use strait_core::{Error, ErrorKind, Result};

/// Longest encoded key: an object's name has at most 1,024 bytes, a prefix among them.
pub(crate) const LONGEST: usize = 600;

/// Longest encoded segment: a file's name has at most 255 bytes, what we add among them.
const LONGEST_SEGMENT: usize = 240;

/// Encodes a key into segments that are safe as names of files and of objects, and joins them by `/`.
///
/// Upper case is encoded too, since not every file system tells it from lower case; so is the dot, since names that are
/// or end in dots mean something else to some stores. An empty segment is a lone `=`.
pub(crate) fn encode(key: &str) -> Result<String> {
    if key.is_empty() {
        return Err(Error::new(ErrorKind::Invalid, "leases: the key of a row is empty"));
    }
    let name = encode_any(key);
    let longest = name.split('/').map(str::len).max().unwrap_or_default();
    if name.len() > LONGEST || longest > LONGEST_SEGMENT {
        let message = format!(
            "leases: the key of a row is too long: {} bytes encoded where {LONGEST} fit, {longest} in one segment where \
             {LONGEST_SEGMENT} fit",
            name.len()
        );
        return Err(Error::new(ErrorKind::Invalid, message));
    }
    Ok(name)
}

/// The folder that holds all keys that begin with `prefix`, encoded; `None` for that of all keys.
pub(crate) fn folder(prefix: &str) -> Option<String> {
    prefix.rsplit_once('/').map(|(folder, _)| encode_any(folder))
}

fn encode_any(key: &str) -> String {
    let segments: Vec<_> = key.split('/').map(encode_segment).collect();
    segments.join("/")
}

fn encode_segment(segment: &str) -> String {
    use std::fmt::Write as _;

    if segment.is_empty() {
        return "=".to_owned();
    }
    let mut name = String::with_capacity(segment.len());
    for byte in segment.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => {
                let _ = write!(name, "={byte:02x}"); // writing to a string does not fail
            }
        }
    }
    name
}

/// The key that `name` was made of; `None` for a name that is not ours.
pub(crate) fn decode(name: &str) -> Option<String> {
    let segments: Option<Vec<_>> = name.split('/').map(decode_segment).collect();
    segments.map(|segments| segments.join("/"))
}

fn decode_segment(name: &str) -> Option<String> {
    if name == "=" {
        return Some(String::new());
    }
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        if first == b'=' {
            let hex = std::str::from_utf8(after.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = &after[2..];
        } else {
            bytes.push(first);
            rest = after;
        }
    }
    let segment = String::from_utf8(bytes).ok()?;
    // Names that nobody here would have written are not ours, so that no two names are one key.
    (encode_segment(&segment) == name).then_some(segment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goes_there_and_back_by_safe_names() {
        for key in
            ["plan", "member/0f-3", "part/shardId-01", "a//b/", "/", "..", "./..", "=", "ä\u{0}\\:", "%41", "A=41"]
        {
            let name = encode(key).unwrap();
            assert_eq!(decode(&name).as_deref(), Some(key), "{name}");
            assert!(name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'/' | b'=')));
            assert!(name.split('/').all(|segment| !segment.is_empty()), "{name}");
        }
        assert_eq!(encode("part/shardId-01").unwrap(), "part/shard=49d-01");
        assert_eq!(encode("a//b/").unwrap(), "a/=/b/=");
    }

    #[test]
    fn names_of_others_are_no_keys() {
        for name in ["A", "=4", "=zz", "=61", "=ff", "a.b", "a/", "a/=/A", ""] {
            assert_eq!(decode(name), None, "{name}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(encode("").unwrap_err().kind(), ErrorKind::Invalid);
        assert!(encode(&"a".repeat(240)).is_ok());
        assert_eq!(encode(&"a".repeat(241)).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(encode(&"A".repeat(81)).unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(encode(&"abc/".repeat(151)).unwrap_err().kind(), ErrorKind::Invalid);
    }

    #[test]
    fn a_prefix_is_listed_in_the_folder_that_holds_it() {
        assert_eq!(folder(""), None);
        assert_eq!(folder("mem"), None);
        assert_eq!(folder("member/").as_deref(), Some("member"));
        assert_eq!(folder("A/b/c").as_deref(), Some("=41/b"));
    }
}
