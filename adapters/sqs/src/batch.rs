//! The entries of a batch, and what became of each.

use strait_core::{Error, ErrorKind, Message, Receipt, Result};

use crate::error;

/// Most entries of one request.
pub(crate) const ENTRIES: usize = 10;

/// An entry that failed, as the service says.
pub(crate) struct Failed<'a> {
    pub(crate) id: &'a str,
    pub(crate) code: &'a str,
}

/// Brings the outcomes of a batch in its order. Entries are called `0`, `1` and so on.
///
/// A response that has not exactly one outcome for each entry confirms none: who knows what else it has wrong.
pub(crate) fn outcomes<'a, T>(
    what: &str,
    entries: usize,
    done: impl IntoIterator<Item = (&'a str, T)>,
    failed: impl IntoIterator<Item = Failed<'a>>,
) -> Vec<Result<T>> {
    let mut outcomes: Vec<Option<Result<T>>> = Vec::new();
    outcomes.resize_with(entries, || None);
    let done = done.into_iter().map(|(id, value)| (id, Ok(value)));
    let failed = failed.into_iter().map(|entry| (entry.id, Err(error::of_code(what, entry.code, 0))));
    let mut legal = true;
    for (id, outcome) in done.chain(failed) {
        match id.parse().ok().and_then(|index: usize| outcomes.get_mut(index)) {
            Some(place @ None) => *place = Some(outcome),
            _ => legal = false,
        }
    }
    let all: Option<Vec<_>> = outcomes.into_iter().collect();
    all.filter(|_| legal).unwrap_or_else(|| failures(entries, &unbelievable(what)))
}

fn unbelievable(what: &str) -> Error {
    error::unavailable(format!("{what}: the answer does not have one outcome for each entry")).into_ambiguous()
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
pub(crate) fn closed<T>(entries: usize, what: &str) -> Vec<Result<T>> {
    failures(entries, &Error::new(ErrorKind::Closed, format!("{what}: it is closed")))
}

/// The same failure for each entry.
pub(crate) fn failures<T>(entries: usize, error: &Error) -> Vec<Result<T>> {
    (0..entries).map(|_| Err(error.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(done: &[&'static str], failed: &[&'static str]) -> Vec<Result<&'static str>> {
        let failed = failed.iter().map(|id| Failed { id, code: "ThrottlingException" });
        outcomes("sqs: cannot send", 5, done.iter().map(|id| (*id, *id)), failed)
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
}
