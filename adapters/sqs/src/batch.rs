//! The entries of a batch, and what became of each.

use strait_aws::Call;
use strait_core::{Error, ErrorKind, Message, Receipt, Result};

/// Most entries of one request.
pub(crate) const ENTRIES: usize = 10;

/// An entry that failed, as the service says.
pub(crate) struct Failed<'a> {
    pub(crate) id: &'a str,
    pub(crate) code: &'a str,
    /// What it says of it.
    pub(crate) sentence: Option<&'a str>,
    /// Whether it is the sender's fault: then it was not done.
    pub(crate) refused: bool,
}

impl<'a> From<&'a aws_sdk_sqs::types::BatchResultErrorEntry> for Failed<'a> {
    fn from(entry: &'a aws_sdk_sqs::types::BatchResultErrorEntry) -> Self {
        Self { id: entry.id(), code: entry.code(), sentence: entry.message(), refused: entry.sender_fault() }
    }
}

impl<'a> From<&'a aws_sdk_sns::types::BatchResultErrorEntry> for Failed<'a> {
    fn from(entry: &'a aws_sdk_sns::types::BatchResultErrorEntry) -> Self {
        Self { id: entry.id(), code: entry.code(), sentence: entry.message(), refused: entry.sender_fault() }
    }
}

impl Failed<'_> {
    /// The status that a call has which fails so.
    fn status(&self) -> u16 {
        if self.refused { 400 } else { 500 }
    }
}

/// Brings the outcomes of a batch in its order. Entries are called `0`, `1` and so on.
///
/// A response that has not exactly one outcome for each entry confirms none: who knows what else it has wrong.
pub(crate) fn outcomes<'a, T>(
    call: &Call,
    entries: usize,
    done: impl IntoIterator<Item = (&'a str, T)>,
    failed: impl IntoIterator<Item = Failed<'a>>,
) -> Vec<Result<T>> {
    let mut outcomes: Vec<Option<Result<T>>> = Vec::new();
    outcomes.resize_with(entries, || None);
    let done = done.into_iter().map(|(id, value)| (id, Ok(value)));
    let error = |entry: &Failed<'_>| call.refused(entry.code, entry.sentence, entry.status());
    let failed = failed.into_iter().map(|entry| (entry.id, Err(error(&entry))));
    let mut legal = true;
    for (id, outcome) in done.chain(failed) {
        match id.parse().ok().and_then(|index: usize| outcomes.get_mut(index)) {
            Some(place @ None) => *place = Some(outcome),
            _ => legal = false,
        }
    }
    let all: Option<Vec<_>> = outcomes.into_iter().collect();
    all.filter(|_| legal).unwrap_or_else(|| failures(entries, &unbelievable(call)))
}

fn unbelievable(call: &Call) -> Error {
    call.error(ErrorKind::Unavailable, "the answer does not have one outcome for each entry").into_ambiguous()
}

/// Sends what can be carried, as entries that `entry` makes; their ids are numbers, from 0 on, within the request.
pub(crate) async fn send<E>(
    batch: &[Message],
    request: impl AsyncFnOnce(Vec<E>) -> Vec<Result<Receipt>>,
    entry: impl Fn(usize, &Message) -> Result<E>,
) -> Vec<Result<Receipt>> {
    let (mut entries, mut refused) = (Vec::with_capacity(batch.len()), Vec::new());
    for (index, message) in batch.iter().enumerate() {
        match entry(entries.len(), message) {
            Ok(entry) => entries.push(entry),
            Err(error) => refused.push((index, error)),
        }
    }
    let mut outcomes = if entries.is_empty() { Vec::new() } else { request(entries).await };
    for (index, error) in refused {
        outcomes.insert(index, Err(error)); // ascending, so that those before it are in their places
    }
    outcomes
}

/// What a producer says that is closed.
pub(crate) fn closed<T>(entries: usize, call: &Call) -> Vec<Result<T>> {
    failures(entries, &call.error(ErrorKind::Closed, "it is closed"))
}

/// The same failure for each entry.
pub(crate) fn failures<T>(entries: usize, error: &Error) -> Vec<Result<T>> {
    (0..entries).map(|_| Err(error.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::tests::sending;

    fn of(done: &[&'static str], failed: &[&'static str]) -> Vec<Result<&'static str>> {
        let failed = failed.iter().map(|id| Failed { id, code: "ThrottlingException", sentence: None, refused: true });
        outcomes(&sending(), 5, done.iter().map(|id| (*id, *id)), failed)
    }

    #[test]
    fn every_mask_of_a_batch_is_told_entry_by_entry() {
        let names = ["0", "1", "2", "3", "4"];
        for mask in 0..32 {
            let (done, failed): (Vec<_>, Vec<_>) =
                names.iter().partition(|name| mask & (1 << name.parse::<u8>().unwrap()) > 0);
            let outcomes = of(&done, &failed);
            for (name, outcome) in names.iter().zip(outcomes) {
                match outcome {
                    Ok(id) => assert!(done.contains(name) && id == *name),
                    Err(error) => assert!(failed.contains(name) && error.kind() == ErrorKind::Throttled),
                }
            }
        }
    }

    #[test]
    fn a_response_with_more_or_fewer_entries_confirms_none() {
        let wrong: [(&[_], &[_]); 6] = [
            (&["0", "1", "2", "3"], &[]),
            (&["0", "1", "2", "3", "4", "5"], &[]),
            (&["0", "1", "2", "3", "4", "4"], &[]),
            (&["0", "1", "2", "3", "4"], &["1"]),
            (&["0", "1", "2", "3", "x"], &[]),
            (&[], &[]),
        ];
        for (done, failed) in wrong {
            let outcomes = of(done, failed);
            assert_eq!(outcomes.len(), 5);
            assert!(outcomes.into_iter().all(|outcome| outcome.is_err_and(|error| error.is_ambiguous())));
        }
    }

    #[test]
    fn what_is_the_senders_fault_was_not_done() {
        let of = |refused| {
            let failed = Failed { id: "0", code: "SomethingNew", sentence: Some("hunter2"), refused };
            outcomes::<()>(&sending(), 1, [], [failed]).remove(0).unwrap_err()
        };
        assert_eq!((of(true).kind(), of(true).is_ambiguous()), (ErrorKind::Other, false));
        assert_eq!((of(false).kind(), of(false).is_ambiguous()), (ErrorKind::Unavailable, true));
        assert!(!format!("{:?}", of(true)).contains("hunter2"));
    }
}
