//! Dead letters: stored before their source is settled.

use strait_core::{Error, ErrorKind, Guarantees, Message, Result, planted, reserved};

use super::{Oversize, item::Item, settings::DEAD_LETTER_OVERHEAD};
use crate::{Outcome, Sender};

/// Most bytes of the reason that a dead letter keeps: what it adds to its message stays below
/// [`DEAD_LETTER_OVERHEAD`], and providers allow 1,024 a header.
const REASON_BYTES: usize = 768;

/// Stores the dead letter of `item`, and gives the item back.
pub(super) async fn bury(
    item: Box<Item>,
    sender: Sender,
    guarantees: Guarantees,
    oversize: Oversize,
) -> (Box<Item>, Result<()>) {
    let message =
        dead_letter(&item, &guarantees, (oversize == Oversize::Truncate).then(|| sender.limits().message_bytes));
    let outcome = match sender.enqueue(message).await {
        Ok(pending) => match pending.await {
            Outcome::Sent(_) => Ok(()),
            Outcome::NotSent(error) | Outcome::Unknown(error) => Err(error),
        },
        Err(error) => Err(error),
    };
    // The sender's own skipping after a failure is no verdict on this message.
    let outcome = outcome.map_err(|error| match error.kind() {
        ErrorKind::Other => Error::new(ErrorKind::Unavailable, "the dead letter was not stored").with_source(error),
        _ => error,
    });
    (item, outcome)
}

/// The message of `item` with the reason, the number of attempts and where it came from. Its payload is cut off at the
/// end where the whole would be larger than `room`.
fn dead_letter(item: &Item, guarantees: &Guarantees, room: Option<usize>) -> Message {
    let received = item.received();
    let mut message = received.message.clone().into_dead_letter();
    let headers = &mut message.headers;
    headers.insert(reserved::REASON, shorten(&item.reason).to_owned());
    headers.insert(reserved::ATTEMPTS, item.attempt().to_string());
    headers.insert(reserved::SOURCE, format!("{}:{}", guarantees.provider, guarantees.source));
    if let Some(partition) = received.claim.partition() {
        headers.insert(reserved::PARTITION, partition.to_owned());
    }
    headers.insert(reserved::POSITION, received.origin.position().to_string());
    if let Some(room) = room {
        let whole = message.payload.len();
        // What the provider adds for its own encoding is not known here: leave as much again.
        let excess = (message.size() + DEAD_LETTER_OVERHEAD).saturating_sub(room);
        if excess > 0 && !planted!("dead-letter-too-large") {
            message.payload.truncate(whole.saturating_sub(excess));
            message.headers.insert(reserved::TRUNCATED, whole.to_string());
        }
    }
    message
}

/// A header's value must not be empty, and is cut at a character.
fn shorten(reason: &str) -> &str {
    if reason.is_empty() {
        return "no reason was given";
    }
    let mut end = reason.len().min(REASON_BYTES);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    &reason[..end]
}

#[cfg(test)]
mod tests {
    use strait_core::{Grant, Origin, Received, Token};

    use super::*;

    fn item(payload: usize, reason: &str) -> (Item, Grant) {
        let grant = Grant::new(Some("p3".into()), None);
        let message = Message::new(vec![7; payload]).with_header("a", "b");
        let mut item = Item::default();
        item.fill(&mut vec![Received::new(message, grant.claim(Token::default()), Origin::new(9))].into_iter());
        item.reason = reason.to_owned();
        (item, grant)
    }

    #[test]
    fn keeps_the_message_and_says_why_and_where_from() {
        let (item, _grant) = item(5, "card declined");
        let letter = dead_letter(&item, &Guarantees::new("memory", "orders"), None);
        assert!(!letter.is_received());
        assert_eq!(letter.payload.len(), 5);
        let header = |name| letter.headers.get_str(name);
        assert_eq!(header("a"), Some("b"));
        assert_eq!(header(reserved::REASON), Some("card declined"));
        assert_eq!(header(reserved::SOURCE), Some("memory:orders"));
        assert_eq!(header(reserved::PARTITION), Some("p3"));
        assert_eq!(header(reserved::POSITION), Some("9"));
        assert_eq!(letter.redrive().headers.len(), 2, "a, and the count of redrives");
    }

    #[test]
    fn is_truncated_only_where_it_must_be() {
        let (large, _grant) = item(10_000, "");
        let guarantees = Guarantees::new("memory", "orders");
        let letter = dead_letter(&large, &guarantees, Some(8_000));
        assert!(letter.size() <= 8_000 && letter.payload.len() > 5_000, "{}", letter.payload.len());
        assert_eq!(letter.headers.get_str(reserved::TRUNCATED), Some("10000"));
        assert_eq!(dead_letter(&large, &guarantees, Some(20_000)).payload.len(), 10_000);
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let reason = "ж".repeat(1000);
        assert_eq!(shorten(&reason).len(), REASON_BYTES);
        assert_eq!(shorten(&format!("x{reason}")).len(), REASON_BYTES - 1);
    }
}
