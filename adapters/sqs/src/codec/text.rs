/// `bytes` as text, if they are UTF-8 of characters that SQS takes: those of XML 1.0.
pub(super) fn allowed(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    // Without a way out in the middle, so that it is done for many bytes at once: a payload is looked at twice.
    let control = |found, &byte| found | ((byte < b' ') & !matches!(byte, b'\t' | b'\n' | b'\r'));
    let plain = !bytes.iter().fold(false, control);
    (plain && (text.is_ascii() || !text.contains(['\u{FFFE}', '\u{FFFF}']))).then_some(text)
}

/// Whether an attribute may be called so.
pub(super) fn names_an_attribute(name: &str) -> bool {
    let characters = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'));
    let begins = |prefix: &str| name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
    characters
        && (1..=256).contains(&name.len())
        && !(name.starts_with('.') || name.ends_with('.') || name.contains(".."))
        && !(begins("aws.") || begins("amazon."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_what_xml_has() {
        for text in ["", "a\tb\r\nc", "ж\u{1F980}\u{D7FF}\u{E000}\u{FFFD}\u{7F}\u{85}"] {
            assert_eq!(allowed(text.as_bytes()), Some(text));
        }
        for bytes in [&b"\0"[..], b"a\x0B", b"\xff", "\u{FFFE}".as_bytes(), "a\u{FFFF}".as_bytes(), b"\x1f"] {
            assert_eq!(allowed(bytes), None);
        }
    }

    #[test]
    fn names_are_as_documented() {
        for name in ["a", "X-Upper", "h.1-x_", "awsome", "Amazonas.x", &"n".repeat(256)] {
            assert!(names_an_attribute(name), "{name}");
        }
        for name in ["", ".a", "a.", "a..b", "AWS.x", "Amazon.x", "a b", "ключ", "a:b", &"n".repeat(257)] {
            assert!(!names_an_attribute(name), "{name}");
        }
    }
}
