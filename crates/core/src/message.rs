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
    made: Made,
}

/// How a message came to be, which decides what a sender does with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Made {
    /// By an application.
    #[default]
    Anew,
    /// By a consumer. A sender refuses it: to send it on is to make a new one.
    Received,
    /// Of one that was received, to be sent on.
    Onward,
}

impl Message {
    /// A message with nothing but a payload.
    ///
    /// `Bytes::from(Vec<u8>)` allocates once more at its first clone, which every send makes; static payloads and slices
    /// of a larger buffer do not.
    pub fn new(payload: impl Into<Bytes>) -> Self {
        Self { payload: payload.into(), ..Self::default() }
    }

    /// Sets the ordering key: a text, a whole number, or a [`Key`]. A sender refuses one that breaks the limits of a key.
    pub fn with_key(mut self, key: impl Into<Key>) -> Self {
        self.key = Some(key.into());
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
        self.made == Made::Received
    }

    /// Whether it was made of a received one, to be sent on: by [`forward`](Self::forward), [`redrive`](Self::redrive) or
    /// [`into_dead_letter`](Self::into_dead_letter). What is received may have headers that cannot be sent, here or
    /// elsewhere: of such a message a sender leaves out those that its provider cannot carry, and names them in the header
    /// [`reserved::LEFT_OUT`], where it refuses any other message.
    pub fn is_onward(&self) -> bool {
        self.made == Made::Onward
    }

    /// Marks it as received.
    #[inline]
    pub(crate) fn into_received(mut self) -> Self {
        self.made = Made::Received;
        self
    }

    /// A new message with the same payload, key and headers, without an id, which names this one as its cause. Each is
    /// sent for itself, under an id of its own, so that a provider that stores each id once stores all of them.
    pub fn forward(&self) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !name.starts_with(reserved::PREFIX) || name == reserved::TYPES);
        if let Some(id) = self.id {
            headers.insert(reserved::CAUSE, id.to_string());
        }
        Self { payload: self.payload.clone(), key: self.key.clone(), headers, id: None, made: Made::Onward }
    }

    /// This dead letter as it was before it became one: id, key and headers restored, and counted once more in
    /// [`redrives`](Self::redrives). A truncated payload stays truncated, and headers that were left out stay away.
    pub fn redrive(&self) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|name, _| !name.starts_with(reserved::DEAD_LETTER_PREFIX));
        headers.insert(reserved::REDRIVE, self.redrives().saturating_add(1).to_string());
        if let Some(letter) = self.dedup_id() {
            headers.insert(reserved::REDRIVE_OF, letter.to_string());
        }
        let kept = || self.headers.get_str(reserved::KEY).and_then(|key| Key::new(key).ok());
        let key = self.key.clone().or_else(kept);
        Self { headers, key, made: Made::Onward, ..self.clone() }
    }

    /// This message as a dead letter that is counted in [`deaths`](Self::deaths), under the id it has. What its last death
    /// said is gone, so that what this one says stands alone; how long a truncated payload was, and its key, stay.
    pub fn into_dead_letter(mut self) -> Self {
        let deaths = self.deaths().saturating_add(1);
        let stays = |name: &str| [reserved::TRUNCATED, reserved::KEY].contains(&name);
        self.headers.retain(|name, _| !name.starts_with(reserved::DEAD_LETTER_PREFIX) || stays(name));
        self.headers.insert(reserved::DEATHS, deaths.to_string());
        self.made = Made::Onward;
        self
    }

    /// How often it became a dead letter since it was last redriven.
    pub fn deaths(&self) -> u32 {
        self.count(reserved::DEATHS)
    }

    /// How often it was sent again from the dead letters.
    pub fn redrives(&self) -> u32 {
        self.count(reserved::REDRIVE)
    }

    fn count(&self, name: &str) -> u32 {
        self.headers.get_str(name).and_then(|count| count.parse().ok()).unwrap_or(0)
    }

    /// What a provider that stores each message once is to compare, where the same message may be sent more than once.
    ///
    /// It is the id of a message that an application made. That of a dead letter is derived from the message's and where it
    /// was received from, since each group that cannot process a message has a dead letter of its own; that of a redriven
    /// message from its dead letter's. `None` for a message without an id.
    pub fn dedup_id(&self) -> Option<Id> {
        let header = |name| self.headers.get(name).map_or(&[][..], |value| value);
        let mut id = self.id?;
        if self.headers.is_empty() {
            return Some(id);
        }
        let letter = header(reserved::REDRIVE_OF);
        if !letter.is_empty() && !planted!("redrive-under-the-same-id") {
            id = Id::derived([&id.as_bytes()[..], letter]);
        }
        let source = header(reserved::SOURCE);
        if !source.is_empty() && !planted!("dead-letter-under-the-messages-id") {
            let place = [source, header(reserved::PARTITION), header(reserved::POSITION)];
            id = Id::derived([&id.as_bytes()[..]].into_iter().chain(place));
        }
        Some(id)
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
        assert!(received().is_received() && !forwarded.is_received() && forwarded.is_onward());
        let typed = received().with_header(reserved::TYPES, "{}").forward();
        assert!(typed.headers.get(reserved::TYPES).is_some(), "they belong to the headers that go along");
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
        assert_eq!(Message::new("").with_id(Id::from_bytes([1; 16])).dedup_id(), received().id);
        assert_eq!((once.redrives(), once.redrive().redrives()), (1, 2));
        let all = [received().dedup_id(), once.dedup_id(), once.redrive().dedup_id()];
        assert!(all.iter().enumerate().all(|(index, id)| !all[..index].contains(id)), "{all:?}");
        assert_eq!(received().redrive().dedup_id(), once.dedup_id(), "of one dead letter");
    }

    /// A dead letter of what was received from `source`.
    fn letter(source: &str, position: &str) -> Message {
        let mut letter = received().into_dead_letter();
        letter.headers.insert(reserved::SOURCE, source.to_owned());
        letter.headers.insert(reserved::POSITION, position.to_owned());
        letter
    }

    #[test]
    fn a_dead_letter_is_the_same_only_if_it_died_of_the_same_place() {
        assert_eq!(letter("sqs:billing", "7").dedup_id(), letter("sqs:billing", "7").dedup_id());
        let others = [letter("sqs:shipping", "7"), letter("sqs:billing", "8"), received().into_dead_letter()];
        for other in others {
            assert_eq!(other.id, received().id);
            assert_ne!(letter("sqs:billing", "7").dedup_id(), other.dedup_id());
            assert_ne!(letter("sqs:billing", "7").redrive().dedup_id(), other.redrive().dedup_id());
        }
    }

    #[test]
    fn a_dead_letter_of_a_dead_letter_says_only_why_it_died_last() {
        let mut first = letter("kinesis:orders/billing", "7");
        first.headers.insert(reserved::PARTITION, "3");
        first.headers.insert(reserved::TRUNCATED, "9000");
        let second = first.into_received().into_dead_letter();
        assert_eq!((second.deaths(), second.headers.get(reserved::PARTITION)), (2, None));
        assert_eq!(second.headers.get_str(reserved::TRUNCATED), Some("9000"));
        assert_eq!((second.redrive().deaths(), second.redrive().headers.get_str("a")), (0, Some("1")));
    }

    #[test]
    fn a_key_that_the_dead_letters_could_not_carry_comes_back() {
        let mut letter = letter("pubsub:orders", "7");
        letter.key = None;
        letter.headers.insert(reserved::KEY, "ключ");
        assert_eq!(letter.redrive().key, Some(Key::new("ключ").unwrap()));
        assert_eq!(letter.redrive().headers.get(reserved::KEY), None);
    }

    #[test]
    fn debug_shows_no_content() {
        let text = format!("{:?}", received());
        assert!(!text.contains("secret") && !text.contains("why"), "{text}");
    }
}
