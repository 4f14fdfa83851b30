//! What is received may be wider than what may be sent: a message made of it goes out without the headers that the provider
//! cannot carry.

use std::collections::HashSet;

use strait_core::{Error, Headers, Id, Message, Plan, Result, planted, reserved};

/// Most bytes of the list of headers that were left out: what a dead letter adds to its message is bounded.
const LIST_BYTES: usize = 256;

/// Leaves out the headers of `message` for which `plan` refuses it, and names them in [`reserved::LEFT_OUT`]. Returns what
/// `plan` says then.
///
/// # Errors
///
/// `refusal`, if it is not the headers. The message is as it was.
pub(super) fn fit(message: &mut Message, refusal: Error, plan: impl Fn(&Message) -> Result<Plan>) -> Result<Plan> {
    if planted!("nothing-left-out") {
        return Err(refusal);
    }
    let whole = message.headers.clone();
    let mut choice = Choice::of(&whole);
    choice.kept.retain(|index| {
        let (name, value) = choice.all[*index];
        let alone = Message::new("-").with_id(Id::from_bytes([0; 16])).with_header(name, value.clone());
        plan(&alone).is_ok()
    });
    let mut fits = |choice: &Choice<'_>| {
        message.headers = choice.headers();
        plan(message)
    };
    let mut outcome = fits(&choice);
    if outcome.is_err() {
        choice.keep_one_of_a_name();
        outcome = fits(&choice);
    }
    if outcome.is_err() {
        // There are too many. Of fewer than it takes it takes all, so that halving finds how many.
        let (mut some, mut too_many) = (0, choice.kept.len());
        while some + 1 < too_many {
            let half = usize::midpoint(some, too_many);
            let fewer = Choice { all: choice.all.clone(), kept: choice.kept[..half].to_vec() };
            if fits(&fewer).is_ok() { some = half } else { too_many = half }
        }
        choice.kept.truncate(some);
        outcome = fits(&choice);
    }
    if outcome.is_err() {
        message.headers = whole;
    }
    outcome.map_err(|_| refusal)
}

/// Leaves out every header that is not this library's, and names them.
pub(crate) fn leave_out_others(message: &mut Message) {
    let whole = message.headers.clone();
    let mut choice = Choice::of(&whole);
    choice.kept.retain(|index| reserved::is_ours(choice.all[*index].0));
    message.headers = choice.headers();
}

/// Which headers are kept.
struct Choice<'a> {
    all: Vec<(&'a str, &'a bytes::Bytes)>,
    /// Their indices: those of this library first, so that they stay where there are too many.
    kept: Vec<usize>,
}

impl<'a> Choice<'a> {
    fn of(headers: &'a Headers) -> Self {
        let all: Vec<_> = headers.iter().collect();
        let mut kept: Vec<_> = (0..all.len()).collect();
        kept.sort_by_key(|index| !reserved::is_ours(all[*index].0));
        Self { all, kept }
    }

    fn keep_one_of_a_name(&mut self) {
        let mut names = HashSet::new();
        self.kept.retain(|index| names.insert(self.all[*index].0));
    }

    /// Those that are kept, in their order, and the list of the others.
    fn headers(&self) -> Headers {
        let mut is_kept = vec![false; self.all.len()];
        self.kept.iter().for_each(|index| is_kept[*index] = true);
        let pairs = || self.all.iter().zip(&is_kept).map(|((name, value), kept)| (*name, *value, *kept));
        let mut headers: Headers =
            pairs().filter(|(_, _, kept)| *kept).map(|(name, value, _)| (name, value.clone())).collect();
        let before = headers.get_str(reserved::LEFT_OUT).map(str::to_owned);
        let names = pairs().filter(|(_, _, kept)| !kept).map(|(name, ..)| name.escape_default().to_string());
        if let Some(list) = list(before.into_iter().chain(names)) {
            headers.insert(reserved::LEFT_OUT, list);
        }
        headers
    }
}

/// The names, with commas between them. What is beyond the longest list is three dots.
fn list(names: impl Iterator<Item = String>) -> Option<String> {
    const MORE: &str = "...";
    let mut list: Option<String> = None;
    for name in names {
        let before = list.as_ref().map_or(0, |list| list.len() + 1);
        let whole = before + name.len() + 1 + MORE.len() <= LIST_BYTES;
        let list = list.get_or_insert_default();
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(if whole { &name } else { MORE });
        if !whole {
            break;
        }
    }
    list
}

#[cfg(test)]
mod tests {
    use strait_core::ErrorKind;

    use super::*;

    /// Takes so many headers, each once, short, and not called `goog..`.
    fn narrow(most: usize) -> impl Fn(&Message) -> Result<Plan> {
        move |message| {
            let mut names = HashSet::new();
            let good = message.headers.len() <= most
                && message.headers.iter().all(|(name, value)| {
                    value.len() < 300 && !name.starts_with("goog") && names.insert(name.to_owned())
                });
            if good { Ok(Plan::new(message.size())) } else { Err(refusal()) }
        }
    }

    fn refusal() -> Error {
        Error::new(ErrorKind::Invalid, "headers: are refused")
    }

    fn fitted(headers: &[(&str, &str)], most: usize) -> Result<Message> {
        let mut message = Message::new("x");
        message.headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        fit(&mut message, refusal(), narrow(most)).map(|_| message)
    }

    fn text(message: &Message) -> Vec<(&str, &str)> {
        message.headers.iter().map(|(name, value)| (name, std::str::from_utf8(value).unwrap())).collect()
    }

    #[test]
    fn what_cannot_be_carried_is_left_out_and_named() {
        let long = "v".repeat(300);
        let message = fitted(&[("a", "1"), ("google", "2"), ("b,ж", &long), ("c", "3"), ("a", "4")], 99).unwrap();
        assert_eq!(text(&message), [("a", "1"), ("c", "3"), (reserved::LEFT_OUT, "google,b,\\u{436},a")]);
    }

    #[test]
    fn of_too_many_ours_and_the_first_are_kept_and_the_list_is_bounded() {
        let names: Vec<_> = (0..1000).map(|number| format!("h{number}")).collect();
        let mut headers: Vec<_> = names.iter().map(|name| (&**name, "v")).collect();
        headers.push((reserved::REASON, "why"));
        headers.push((reserved::LEFT_OUT, "before"));
        let message = fitted(&headers, 10).unwrap();
        assert_eq!((message.headers.len(), message.headers.get_str(reserved::REASON)), (10, Some("why")));
        assert_eq!(message.headers.iter().next().unwrap().0, "h0");
        let list = message.headers.get_str(reserved::LEFT_OUT).unwrap();
        assert!(list.starts_with("before,h8,h9,") && list.ends_with(",...") && list.len() <= LIST_BYTES, "{list}");
    }

    #[test]
    fn what_is_not_the_headers_fault_stays_as_it_is() {
        let mut message = Message::new("x").with_header("a", "1");
        let refused = fit(&mut message, refusal(), |_| Err(refusal())).unwrap_err();
        assert_eq!((refused.to_string(), message.headers.len()), (refusal().to_string(), 1));
    }
}
