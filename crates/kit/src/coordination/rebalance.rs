use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use strait_core::planted;

/// Who is to own each partition: as equal shares as can be, and as few moves from `owners` as those need.
///
/// Each member gets the floor or the ceiling of partitions by members; those who own most keep the larger shares. An
/// owner that is no member owns nothing any more. To let an heir keep a share, name it in `owners` in place of whom it
/// inherits from. Without members nobody owns anything. Pure: the same arguments give the same plan to every member.
///
/// One entry a partition, in the order of `owners`. `members` must not name one twice.
pub fn rebalance(owners: &[Option<Arc<str>>], members: &[Arc<str>]) -> Vec<Option<Arc<str>>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let ranks: BTreeMap<&str, usize> = members.iter().enumerate().map(|(rank, member)| (&**member, rank)).collect();
    let mut kept: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut free = Vec::new();
    for (partition, owner) in owners.iter().enumerate() {
        match owner.as_deref().and_then(|owner| ranks.get(owner)) {
            Some(rank) => kept[*rank].push(partition),
            None => free.push(partition),
        }
    }
    let mut order: Vec<usize> = (0..members.len()).collect();
    order.sort_by_key(|rank| (Reverse(kept[*rank].len()), &members[*rank]));
    let (floor, larger) = (owners.len() / members.len(), owners.len() % members.len());
    let share = |place: usize| {
        if planted!("ceil-only-shares") {
            owners.len().div_ceil(members.len())
        } else {
            floor + usize::from(place < larger)
        }
    };
    for (place, rank) in order.iter().enumerate() {
        let keep = share(place).min(kept[*rank].len());
        let keep = if planted!("everything-moves") { 0 } else { keep };
        free.extend(kept[*rank].drain(keep..));
    }
    free.sort_unstable();
    let mut free = free.into_iter();
    let mut plan = vec![None; owners.len()];
    for (place, rank) in order.iter().enumerate() {
        let kept = &kept[*rank];
        for partition in kept.iter().copied().chain(free.by_ref().take(share(place).saturating_sub(kept.len()))) {
            plan[partition] = Some(Arc::clone(&members[*rank]));
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use proptest::prelude::*;

    use super::*;

    fn id(number: usize) -> Arc<str> {
        format!("m{number:03}").into()
    }

    fn count(plan: &[Option<Arc<str>>], member: &Arc<str>) -> usize {
        plan.iter().filter(|owner| owner.as_ref() == Some(member)).count()
    }

    proptest! {
        #[test]
        fn shares_are_equal_and_moves_are_few(
            owners in prop::collection::vec(prop::option::of(0usize..8), 0..40),
            members in prop::collection::btree_set(0usize..12, 1..10),
        ) {
            let owners: Vec<_> = owners.into_iter().map(|owner| owner.map(id)).collect();
            let members: Vec<_> = members.into_iter().map(id).collect();
            let plan = rebalance(&owners, &members);
            let (floor, rest) = (owners.len() / members.len(), owners.len() % members.len());
            let shares: Vec<_> = members.iter().map(|member| count(&plan, member)).collect();
            prop_assert!(shares.iter().all(|share| *share == floor || *share == floor + 1));
            prop_assert_eq!(shares.iter().filter(|share| **share == floor + 1).count(), rest);
            prop_assert_eq!(plan.iter().flatten().count(), owners.len());
            // What must move: what nobody alive owns, and what is beyond a fair share, the larger shares given to those
            // who own most.
            let mut owned: Vec<_> = members.iter().map(|member| count(&owners, member)).collect();
            owned.sort_unstable_by(|a, b| b.cmp(a));
            let share = |(place, owned): (usize, &usize)| (*owned).min(floor + usize::from(place < rest));
            let stay: usize = owned.iter().enumerate().map(share).sum();
            let stayed = owners.iter().zip(&plan).filter(|(before, after)| before.is_some() && before == after).count();
            prop_assert_eq!(stayed, stay);
            prop_assert_eq!(&rebalance(&plan, &members), &plan, "what is balanced stays");
        }

        #[test]
        fn an_heir_keeps_its_share(partitions in 1usize..40, members in 1usize..8, gone in 0usize..8) {
            let ids: Vec<_> = (0..members).map(id).collect();
            let before = rebalance(&vec![None; partitions], &ids);
            let (old, new) = (id(gone % members), id(900));
            let rename = |member: &Arc<str>| if *member == old { Arc::clone(&new) } else { Arc::clone(member) };
            let owners: Vec<_> = before.iter().map(|owner| owner.as_ref().map(rename)).collect();
            let members: Vec<_> = ids.iter().map(rename).collect();
            prop_assert_eq!(&rebalance(&owners, &members), &owners);
        }

        #[test]
        fn a_joiner_moves_no_more_than_its_share(partitions in 0usize..60, members in 1usize..9) {
            let mut ids: Vec<_> = (0..members).map(id).collect();
            let before = rebalance(&vec![None; partitions], &ids);
            ids.push(id(999));
            let after = rebalance(&before, &ids);
            let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
            prop_assert!(moved <= partitions.div_ceil(members + 1));
        }
    }

    #[test]
    fn four_partitions_and_three_members_leave_nobody_idle() {
        let plan = rebalance(&vec![Some(id(1)); 4], &[id(1), id(2), id(3)]);
        assert_eq!(plan, [Some(id(1)), Some(id(1)), Some(id(2)), Some(id(3))]);
        assert_eq!(rebalance(&[Some(id(1)), None], &[]), [None, None]);
    }

    /// The bound is a hundred times what it takes, so that only a change of its order is noticed.
    #[test]
    fn is_quick_for_ten_thousand_partitions_and_five_hundred_members() {
        let ids: Vec<_> = (0..500).map(id).collect();
        let before = rebalance(&vec![None; 10_000], &ids);
        let begin = Instant::now();
        let after = rebalance(&before, &ids[..499]);
        let taken = begin.elapsed();
        assert_eq!(before.iter().zip(&after).filter(|(before, after)| before != after).count(), 20);
        assert!(taken.as_millis() < 2_000, "it took {taken:?}");
    }
}
