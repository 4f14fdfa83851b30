//! Dead letters: stored before their source is settled.

use std::{sync::Arc, time::SystemTime};

use strait_core::{Error, ErrorKind, Guarantees, Id, Message, Plan, Receipt, Result, planted, reserved};

use super::{Oversize, item::Item};
use crate::{Sender, sender::leave_out_others};

/// Most bytes of what a dead letter says of its message, so that all of it stays below
/// 2 KiB, and each header below the 1,024 bytes that providers allow.
const REASON_BYTES: usize = 768;
const SOURCE_BYTES: usize = 320;
const PLACE_BYTES: usize = 128;

/// How often a message becomes a dead letter before it is not buried again: then the dead letters lead in a circle.
const MOST_DEATHS: u32 = 16;

/// Stores the dead letter of `item`, which the receiver `name` could not process, and gives the item back.
pub(super) async fn bury(
    item: Box<Item>,
    name: Arc<str>,
    sender: Sender,
    guarantees: Guarantees,
    oversize: Oversize,
) -> (Box<Item>, Result<Receipt>) {
    let outcome = match dead_letter(&item, &name, &guarantees, &sender, oversize) {
        Ok(message) => store(&sender, message).await,
        Err(error) => Err(error),
    };
    (item, outcome)
}

async fn store(sender: &Sender, message: Message) -> Result<Receipt> {
    let outcome = match sender.enqueue(message).await {
        Ok(pending) => pending.await.into_result(),
        Err(error) => Err(error),
    };
    // The sender's own skipping after a failure is no verdict on this message.
    outcome.map_err(|error| match error.kind() {
        ErrorKind::Other => Error::new(ErrorKind::Unavailable, "the dead letter was not stored").with_source(error),
        _ => error,
    })
}

/// The dead letter of `item`, as the channel of `sender` can carry it: headers that it cannot carry are left out, and so is
/// the key, which a header has then. Where it is too large, it is cut off if that is allowed.
///
/// # Errors
///
/// What the channel can never carry, or has carried too often.
fn dead_letter(
    item: &Item,
    name: &str,
    guarantees: &Guarantees,
    sender: &Sender,
    oversize: Oversize,
) -> Result<Message> {
    let mut letter = explained(item, name, guarantees);
    if letter.deaths() > MOST_DEATHS && !planted!("buried-for-ever") {
        let text = format!(
            "dead_letter: the message has become a dead letter {MOST_DEATHS} times: the dead letters lead in a circle"
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let plan = match (sender.fit(&mut letter), letter.key.take()) {
        (Err(_), Some(key)) => {
            letter.headers.insert(reserved::KEY, key.as_str().to_owned());
            sender.fit(&mut letter)?
        }
        (plan, key) => {
            letter.key = key;
            plan?
        }
    };
    if planted!("dead-letter-too-large") {
        return Ok(letter);
    }
    match oversize {
        Oversize::Refuse => shorten_reason(&mut letter, plan, sender)?,
        Oversize::Truncate => truncate(&mut letter, plan, sender)?,
    }
    Ok(letter)
}

/// The message of `item` with the reason, the number of attempts and where it came from.
fn explained(item: &Item, name: &str, guarantees: &Guarantees) -> Message {
    let received = item.received();
    let mut message = received.message.clone().into_dead_letter();
    if planted!("dead-letter-as-text") {
        message.payload = String::from_utf8_lossy(&message.payload).into_owned().into();
    }
    let source = format!("{}:{}", guarantees.provider, guarantees.source);
    let partition = received.claim.partition();
    let position = received.origin.position().to_string();
    // One that was sent without an id has the same in each attempt to store it.
    let place = [source.as_str(), partition.unwrap_or_default(), &position];
    message.id.get_or_insert_with(|| Id::derived(place.map(str::as_bytes)));
    let headers = &mut message.headers;
    headers.insert(reserved::REASON, shorten(&item.reason, REASON_BYTES).to_owned());
    headers.insert(reserved::ATTEMPTS, item.attempt().to_string());
    headers.insert(reserved::RECEIVER, shorten(name, PLACE_BYTES).to_owned());
    headers.insert(reserved::TIME, humantime::format_rfc3339_millis(SystemTime::now()).to_string());
    headers.insert(reserved::SOURCE, shorten(&source, SOURCE_BYTES).to_owned());
    if let Some(partition) = partition {
        headers.insert(reserved::PARTITION, shorten(partition, PLACE_BYTES).to_owned());
    }
    headers.insert(reserved::POSITION, shorten(&position, PLACE_BYTES).to_owned());
    message
}

/// How many bytes too large it is.
fn excess(plan: Plan, sender: &Sender) -> usize {
    plan.bytes.saturating_sub(sender.limits().message_bytes)
}

/// Where it is too large by less than its reason, that is cut off.
fn shorten_reason(letter: &mut Message, plan: Plan, sender: &Sender) -> Result<()> {
    let excess = excess(plan, sender);
    let reason = letter.headers.get_str(reserved::REASON).unwrap_or_default().to_owned();
    if excess == 0 {
        return Ok(());
    }
    if reason.len() <= excess {
        let text = format!(
            "dead_letter: it has {} bytes with why it is dead, and its channel takes {}; oversize = \"truncate\" cuts it off",
            plan.bytes,
            sender.limits().message_bytes
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    letter.headers.insert(reserved::REASON, shorten(&reason, reason.len() - excess).to_owned());
    Ok(())
}

/// What the header has that says how long the payload was, in any encoding, and the bytes that a payload may grow by when
/// it is cut in the middle of a character.
const CUT_BYTES: usize = 128;

/// Cuts off the payload where it is too large, and where that does not help the headers that are not ours.
fn truncate(letter: &mut Message, mut plan: Plan, sender: &Sender) -> Result<()> {
    if excess(plan, sender) > 0 {
        let whole = letter.payload.len();
        letter.payload.truncate(whole.saturating_sub(excess(plan, sender) + CUT_BYTES));
        if letter.headers.get(reserved::TRUNCATED).is_none() {
            letter.headers.insert(reserved::TRUNCATED, whole.to_string());
        }
        plan = sender.fit(letter)?;
    }
    if excess(plan, sender) > 0 {
        leave_out_others(letter);
    }
    Ok(())
}

/// The beginning of `text`, cut at a character. A header's value must not be empty.
fn shorten(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    if end == 0 { "-" } else { &text[..end] }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use strait_core::{Grant, Key, Limits, Origin, Producer, Receipt, Received, Token};

    use super::*;
    use crate::SenderSettings;

    fn item(payload: usize, reason: &str) -> (Item, Grant) {
        of(Message::new(vec![7; payload]).with_header("a", "b"), reason)
    }

    fn of(message: Message, reason: &str) -> (Item, Grant) {
        let grant = Grant::new(Some("p3".into()), None);
        let mut item = Item::default();
        item.fill(&mut vec![Received::new(message, grant.claim(Token::default()), Origin::new(9))].into_iter());
        item.reason = reason.to_owned();
        (item, grant)
    }

    /// Takes so many bytes, and no header whose name begins with `x`, nor a key that is not ASCII.
    #[derive(Debug)]
    struct Narrow(usize);

    #[async_trait::async_trait]
    impl Producer for Narrow {
        fn limits(&self) -> Limits {
            Limits::new(10, self.0)
        }
        fn destinations(&self) -> Vec<String> {
            Vec::new()
        }
        fn plan(&self, message: &Message) -> Result<Plan> {
            let key = message.key.as_ref().is_none_or(|key| key.as_str().is_ascii());
            if key && message.headers.iter().all(|(name, _)| !name.starts_with('x')) {
                return Ok(Plan::new(message.size()));
            }
            Err(Error::new(ErrorKind::Invalid, "cannot be carried"))
        }
        async fn send(&self, batch: &[Message]) -> Vec<Result<Receipt>> {
            batch.iter().map(|_| Ok(Receipt::new(0))).collect()
        }
        async fn close(&self) -> Result<()> {
            Ok(())
        }
    }

    fn letter(item: &Item, room: usize, oversize: Oversize) -> Result<Message> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let _inside = runtime.enter();
        let sender = Sender::new(Arc::new(Narrow(room)), SenderSettings::default()).unwrap();
        dead_letter(item, "billing", &Guarantees::new("memory", "orders"), &sender, oversize)
    }

    #[test]
    fn keeps_the_message_and_says_why_and_where_from() {
        let (item, _grant) = item(5, "card declined");
        let letter = letter(&item, 8_000, Oversize::Refuse).unwrap();
        assert!(!letter.is_received());
        assert_eq!(letter.payload.len(), 5);
        let header = |name| letter.headers.get_str(name);
        assert_eq!(header("a"), Some("b"));
        assert_eq!(header(reserved::REASON), Some("card declined"));
        assert_eq!(header(reserved::SOURCE), Some("memory:orders"));
        assert_eq!(header(reserved::PARTITION), Some("p3"));
        assert_eq!(header(reserved::POSITION), Some("9"));
        assert_eq!(header(reserved::DEATHS), Some("1"));
        assert_eq!(letter.redrive().headers.len(), 3, "a, and which redrive it is, and of what");
    }

    #[test]
    fn a_message_without_an_id_has_the_same_one_in_every_attempt_to_store_it() {
        let (one, _grant) = item(5, "card declined");
        let id = letter(&one, 8_000, Oversize::Refuse).unwrap().id;
        assert!(id.is_some());
        assert_eq!(letter(&one, 8_000, Oversize::Refuse).unwrap().id, id);
    }

    #[test]
    fn what_the_channel_cannot_carry_is_left_out_and_the_key_is_kept_in_a_header() {
        let message =
            Message::new("1").with_header("x-trace", "t").with_header("a", "b").with_key(Key::new("ж").unwrap());
        let (item, _grant) = of(message, "bad");
        let letter = letter(&item, 8_000, Oversize::Refuse).unwrap();
        let header = |name| letter.headers.get_str(name);
        assert_eq!((header("a"), header("x-trace"), header(reserved::LEFT_OUT)), (Some("b"), None, Some("x-trace")));
        assert_eq!((&letter.key, header(reserved::KEY)), (&None, Some("ж")));
        assert_eq!(letter.redrive().key, Some(Key::new("ж").unwrap()));
    }

    #[test]
    fn dead_letters_that_go_in_a_circle_end() {
        let mut message = Message::new("1");
        for round in 1..=MOST_DEATHS {
            let (item, _grant) = of(message, "bad");
            message = letter(&item, 8_000, Oversize::Truncate).unwrap();
            assert_eq!(message.deaths(), round);
        }
        let (item, _grant) = of(message, "bad");
        let refused = letter(&item, 8_000, Oversize::Truncate).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
    }

    #[test]
    fn is_truncated_only_where_it_must_be() {
        let (large, _grant) = item(10_000, "");
        let cut = letter(&large, 8_000, Oversize::Truncate).unwrap();
        assert!(cut.size() <= 8_000 && cut.payload.len() > 7_000, "{}", cut.payload.len());
        assert_eq!(cut.headers.get_str(reserved::TRUNCATED), Some("10000"));
        assert_eq!(letter(&large, 20_000, Oversize::Truncate).unwrap().payload.len(), 10_000);
        let mut message = Message::new("1");
        message.headers = (0..1000).map(|number| (number.to_string(), "v".repeat(100))).collect();
        let (headers, _grant) = of(message, "bad");
        let cut = letter(&headers, 8_000, Oversize::Truncate).unwrap();
        assert!(cut.size() <= 8_000 && cut.headers.get(reserved::LEFT_OUT).is_some(), "{}", cut.size());
    }

    #[test]
    fn where_it_must_stay_whole_its_reason_yields_and_then_it_is_refused() {
        let (large, _grant) = item(7_500, &"r".repeat(500));
        let whole = letter(&large, 8_000, Oversize::Refuse).unwrap();
        assert_eq!((whole.size(), whole.payload.len()), (8_000, 7_500));
        let refused = letter(&large, 7_600, Oversize::Refuse).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Invalid);
        assert!(refused.to_string().contains("oversize = \"truncate\""), "{refused}");
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        let reason = "ж".repeat(1000);
        assert_eq!(shorten(&reason, REASON_BYTES).len(), REASON_BYTES);
        assert_eq!(shorten(&format!("x{reason}"), REASON_BYTES).len(), REASON_BYTES - 1);
        assert_eq!((shorten("", 9), shorten(&reason, 1)), ("-", "-"), "and never to nothing");
    }
}
