use std::{
    fmt,
    hash::{Hash, Hasher},
    str::FromStr,
    sync::Arc,
};

use crate::{Error, ErrorKind, Result};

/// What a message is about. Messages with equal keys stay in order where the channel promises order by key.
///
/// Any non-empty UTF-8 of at most 1,024 bytes, since what is received must be representable. What *every* provider can
/// carry is narrower: see [`is_portable`](Self::is_portable). A sender refuses a key that its provider cannot carry.
///
/// Made of a text or a whole number by `From`, which checks nothing: a sender refuses a key that breaks the limits, with
/// [`ErrorKind::Invalid`]. [`Key::new`] and `parse` check them at once.
///
/// ```
/// use strait_core::{Key, Message};
///
/// let order = Message::new("paid").with_key("customer-7");
/// let other = Message::new("paid").with_key(7);
/// assert_eq!((order.key, other.key), (Some(Key::from("customer-7")), Some("7".parse()?)));
/// # Ok::<_, strait_core::Error>(())
/// ```
///
/// `Debug` shows its length only: keys are often personal data, and debug output ends up in logs.
#[derive(Clone, Eq, PartialOrd, Ord)]
pub struct Key(Arc<str>);

impl PartialEq for Key {
    /// By the text. Most keys that are compared are clones of one, whose texts need no look.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
    }
}

impl Hash for Key {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Key {
    /// Most bytes of a key (Pub/Sub's limit for an ordering key, the widest of the providers').
    pub const LONGEST: usize = 1024;

    /// Checks `text` against the limits above.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if `text` is empty or too long.
    pub fn new(text: &str) -> Result<Self> {
        check(text)?;
        Ok(Self(text.into()))
    }

    /// Checks the key against the limits above.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] if it is empty or too long.
    #[inline]
    pub fn check(&self) -> Result<()> {
        check(&self.0)
    }

    /// The text.
    #[inline]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether every provider carries it: 1 to 128 visible ASCII characters (the limits of an SQS message group id).
    pub fn is_portable(&self) -> bool {
        self.0.len() <= 128 && self.0.bytes().all(|byte| byte.is_ascii_graphic())
    }
}

#[inline]
fn check(text: &str) -> Result<()> {
    if (1..=Key::LONGEST).contains(&text.len()) { Ok(()) } else { Err(out_of_limits(text.len())) }
}

#[cold]
fn out_of_limits(bytes: usize) -> Error {
    Error::new(ErrorKind::Invalid, format!("key: has {bytes} bytes, and must have 1 to {}", Key::LONGEST))
}

impl FromStr for Key {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(text)
    }
}

impl From<&str> for Key {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&String> for Key {
    fn from(text: &String) -> Self {
        Self(text.as_str().into())
    }
}

impl From<String> for Key {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&Self> for Key {
    fn from(key: &Self) -> Self {
        key.clone()
    }
}

/// A whole number is a key by its decimal digits.
macro_rules! of_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Key {
            fn from(number: $number) -> Self {
                number.to_string().into()
            }
        }
    )*};
}

of_numbers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

impl AsRef<str> for Key {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limits_hold_to_the_byte() {
        assert!(Key::new("").is_err());
        assert!(Key::new(&"k".repeat(1024)).is_ok());
        let error = Key::new(&"k".repeat(1025)).unwrap_err();
        assert_eq!(error.to_string(), "key: has 1025 bytes, and must have 1 to 1024");
    }

    #[test]
    fn conversions_check_nothing() {
        assert_eq!(Key::from("7"), Key::from(7_u64));
        assert_eq!(Key::from(i64::MIN), Key::new("-9223372036854775808").unwrap());
        assert_eq!(Key::from(String::new()).check().unwrap_err().kind(), ErrorKind::Invalid);
        assert!(Key::from(&"k".repeat(1025)).check().is_err() && Key::from(&"k".repeat(1024)).check().is_ok());
    }

    #[test]
    fn equality_and_hash_depend_on_the_text_only() {
        use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};

        let key = |text: &str| Key::new(text).unwrap();
        let hash = |key: &Key| BuildHasherDefault::<DefaultHasher>::default().hash_one(key);
        let one = key("order-7");
        for same in [one.clone(), key("order-7")] {
            assert!(one == same && hash(&one) == hash(&same) && one.cmp(&same).is_eq());
        }
        for other in ["order-8", "order-77", "order-", "Order-7"].map(key) {
            assert!(one != other && hash(&one) != hash(&other) && one.cmp(&other).is_ne());
        }
    }

    #[test]
    fn portable_is_short_visible_ascii() {
        let portable = |text: &str| Key::new(text).unwrap().is_portable();
        assert!(portable(&"k".repeat(128)) && portable("order/7!~"));
        assert!(!portable(&"k".repeat(129)) && !portable("a b") && !portable("ключ"));
    }

    #[test]
    fn debug_does_not_show_it() {
        assert_eq!(format!("{:?}", Key::new("alice@example.org").unwrap()), "Key(17 bytes)");
    }
}
