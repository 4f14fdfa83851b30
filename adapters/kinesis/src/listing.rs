//! The shards of a stream.

use std::sync::Arc;

use aws_sdk_kinesis::types::{ChildShard, HashKeyRange, Shard};
use strait_core::{ErrorKind, Result};
use strait_kit::Partition;

use crate::stream::Stream;

/// Most pages of a list: of a thousand shards each, unless the service makes them smaller.
const PAGES: usize = 10_000;

/// All shards of a stream, also those that are closed and still have records.
///
/// What is not listed is taken for gone, so that a list is believed only if those shards that became no others have every hash
/// between them: while a stream is deleted the service lists none, and calls that a success.
///
/// # Errors
///
/// [`ErrorKind::Unavailable`] if some are missing; otherwise what the service says.
pub(crate) async fn list(stream: &Stream) -> Result<Vec<Partition>> {
    let call = stream.call("list the shards of", "kinesis:ListShards");
    let (mut all, mut token) = (Vec::new(), None);
    for _ in 0..PAGES {
        let request = stream.client.list_shards();
        // The service refuses a token that does not come alone.
        let request = match token.take() {
            Some(token) => request.next_token(token),
            None => request.set_stream_arn(stream.arn()).set_stream_name(stream.name_if_needed()),
        };
        let page = request.send().await.map_err(|error| call.failed(&error))?;
        for shard in page.shards.unwrap_or_default() {
            all.push(partition(shard).ok_or_else(|| call.error(ErrorKind::Unavailable, "a shard has no hashes"))?);
        }
        match page.next_token {
            Some(next) => token = Some(next),
            None => {
                return if is_whole(&all) {
                    Ok(all)
                } else {
                    Err(call.error(ErrorKind::Unavailable, "the list is not whole, or the stream is being deleted"))
                };
            }
        }
    }
    Err(call.error(ErrorKind::Unavailable, "the list does not end"))
}

/// A child that is told at the end of its parent.
pub(crate) fn child(child: ChildShard) -> Partition {
    let partition = Partition::new(child.shard_id).with_parents(child.parent_shards);
    match hashes(child.hash_key_range.as_ref()) {
        Some((start, end)) => partition.with_hashes(start..=end),
        None => partition,
    }
}

fn partition(shard: Shard) -> Option<Partition> {
    let (start, end) = hashes(shard.hash_key_range.as_ref())?;
    let parents = shard.parent_shard_id.into_iter().chain(shard.adjacent_parent_shard_id);
    // The number itself says nothing: some servers put the largest of 64 bits there.
    let closed = shard.sequence_number_range.is_some_and(|range| range.ending_sequence_number.is_some());
    Some(Partition::new(shard.shard_id).with_parents(parents).with_closed(closed).with_hashes(start..=end))
}

fn hashes(range: Option<&HashKeyRange>) -> Option<(u128, u128)> {
    let range = range?;
    let (start, end) = (range.starting_hash_key.parse().ok()?, range.ending_hash_key.parse().ok()?);
    (start <= end).then_some((start, end))
}

/// Whether those that became no others have every hash, each once.
fn is_whole(all: &[Partition]) -> bool {
    let parents: std::collections::HashSet<&Arc<str>> = all.iter().flat_map(|partition| &partition.parents).collect();
    let leaves = all.iter().filter(|partition| !parents.contains(&partition.id));
    let mut ranges: Vec<_> =
        leaves.filter_map(|leaf| leaf.hashes.clone()).map(|range| (*range.start(), *range.end())).collect();
    ranges.sort_unstable();
    // Where the next one is to start; none once the last hash is reached.
    let end =
        ranges.into_iter().try_fold(Some(0), |next, (start, end)| (next == Some(start)).then(|| end.checked_add(1)));
    end == Some(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(id: &str, parents: &[&str], hashes: (u128, u128)) -> Partition {
        Partition::new(id).with_parents(parents.iter().copied()).with_hashes(hashes.0..=hashes.1)
    }

    #[test]
    fn a_list_is_whole_if_its_leaves_have_every_hash() {
        let max = u128::MAX;
        let (whole, left, right) = (of("0", &[], (0, max)), of("1", &["0"], (0, 9)), of("2", &["0"], (10, max)));
        assert!(is_whole(std::slice::from_ref(&whole)));
        assert!(is_whole(&[whole.clone(), right.clone(), left.clone()]));
        assert!(is_whole(&[right.clone(), left.clone(), of("3", &["1", "2"], (0, max))]));
        assert!(is_whole(&[left.clone(), of("2", &[], (10, max))]), "parents are forgotten");
        assert!(!is_whole(&[]));
        assert!(!is_whole(&[whole, left.clone()]), "a child is missing");
        assert!(!is_whole(&[left.clone(), of("2", &[], (11, max))]), "a hole");
        assert!(!is_whole(&[left.clone(), of("2", &[], (9, max))]), "two have the same");
        assert!(!is_whole(&[left, of("2", &[], (10, max - 1))]), "the end is missing");
    }
}
