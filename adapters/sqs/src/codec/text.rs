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

/// Whether it is a trace header of AWS X-Ray, as the service has it: `Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=1`.
pub(super) fn is_trace(text: &str) -> bool {
    let hex = |text: &str, length| text.len() == length && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_root = |value: &str| {
        let parts: Vec<_> = value.split('-').collect();
        matches!(parts[..], ["1", time, unique] if hex(time, 8) && hex(unique, 24))
    };
    let is_field = |field: &str| {
        let visible = field.bytes().all(|byte| byte.is_ascii_graphic());
        field.split_once('=').is_some_and(|(name, value)| visible && !name.is_empty() && !value.is_empty())
    };
    text.len() <= 256
        && text.split(';').all(is_field)
        && text.split(';').any(|field| field.strip_prefix("Root=").is_some_and(is_root))
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

    #[test]
    fn a_trace_header_has_a_root() {
        let root = "Root=1-5759e988-bd862e3fe1be46a994272793";
        for text in [root.to_owned(), format!("{root};Parent=53995c3f42cd8ad8;Sampled=1"), format!("Self=1-x;{root}")] {
            assert!(is_trace(&text), "{text}");
        }
        for text in ["", "Root=1-5759e988", "Sampled=1", &format!("{root};"), &format!("{root}; Sampled=1"), "ключ"]
        {
            assert!(!is_trace(text), "{text}");
        }
    }
}
