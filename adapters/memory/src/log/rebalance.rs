use std::collections::BTreeMap;

use strait_core::planted;

/// Who is to own each partition: as equal shares as can be, and as few moves from `owners` as those need.
///
/// Pure, so that every member of a group could compute it. Without members nobody owns anything.
pub(super) fn rebalance(owners: &[Option<u64>], members: &[u64]) -> Vec<Option<u64>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let mut kept: BTreeMap<u64, Vec<usize>> = members.iter().map(|member| (*member, Vec::new())).collect();
    let mut free = Vec::new();
    for (partition, owner) in owners.iter().enumerate() {
        match owner.and_then(|owner| kept.get_mut(&owner)) {
            Some(list) => list.push(partition),
            None => free.push(partition),
        }
    }
    // Those who own most keep the larger shares.
    let mut order: Vec<u64> = members.to_vec();
    order.sort_by_key(|member| (std::cmp::Reverse(kept[member].len()), *member));
    let (floor, larger) = (owners.len() / members.len(), owners.len() % members.len());
    let share = |rank: usize| match rank {
        0 if planted!("everything-to-the-first") => owners.len(),
        _ => floor + usize::from(rank < larger),
    };
    for (rank, member) in order.iter().enumerate() {
        let list = kept.get_mut(member).expect("made of the members");
        free.extend(list.drain(share(rank).min(list.len())..));
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    let mut plan = vec![None; owners.len()];
    for (rank, member) in order.iter().enumerate() {
        let list = &kept[member];
        let more = free.by_ref().take(share(rank) - list.len());
        for partition in list.iter().copied().chain(more) {
            plan[partition] = Some(*member);
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn shares_are_equal_and_moves_are_few(
            owners in prop::collection::vec(prop::option::of(0u64..8), 0..40),
            members in prop::collection::btree_set(0u64..12, 1..10),
        ) {
            let members: Vec<_> = members.into_iter().collect();
            let plan = rebalance(&owners, &members);
            let count = |list: &[Option<u64>], member| list.iter().filter(|owner| **owner == Some(member)).count();
            let (floor, rest) = (owners.len() / members.len(), owners.len() % members.len());
            let mut larger = 0;
            for member in &members {
                let share = count(&plan, *member);
                prop_assert!(share == floor || share == floor + 1);
                larger += usize::from(share == floor + 1);
            }
            prop_assert_eq!(larger, rest);
            prop_assert_eq!(plan.iter().flatten().count(), owners.len());
            // What must move: what nobody alive owns, and what is beyond a fair share, the larger shares given to those
            // who own most.
            let mut owned: Vec<_> = members.iter().map(|member| count(&owners, *member)).collect();
            owned.sort_unstable_by(|a, b| b.cmp(a));
            let stay: usize = owned.iter().enumerate().map(|(rank, owned)| (*owned).min(floor + usize::from(rank < rest))).sum();
            let stayed = owners.iter().zip(&plan).filter(|(before, after)| before.is_some() && before == after).count();
            prop_assert_eq!(stayed, stay);
        }
    }

    #[test]
    fn four_partitions_and_three_members_leave_nobody_idle() {
        assert_eq!(rebalance(&[Some(1); 4], &[1, 2, 3]), [Some(1), Some(1), Some(2), Some(3)]);
        assert_eq!(rebalance(&[Some(1), None], &[]), [None, None]);
    }
}
