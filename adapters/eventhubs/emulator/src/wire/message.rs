use bytes::{BufMut as _, Bytes, BytesMut};

use super::value::{self, Malformed, measure};

/// The message format of a batch: each data section of its body is an encoded message.
pub(crate) const BATCH: u32 = 0x8001_3700;

const ANNOTATIONS: u8 = 0x72;
const DATA: u8 = 0x75;
const SEQUENCE: u8 = 0x76;
const VALUE: u8 = 0x77;

/// What the service itself writes on an event: what a sender wrote there is left out.
const OF_THE_SERVICE: [&str; 3] = ["x-opt-sequence-number", "x-opt-offset", "x-opt-enqueued-time"];

/// A well-formed message, as bytes around its annotations. They are slices of what arrived.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The header and the delivery annotations.
    before: Bytes,
    /// Keys and values of the message annotations, but for those of the service.
    annotations: Vec<Bytes>,
    /// From the properties to the footer.
    after: Bytes,
    partition_key: Option<String>,
    body: Vec<(u8, Bytes)>,
}

impl Message {
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, Malformed> {
        let mut message = Self {
            before: Bytes::new(),
            annotations: Vec::new(),
            after: Bytes::new(),
            partition_key: None,
            body: Vec::new(),
        };
        let (mut at, mut last) = (0, 0);
        while at < bytes.len() {
            let section = Section::read(&bytes[at..])?;
            // In their order, each once, but for the sections of a body.
            if section.code < last || (section.code == last && !matches!(last, DATA | SEQUENCE)) {
                return Err(Malformed);
            }
            if matches!(section.code, SEQUENCE | VALUE) && matches!(last, DATA | SEQUENCE) && last != section.code {
                return Err(Malformed);
            }
            let value = bytes.slice(at + section.start..at + section.end);
            match section.code {
                ANNOTATIONS => message.annotate(&value)?,
                DATA | SEQUENCE | VALUE => message.body.push((section.code, value)),
                _ => {}
            }
            if section.code < ANNOTATIONS {
                message.before = bytes.slice(..at + section.end);
            } else if section.code > ANNOTATIONS && message.after.is_empty() {
                message.after = bytes.slice(at..);
            }
            (at, last) = (at + section.end, section.code);
        }
        if last == 0 { Err(Malformed) } else { Ok(message) }
    }

    fn annotate(&mut self, map: &Bytes) -> Result<(), Malformed> {
        let (items, _) = value::items(map)?;
        for pair in items.chunks_exact(2) {
            let (key, value) = (pair[0], pair[1]);
            let name = value::text(key);
            if name.is_some_and(|name| OF_THE_SERVICE.contains(&name)) {
                continue;
            }
            if name == Some("x-opt-partition-key") {
                self.partition_key = value::text(value).map(str::to_owned);
            }
            self.annotations.extend([map.slice_ref(key), map.slice_ref(value)]);
        }
        Ok(())
    }

    /// The partition key that its sender gave it.
    pub(crate) fn partition_key(&self) -> Option<&str> {
        self.partition_key.as_deref()
    }

    /// The messages of a batch.
    pub(crate) fn unpack(&self) -> Result<Vec<Self>, Malformed> {
        let message = |(code, section): &(u8, Bytes)| match (code, &section[..]) {
            (&DATA, [0xa0, _, ..]) => Self::parse(&section.slice(2..)),
            (&DATA, [0xb0, _, _, _, _, ..]) => Self::parse(&section.slice(5..)),
            _ => Err(Malformed),
        };
        self.body.iter().map(message).collect()
    }

    /// The whole message, with what the service writes on it.
    pub(crate) fn stamped(&self, sequence: i64, offset: &str, enqueued: i64) -> Bytes {
        // The longest that is added is about 110 bytes.
        let annotations: usize = self.annotations.iter().map(Bytes::len).sum();
        let mut out = BytesMut::with_capacity(self.before.len() + annotations + self.after.len() + 128 + offset.len());
        out.put_slice(&self.before);
        out.put_slice(&[0, 0x53, ANNOTATIONS, 0xd1]);
        let start = out.len();
        out.put_u32(0); // the size: below
        out.put_u32(u32::try_from(self.annotations.len() + 6).unwrap_or(u32::MAX));
        for annotation in &self.annotations {
            out.put_slice(annotation);
        }
        symbol(&mut out, "x-opt-sequence-number");
        out.put_u8(0x81);
        out.put_i64(sequence);
        symbol(&mut out, "x-opt-offset");
        out.put_slice(&[0xa1, u8::try_from(offset.len()).unwrap_or(u8::MAX)]);
        out.put_slice(offset.as_bytes());
        symbol(&mut out, "x-opt-enqueued-time");
        out.put_u8(0x83);
        out.put_i64(enqueued);
        let size = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
        out[start..start + 4].copy_from_slice(&size.to_be_bytes());
        out.put_slice(&self.after);
        out.freeze()
    }
}

/// Writes a symbol of less than 256 bytes.
fn symbol(out: &mut BytesMut, name: &str) {
    out.put_slice(&[0xa3, u8::try_from(name.len()).unwrap_or(u8::MAX)]);
    out.put_slice(name.as_bytes());
}

/// A section of a message.
struct Section {
    code: u8,
    /// Where its value begins, and ends.
    start: usize,
    end: usize,
}

impl Section {
    fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let (code, start) = match *bytes {
            [0, 0x53, code, ..] => (code, 3),
            [0, 0x80, 0, 0, 0, 0, 0, 0, 0, code, ..] => (code, 10),
            _ => return Err(Malformed),
        };
        let value = &bytes[start..];
        let end = start + measure(value)?;
        let of = value[0];
        let fits = match code {
            0x70 | 0x73 | SEQUENCE => matches!(of, 0x45 | 0xc0 | 0xd0),
            0x71 | ANNOTATIONS | 0x74 | 0x78 => matches!(of, 0xc1 | 0xd1),
            // The service stores data of null, which Azure's client for JavaScript sends.
            DATA => matches!(of, 0xa0 | 0xb0 | 0x40),
            VALUE => true,
            _ => false,
        };
        if fits { Ok(Self { code, start, end }) } else { Err(Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const KEYED: &[u8] = b"\0\x53\x70\xc0\x02\x01\x41\0\x53\x72\xc1\x1b\x02\xa3\x13x-opt-partition-key\xa1\x03k 7";

    fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
        Message::parse(&Bytes::copy_from_slice(bytes))
    }

    #[test]
    fn all_but_the_annotations_comes_out_as_it_went_in() {
        let rest = b"\0\x53\x74\xc1\x0a\x02\xa1\x01p\xe0\x04\x02\x54\x07\x08\0\x53\x75\xa0\x01x\0\x53\x75\xa0\x00\0\x53\x78\xc1\x01\0";
        let message = parse(&[KEYED, rest].concat()).unwrap();
        assert_eq!(message.partition_key(), Some("k 7"));
        let stamped = message.stamped(7, "4096", 1_700_000_000_000);
        assert!(stamped.starts_with(&KEYED[..7]) && stamped.ends_with(rest));
        // A second time it is stamped anew, and the key stays.
        let again = Message::parse(&stamped).unwrap();
        assert_eq!(again.partition_key(), Some("k 7"));
        assert_eq!(again.annotations.len(), 2);
        assert_eq!(again.stamped(7, "4096", 1_700_000_000_000), stamped);
    }

    #[test]
    fn bodies_of_every_kind_are_taken() {
        for body in [
            &b"\0\x53\x75\xa0\x00"[..],
            b"\0\x53\x75\x40",
            b"\0\x53\x76\x45\0\x53\x76\xc0\x02\x01\x41",
            b"\0\x53\x77\x40",
            b"\0\x80\0\0\0\0\0\0\0\x77\xa1\x01v",
            b"\0\x53\x77\0\xa3\x0ccom:timeSpan\x55\x07",
        ] {
            assert!(parse(body).is_ok(), "{body:02x?}");
        }
    }

    #[test]
    fn what_is_no_message_is_malformed() {
        for bytes in [
            &b""[..],
            b"x",
            b"\0\x53\x79\x40",
            b"\0\x53\x75\xa1\x01x",
            b"\0\x53\x75\xa0\x05x",
            b"\0\x53\x77\x40\0\x53\x77\x40",
            b"\0\x53\x75\xa0\0\0\x53\x77\x40",
            b"\0\x53\x75\xa0\0\0\x53\x74\xc1\x01\0",
            b"\0\x53\x72\x40\0\x53\x77\x40",
        ] {
            assert!(parse(bytes).is_err(), "{bytes:02x?}");
        }
    }

    #[test]
    fn a_batch_is_unpacked() {
        let batch =
            [KEYED, b"\0\x53\x75\xa0\x06\0\x53\x75\xa0\x01a\0\x53\x75\xb0\0\0\0\x06\0\x53\x75\xa0\x01b"].concat();
        let messages = parse(&batch).unwrap().unpack().unwrap();
        assert_eq!(
            messages.iter().map(|it| &it.after[..]).collect::<Vec<_>>(),
            [b"\0\x53\x75\xa0\x01a", b"\0\x53\x75\xa0\x01b"]
        );
        assert!(parse(b"\0\x53\x75\xa0\x01a").unwrap().unpack().is_err());
        assert!(parse(b"\0\x53\x77\xa0\x01a").unwrap().unpack().is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_message_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&bytes);
            let _ = parse(&[b"\0\x53\x75\xa0", &bytes[..]].concat()).map(|batch| batch.unpack());
            let _ = parse(&[b"\0\x53\x72", &bytes[..]].concat());
        }
    }
}
