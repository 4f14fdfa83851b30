//! The ledger against a naive model: two sets.

use std::collections::BTreeSet;

use proptest::prelude::*;
use strait_kit::Ledger;

#[derive(Clone, Debug)]
enum Step {
    Record,
    /// Settles these entries of all that were recorded, settled before or not, in one go.
    Settle(Vec<usize>),
}

proptest! {
    #[test]
    fn the_watermark_is_the_end_of_the_settled_prefix(
        steps in prop::collection::vec(prop_oneof![Just(Step::Record), prop::collection::vec(0usize..40, 1..4).prop_map(Step::Settle)], 0..300)
    ) {
        let mut ledger = Ledger::default();
        let mut recorded: Vec<(u64, u64)> = Vec::new();
        let mut settled: BTreeSet<u64> = BTreeSet::new();
        for step in steps {
            match step {
                Step::Record => {
                    let position = 10 * recorded.len() as u64;
                    recorded.push((ledger.record(position, recorded.len()), position));
                }
                Step::Settle(indices) if !recorded.is_empty() => {
                    let before = ledger.watermark().copied();
                    let entries: Vec<_> = indices.iter().map(|index| recorded[index % recorded.len()].0).collect();
                    settled.extend(&entries);
                    let moved = if let [entry] = entries[..] { ledger.settle(entry) } else { ledger.settle_all(entries) };
                    prop_assert_eq!(moved, ledger.watermark().copied() != before);
                }
                Step::Settle(indices) => {
                    prop_assert!(!ledger.settle_all(indices.into_iter().map(|index| index as u64)), "nothing was recorded");
                }
            }
            let prefix = recorded.iter().take_while(|(entry, _)| settled.contains(entry)).count();
            prop_assert_eq!(ledger.watermark().copied(), recorded[..prefix].last().map(|(_, position)| *position));
            prop_assert_eq!(ledger.span(), recorded.len() - prefix);
            prop_assert_eq!(ledger.unsettled(), recorded.len() - settled.len());
            let unsettled = recorded.iter().enumerate().filter(|(_, (entry, _))| !settled.contains(entry));
            prop_assert_eq!(ledger.unsettled_bytes(), unsettled.map(|(bytes, _)| bytes).sum::<usize>());
        }
        let prefix = recorded.iter().take_while(|(entry, _)| settled.contains(entry)).count();
        let above: Vec<_> = recorded[prefix..].iter().filter(|(entry, _)| settled.contains(entry)).map(|(_, position)| *position).collect();
        prop_assert_eq!(ledger.settled_above().collect::<Vec<_>>(), above);
    }
}
