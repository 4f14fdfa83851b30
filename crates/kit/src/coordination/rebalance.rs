use std::{cmp::Reverse, collections::BTreeMap};

use strait_core::planted;

/// Who is to own each partition: as equal shares as can be, and as few moves from `owners` as those need.
///
/// Each member gets the floor or the ceiling of partitions by members; those who own most keep the larger shares. An
/// owner that is no member owns nothing any more. To let an heir keep a share, name it in `owners` in place of whom it
/// inherits from. Without members nobody owns anything. Pure: the same arguments give the same plan to every member.
///
/// One entry a partition, in the order of `owners`. `members` must not name one twice.
pub fn rebalance<M: Ord + Clone>(owners: &[Option<M>], members: &[M]) -> Vec<Option<M>> {
    if members.is_empty() {
        return vec![None; owners.len()];
    }
    let ranks: BTreeMap<&M, usize> = members.iter().enumerate().map(|(rank, member)| (member, rank)).collect();
    let mut kept: Vec<Vec<usize>> = vec![Vec::new(); members.len()];
    let mut free = Vec::new();
    for (partition, owner) in owners.iter().enumerate() {
        match owner.as_ref().and_then(|owner| ranks.get(owner)) {
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
            plan[partition] = Some(members[*rank].clone());
        }
    }
    plan
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, cmp::Ordering, sync::Arc};

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

    /// A member that counts how often one is compared with another.
    #[derive(Clone, Debug)]
    struct Counting<'a>(usize, &'a Cell<usize>);

    impl Ord for Counting<'_> {
        fn cmp(&self, other: &Self) -> Ordering {
            self.1.set(self.1.get() + 1);
            self.0.cmp(&other.0)
        }
    }

    impl PartialOrd for Counting<'_> {
        fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
            Some(self.cmp(other))
        }
    }

    impl PartialEq for Counting<'_> {
        fn eq(&self, other: &Self) -> bool {
            self.cmp(other).is_eq()
        }
    }

    impl Eq for Counting<'_> {}

    /// How often members are compared when one of so many leaves, and how many partitions move then.
    fn work(partitions: usize, members: usize) -> (usize, usize) {
        let count = Cell::new(0);
        let ids: Vec<_> = (0..members).map(|number| Counting(number, &count)).collect();
        let before = rebalance(&vec![None; partitions], &ids);
        count.set(0);
        let after = rebalance(&before, &ids[..members - 1]);
        let compared = count.get();
        (compared, before.iter().zip(&after).filter(|(before, after)| before != after).count())
    }

    /// Were each compared with every member, ten times as many of both would be a hundred times the work.
    #[test]
    fn ten_times_as_much_is_little_more_than_ten_times_the_work() {
        let ((small, _), (large, moved)) = (work(1_000, 50), work(10_000, 500));
        assert_eq!(moved, 20);
        assert!(small > 0 && large < 25 * small, "{small} comparisons, then {large}");
    }
}
