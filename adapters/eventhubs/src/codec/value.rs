//! Values of AMQP 1.0 in bytes that anybody may have sent. Nothing is decoded before it is asked for, and nothing is copied but
//! into the text of a value.

use std::fmt::{Display, Write as _};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use bytes::Bytes;
use serde_amqp::primitives::{Timestamp, Uuid};

/// Bytes that are no AMQP value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

type Result<T> = std::result::Result<T, Malformed>;

/// How deep values may nest.
const DEPTH: u32 = 32;
/// Most elements of an array whose elements have no bytes: others can be no more than there are bytes.
const WITHOUT_BYTES: usize = 16;

/// A value. That of a described type is the value without its descriptor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f32),
    Double(f64),
    Decimal(&'a [u8]),
    Char(char),
    /// Milliseconds since 1970.
    Timestamp(i64),
    Uuid([u8; 16]),
    Binary(&'a [u8]),
    /// A string or a symbol.
    Text(&'a str),
    List(Items<'a>),
    /// Keys and values, by turns.
    Map(Items<'a>),
    Array(Items<'a>),
}

/// The values of a list, a map or an array, as far as they are well-formed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Items<'a> {
    left: usize,
    bytes: &'a [u8],
    /// The constructor of all elements of an array.
    of: Option<u8>,
    depth: u32,
}

impl<'a> Value<'a> {
    /// The value that these bytes begin with, and what is behind it.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<(Self, &'a [u8])> {
        value(bytes, 0)
    }

    pub(crate) fn list(self) -> Result<Items<'a>> {
        if let Self::List(items) = self { Ok(items) } else { Err(Malformed) }
    }

    pub(crate) fn map(self) -> Result<Items<'a>> {
        if let Self::Map(items) = self { Ok(items) } else { Err(Malformed) }
    }

    /// The bytes of what has some, nothing for null, else the text. What has bytes is a slice of `whole`, which it came from.
    pub(crate) fn bytes(self, whole: &Bytes) -> Result<Bytes> {
        match self {
            Self::Null => Ok(Bytes::new()),
            Self::Binary(bytes) => Ok(whole.slice_ref(bytes)),
            Self::Text(text) => Ok(whole.slice_ref(text.as_bytes())),
            other => other.text().map(Bytes::from),
        }
    }

    /// A text that people can read: of lists, maps and arrays it is JSON, in which binary is Base64.
    pub(crate) fn text(self) -> Result<String> {
        Ok(match self {
            Self::Null => String::new(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Float(value) => value.to_string(),
            Self::Double(value) => value.to_string(),
            Self::Char(value) => value.to_string(),
            Self::Timestamp(millis) => serde_amqp::Value::Timestamp(Timestamp::from_milliseconds(millis)).to_string(),
            Self::Uuid(id) => serde_amqp::Value::Uuid(Uuid::from(id)).to_string(),
            // There is no text of it without a loss.
            Self::Decimal(bytes) => bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
            Self::Binary(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Text(text) => text.to_owned(),
            compound @ (Self::List(_) | Self::Map(_) | Self::Array(_)) => {
                let mut json = String::new();
                compound.json(&mut json)?;
                json
            }
        })
    }

    pub(crate) fn json(self, out: &mut String) -> Result<()> {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => put(out, value),
            Self::Integer(value) => put(out, value),
            Self::Float(value) if value.is_finite() => put(out, value),
            Self::Double(value) if value.is_finite() => put(out, value),
            Self::Binary(bytes) => quote(out, &BASE64_STANDARD.encode(bytes)),
            Self::Text(text) => quote(out, text),
            Self::List(items) | Self::Array(items) => {
                out.push('[');
                for (index, item) in items.enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    item?.json(out)?;
                }
                out.push(']');
            }
            Self::Map(items) => {
                out.push('{');
                for (index, pair) in items.pairs().enumerate() {
                    let (key, value) = pair?;
                    if index > 0 {
                        out.push(',');
                    }
                    quote(out, &key.text()?);
                    out.push(':');
                    value.json(out)?;
                }
                out.push('}');
            }
            other => quote(out, &other.text()?),
        }
        Ok(())
    }
}

impl<'a> Items<'a> {
    /// Keys with their values.
    pub(crate) fn pairs(mut self) -> impl Iterator<Item = Result<(Value<'a>, Value<'a>)>> {
        std::iter::from_fn(move || {
            let key = self.next()?;
            let value = self.next().unwrap_or(Err(Malformed));
            Some(key.and_then(|key| Ok((key, value?))))
        })
    }
}

impl<'a> Iterator for Items<'a> {
    type Item = Result<Value<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let read = match self.of {
            Some(code) => contents(code, self.bytes, self.depth),
            None => value(self.bytes, self.depth),
        };
        if let Ok((_, rest)) = read {
            self.bytes = rest;
        } else {
            self.left = 0;
        }
        Some(read.map(|(value, _)| value))
    }
}

fn put(out: &mut String, value: impl Display) {
    let _ = write!(out, "{value}"); // a text takes anything
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => out.extend(['\\', character]),
            '\n' => out.push_str("\\n"),
            control if u32::from(control) < 0x20 => put(out, format_args!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out.push('"');
}

fn value(bytes: &[u8], depth: u32) -> Result<(Value<'_>, &[u8])> {
    let (&code, rest) = bytes.split_first().ok_or(Malformed)?;
    if code != 0 {
        return contents(code, rest, depth);
    }
    if depth >= DEPTH {
        return Err(Malformed);
    }
    let (_descriptor, rest) = value(rest, depth + 1)?;
    value(rest, depth + 1)
}

/// What follows a constructor.
fn contents(code: u8, bytes: &[u8], depth: u32) -> Result<(Value<'_>, &[u8])> {
    if depth >= DEPTH {
        return Err(Malformed);
    }
    Ok(match code {
        0x40 => (Value::Null, bytes),
        0x41 => (Value::Bool(true), bytes),
        0x42 => (Value::Bool(false), bytes),
        0x43 | 0x44 => (Value::Integer(0), bytes),
        0x45 => (Value::List(Items { left: 0, bytes: &[], of: None, depth }), bytes),
        0x50 | 0x52 | 0x53 => fixed(bytes, |[byte]| Value::Integer(byte.into()))?,
        0x51 | 0x54 | 0x55 => fixed(bytes, |bytes| Value::Integer(i8::from_be_bytes(bytes).into()))?,
        0x56 => fixed(bytes, |[byte]| Value::Bool(byte != 0))?,
        0x60 => fixed(bytes, |bytes| Value::Integer(u16::from_be_bytes(bytes).into()))?,
        0x61 => fixed(bytes, |bytes| Value::Integer(i16::from_be_bytes(bytes).into()))?,
        0x70 => fixed(bytes, |bytes| Value::Integer(u32::from_be_bytes(bytes).into()))?,
        0x71 => fixed(bytes, |bytes| Value::Integer(i32::from_be_bytes(bytes).into()))?,
        0x72 => fixed(bytes, |bytes| Value::Float(f32::from_be_bytes(bytes)))?,
        0x73 => {
            let (character, rest) = fixed(bytes, |bytes| char::from_u32(u32::from_be_bytes(bytes)))?;
            (Value::Char(character.ok_or(Malformed)?), rest)
        }
        0x80 => fixed(bytes, |bytes| Value::Integer(u64::from_be_bytes(bytes).into()))?,
        0x81 => fixed(bytes, |bytes| Value::Integer(i64::from_be_bytes(bytes).into()))?,
        0x82 => fixed(bytes, |bytes| Value::Double(f64::from_be_bytes(bytes)))?,
        0x83 => fixed(bytes, |bytes| Value::Timestamp(i64::from_be_bytes(bytes)))?,
        0x98 => fixed(bytes, Value::Uuid)?,
        0x74 => split(bytes, 4).map(|(bytes, rest)| (Value::Decimal(bytes), rest))?,
        0x84 => split(bytes, 8).map(|(bytes, rest)| (Value::Decimal(bytes), rest))?,
        0x94 => split(bytes, 16).map(|(bytes, rest)| (Value::Decimal(bytes), rest))?,
        0xa0 | 0xb0 => sized(code, bytes).map(|(bytes, rest)| (Value::Binary(bytes), rest))?,
        0xa1 | 0xa3 | 0xb1 | 0xb3 => {
            let (text, rest) = sized(code, bytes)?;
            (Value::Text(std::str::from_utf8(text).map_err(|_| Malformed)?), rest)
        }
        0xc0 | 0xd0 | 0xc1 | 0xd1 => {
            let (counted, rest) = sized(code, bytes)?;
            let (left, bytes) = number(code, counted)?;
            let items = Items { left, bytes, of: None, depth: depth + 1 };
            (if code & 1 == 0 { Value::List(items) } else { Value::Map(items) }, rest)
        }
        0xe0 | 0xf0 => {
            let (counted, rest) = sized(code, bytes)?;
            let (left, mut elements) = number(code, counted)?;
            while let [0, described @ ..] = elements {
                elements = value(described, depth + 1)?.1;
            }
            let (&of, bytes) = elements.split_first().ok_or(Malformed)?;
            if (0x40..=0x45).contains(&of) && left > WITHOUT_BYTES {
                return Err(Malformed);
            }
            (Value::Array(Items { left, bytes, of: Some(of), depth: depth + 1 }), rest)
        }
        _ => return Err(Malformed),
    })
}

fn fixed<T, const N: usize>(bytes: &[u8], read: impl FnOnce([u8; N]) -> T) -> Result<(T, &[u8])> {
    let (value, rest) = bytes.split_first_chunk().ok_or(Malformed)?;
    Ok((read(*value), rest))
}

fn split(bytes: &[u8], at: usize) -> Result<(&[u8], &[u8])> {
    bytes.split_at_checked(at).ok_or(Malformed)
}

/// What has its size before it.
fn sized(code: u8, bytes: &[u8]) -> Result<(&[u8], &[u8])> {
    let (size, rest) = number(code, bytes)?;
    split(rest, size)
}

/// A size or a count: the constructor says whether it has one byte or four.
fn number(code: u8, bytes: &[u8]) -> Result<(usize, &[u8])> {
    if code & 0x10 == 0 {
        fixed(bytes, |[byte]| usize::from(byte))
    } else {
        let (number, rest) = fixed(bytes, u32::from_be_bytes)?;
        Ok((usize::try_from(number).map_err(|_| Malformed)?, rest))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_amqp::{
        described::Described,
        descriptor::Descriptor,
        primitives::{Array, OrderedMap, Symbol},
    };

    use super::*;

    type Wire = serde_amqp::Value;

    fn text(bytes: &[u8]) -> Result<String> {
        Value::read(bytes)?.0.text()
    }

    #[test]
    fn compound_values_are_read_as_json() {
        for (bytes, expected) in [
            (&b"\x45"[..], "[]"),
            (b"\xc0\x08\x04\x54\xff\xa1\x01\"\x40\x41", r#"[-1,"\"",null,true]"#),
            (b"\xc1\x09\x02\xa3\x01k\xc0\x03\x01\x54\x07", r#"{"k":[7]}"#),
            (b"\xe0\x04\x02\x54\x07\x08", "[7,8]"),
            (b"\xe0\x02\x03\x41", "[true,true,true]"),
            (b"\xc0\x05\x01\xa0\x02\0\xff", r#"["AP8="]"#),
            (b"\xc0\x06\x01\x72\x7f\x80\0\0", r#"["inf"]"#),
            (b"\xc0\x04\x01\xa1\x01\n", r#"["\n"]"#),
            (b"\0\xa3\x01x\xe0\x06\x01\0\x53\x07\x54\x09", "[9]"),
        ] {
            assert_eq!(text(bytes).as_deref(), Ok(expected), "{bytes:02x?}");
        }
    }

    #[test]
    fn what_is_no_value_is_malformed() {
        let mut nested = b"\x45".to_vec();
        for _ in 0..40 {
            let size = u8::try_from(nested.len() + 1).unwrap();
            nested = [&[0xc0, size, 1][..], &nested].concat();
        }
        for bytes in [
            &b""[..],
            b"\x3f",
            b"\x80\0\0",
            b"\xa1\x03ab",
            b"\xa1\x01\xff",
            b"\x73\0\0\xd8\0",
            b"\xc0\x03\x02\x40",
            b"\xc1\x02\x01\x40",
            b"\xe0\x03\x02\x54\x07",
            b"\xe0\x01\x00",
            b"\xf0\0\0\0\x05\xff\xff\xff\xff\x40",
            b"\xd0\0\0\0\x04\xff\xff\xff\xff",
            &[0; 4096],
            &nested,
        ] {
            assert_eq!(text(bytes), Err(Malformed), "{bytes:02x?}");
        }
    }

    fn scalar() -> impl Strategy<Value = Wire> {
        prop_oneof![
            Just(Wire::Null),
            any::<bool>().prop_map(Wire::Bool),
            any::<u8>().prop_map(Wire::Ubyte),
            any::<u16>().prop_map(Wire::Ushort),
            any::<u32>().prop_map(Wire::Uint),
            any::<u64>().prop_map(Wire::Ulong),
            any::<i8>().prop_map(Wire::Byte),
            any::<i16>().prop_map(Wire::Short),
            any::<i32>().prop_map(Wire::Int),
            any::<i64>().prop_map(Wire::Long),
            any::<f32>().prop_map(|value| Wire::Float(value.into())),
            any::<f64>().prop_map(|value| Wire::Double(value.into())),
            any::<i64>().prop_map(|millis| Wire::Timestamp(Timestamp::from_milliseconds(millis))),
            any::<[u8; 16]>().prop_map(|id| Wire::Uuid(id.into())),
        ]
    }

    fn any_value() -> impl Strategy<Value = Wire> {
        let leaf = prop_oneof![
            scalar(),
            any::<char>().prop_map(Wire::Char),
            ".{0,300}".prop_map(Wire::String),
            "[ -~]{0,9}".prop_map(|text| Wire::Symbol(Symbol(text))),
            any::<Vec<u8>>().prop_map(|bytes| Wire::Binary(bytes.into())),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Wire::List),
                proptest::collection::vec(any::<i32>().prop_map(Wire::Int), 1..6)
                    .prop_map(|all| Wire::Array(Array(all))),
                proptest::collection::vec((".{0,5}", inner.clone()), 0..6).prop_map(|all| {
                    Wire::Map(
                        all.into_iter().map(|(key, value)| (Wire::String(key), value)).collect::<OrderedMap<_, _>>(),
                    )
                }),
                inner.prop_map(|value| {
                    Wire::Described(Box::new(Described { descriptor: Descriptor::Code(7), value }))
                }),
            ]
        })
    }

    proptest! {
        /// The library's own encoder, and its text.
        #[test]
        fn a_scalar_is_read_as_its_text(value in scalar()) {
            let expected = if value == Wire::Null { String::new() } else { value.to_string() };
            prop_assert_eq!(text(&serde_amqp::to_vec(&value).unwrap()), Ok(expected));
        }

        #[test]
        fn what_the_library_encodes_is_one_value(value in any_value()) {
            let bytes = serde_amqp::to_vec(&value).unwrap();
            let (read, rest) = Value::read(&bytes).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert!(read.text().is_ok(), "{:?}", value);
        }

        #[test]
        fn any_bytes_are_read_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..200), code in 0x40_u8..) {
            for bytes in [&bytes[..], &[&[code][..], &bytes].concat()] {
                if let Ok(text) = text(bytes) {
                    prop_assert!(text.len() <= 100 * bytes.len(), "{} bytes of text", text.len());
                }
            }
        }
    }
}
