use std::fmt;

use bytes::Bytes;

use crate::{Headers, Id, Key, planted, reserved};

/// One message, as it is sent and as it is received. Cloning it allocates nothing.
///
/// `Debug` shows lengths, never a payload, a key or the value of a header.
#[derive(Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Message {
    /// The bytes, opaque to this library.
    pub payload: Bytes,
    /// What the message is about. Messages with equal keys stay in order.
    pub key: Option<Key>,
    /// Metadata beside the payload.
    pub headers: Headers,
    /// Its name. A sender gives one to a message without.
    pub id: Option<Id>,
    /// Whether it was received. A sender refuses such a message: to send it on is to make a new one.
    received: bool,
}

impl Message {
    /// A message with nothing but a payload.
    ///
    /// `Bytes::from(Vec<u8>)` allocates once more at its first clone, which every send makes; static payloads and slices
    /// of a larger buffer do not.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Sets the ordering key.
    pub fn with_key(mut self, key: Key) -> Self {
        self.key = Some(key);
        self
    }

    /// Sets a header, replacing those of the same name.
    pub fn with_header(mut self, name: &str, value: impl Into<Bytes>) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the id, which an application does that wants to choose what consumers deduplicate by.
    pub fn with_id(mut self, id: Id) -> Self {
        self.id = Some(id);
        self
    }

    /// How many bytes it holds: payload, key, names and values of headers. Providers count a little more, see
    /// [`Plan`](crate::Plan).
    #[inline]
    pub fn size(&self) -> usize {
        self.payload.len() + self.key.as_ref().map_or(0, |key| key.as_str().len()) + self.headers.size()
    }

    /// Whether it came out of a [`Consumer`](crate::Consumer). A sender refuses such a message, since sending it under
    /// its old id would be swallowed by a deduplicating provider; [`forward`](Self::forward) and
    /// [`redrive`](Self::redrive) make one that can be sent.
    pub fn is_received(&self) -> bool {
        self.received
    }

    /// Marks it as received.
    #[inline]
    pub(crate) fn into_received(mut self) -> Self {
        self.received = true;
        self
    }

    /// A new message with the same payload, key and headers, without an id, which names this one as its cause.
    pub fn forward(&self) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !name.starts_with(reserved::PREFIX));
        if let Some(id) = self.id {
            headers.insert(reserved::CAUSE, id.to_string());
        }
        Self { payload: self.payload.clone(), key: self.key.clone(), headers, id: None, received: false }
    }

    /// This dead letter as it was before it became one: id, key and headers restored, and counted once more in
    /// [`redrives`](Self::redrives). A truncated payload stays truncated.
    pub fn redrive(&self) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !name.starts_with(reserved::DEAD_LETTER_PREFIX));
        headers.insert(reserved::REDRIVE, self.redrives().saturating_add(1).to_string());
        Self { headers, received: false, ..self.clone() }
    }

    /// This message as a dead letter, with `reserved` headers in addition, under the id it has.
    pub fn into_dead_letter(mut self) -> Self {
        self.received = false;
        self
    }

    /// How often it was sent again from the dead letters.
    pub fn redrives(&self) -> u32 {
        self.headers.get_str(reserved::REDRIVE).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// What a provider that deduplicates is to compare: the id, and `{id}.{n}` for the n-th redrive.
    pub fn dedup_id(&self) -> Option<String> {
        let id = self.id?;
        Some(match self.redrives() {
            _ if planted!("redrive-under-the-same-id") => id.to_string(),
            0 => id.to_string(),
            n => format!("{id}.{n}"),
        })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if planted!("debug-shows-payload") {
            return self.payload.fmt(f);
        }
        f.debug_struct("Message")
            .field("id", &self.id)
            .field("key", &self.key)
            .field("headers", &self.headers)
            .field("payload_bytes", &self.payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received() -> Message {
        Message::new("secret")
            .with_key(Key::new("k").unwrap())
            .with_header("a", "1")
            .with_header(reserved::REASON, "why")
            .with_id(Id::from_bytes([1; 16]))
            .into_received()
    }

    #[test]
    fn is_as_small_as_promised() {
        assert_eq!(size_of::<Message>(), 80);
    }

    #[test]
    fn forwarding_makes_a_new_message_with_a_cause() {
        let forwarded = received().forward();
        assert!(received().is_received() && !forwarded.is_received());
        assert_eq!(forwarded.id, None);
        assert_eq!(forwarded.headers.get_str(reserved::CAUSE), Some("01010101-0101-0101-0101-010101010101"));
        assert_eq!(forwarded.headers.get(reserved::REASON), None);
        assert_eq!(forwarded.key, received().key);
    }

    #[test]
    fn redriving_restores_the_message_and_changes_its_dedup_id() {
        let once = received().redrive();
        assert!(!once.is_received() && once.id == received().id);
        assert_eq!(once.headers.get(reserved::REASON), None);
        assert_eq!(received().dedup_id().unwrap(), "01010101-0101-0101-0101-010101010101");
        assert_eq!(once.redrive().dedup_id().unwrap(), "01010101-0101-0101-0101-010101010101.2");
    }

    #[test]
    fn debug_shows_no_content() {
        let text = format!("{:?}", received());
        assert!(!text.contains("secret") && !text.contains("why"), "{text}");
    }
}
