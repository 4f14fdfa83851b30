//! Lanes against a naive model: a list of (name, key, value) in order of arrival.

use std::{collections::VecDeque, sync::Arc};

use proptest::prelude::*;
use strait_lanes::Lanes;

#[derive(Clone, Debug)]
enum Step {
    Push(Option<u8>),
    /// Removes the n-th of those in hand.
    Remove(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let push = prop_oneof![1 => Just(None), 4 => (0u8..4).prop_map(Some)].prop_map(Step::Push);
    prop::collection::vec(prop_oneof![push, (0usize..64).prop_map(Step::Remove)], 0..200)
}

proptest! {
    #[test]
    fn lanes_do_what_a_list_does(steps in steps()) {
        let mut lanes = Lanes::<u8, usize>::default();
        let mut model: Vec<(u32, Option<u8>, usize)> = Vec::new();
        let first = |model: &[(u32, Option<u8>, usize)], key: u8| model.iter().find(|(_, other, _)| *other == Some(key)).map(|(id, ..)| *id);
        for (value, step) in steps.into_iter().enumerate() {
            match step {
                Step::Push(key) => {
                    let expected = key.is_none_or(|key| first(&model, key).is_none());
                    let (id, is_first) = lanes.push(key.as_ref(), value);
                    prop_assert_eq!(is_first, expected);
                    prop_assert!(model.iter().all(|(other, ..)| *other != id), "a name in use was given again");
                    model.push((id, key, value));
                }
                Step::Remove(index) if !model.is_empty() => {
                    let (id, key, _) = model.remove(index % model.len());
                    let was_first = key.is_some_and(|key| first(&model, key).is_none_or(|other| {
                        let position = |id| model.iter().position(|(other, ..)| *other == id).unwrap();
                        position(other) >= index % (model.len() + 1)
                    }));
                    let expected = if was_first { key.and_then(|key| first(&model, key)) } else { None };
                    prop_assert_eq!(lanes.remove(id), expected);
                    prop_assert_eq!(lanes.remove(id), None, "removed twice");
                }
                Step::Remove(_) => {}
            }
            prop_assert_eq!(lanes.len(), model.len());
            prop_assert_eq!(lanes.is_empty(), model.is_empty());
            for (position, (id, key, value)) in model.iter().enumerate() {
                prop_assert_eq!(lanes.get(*id), Some(value));
                prop_assert_eq!(lanes.get_mut(*id).copied(), Some(*value));
                let next = key.and_then(|key| model[position + 1..].iter().find(|(_, other, _)| *other == Some(key)).map(|(id, ..)| *id));
                prop_assert_eq!(lanes.next(*id), next);
                let previous = key.and_then(|key| model[..position].iter().rfind(|(_, other, _)| *other == Some(key)).map(|(id, ..)| *id));
                prop_assert_eq!(lanes.previous(*id), previous);
                prop_assert_eq!(lanes.is_first(*id), key.is_none_or(|key| first(&model, key) == Some(*id)));
            }
            let mut all: Vec<_> = lanes.iter().map(|(id, value)| (id, *value)).collect();
            all.sort_unstable_by_key(|(_, value)| *value);
            prop_assert_eq!(all, model.iter().map(|(id, _, value)| (*id, *value)).collect::<Vec<_>>());
        }
    }
}

/// Pushes so many, each with a key of its own, removes all of them, and gives memory back.
fn come_and_go(lanes: &mut Lanes<Arc<u32>, ()>, count: u32) {
    let ids: Vec<_> = (0..count).map(|key| lanes.push(Some(&Arc::new(key)), ()).0).collect();
    for id in ids {
        lanes.remove(id);
    }
    lanes.shrink();
    assert!(lanes.is_empty() && lanes.get(0).is_none());
}

#[test]
fn memory_is_given_back_once_all_of_many_have_left() {
    let mut lanes = Lanes::default();
    come_and_go(&mut lanes, 5000);
    assert_eq!(lanes.push(Some(&Arc::new(7)), ()), (0, true), "it is as new");
}

#[test]
fn a_table_that_is_empty_now_and_then_keeps_its_lanes() {
    let mut lanes = Lanes::default();
    let key = Arc::new(1000);
    let (id, _) = lanes.push(Some(&key), ());
    lanes.remove(id);
    come_and_go(&mut lanes, 1000);
    assert_eq!(Arc::strong_count(&key), 2, "its lane was forgotten");
    come_and_go(&mut lanes, 5000);
    assert_eq!(Arc::strong_count(&key), 1, "its lane is kept for ever");
}

#[test]
fn keys_that_do_not_come_again_are_forgotten_and_those_in_hand_are_not() {
    const KEYS: u32 = 1_000_000;
    let key = |number: u32| Arc::new(number);
    let mut lanes = Lanes::<Arc<u32>, ()>::default();
    let held: Vec<_> = (0..10).map(|number| lanes.push(Some(&key(number)), ()).0).collect();
    let mut seen = VecDeque::new();
    let mut most = 0;
    for number in 10..KEYS {
        let new = key(number);
        seen.push_back(Arc::downgrade(&new));
        let (id, first) = lanes.push(Some(&new), ());
        let (behind, second) = lanes.push(Some(&Arc::new(*new)), ());
        assert!(first && !second);
        assert_eq!(lanes.remove(id), Some(behind));
        assert_eq!(lanes.remove(behind), None);
        let (last, first) = lanes.push(Some(&key(number % 10)), ());
        assert!(!first && lanes.previous(last) == Some(held[number as usize % 10]), "its lane was forgotten");
        assert_eq!(lanes.remove(last), None);
        if seen.len() > 5000 {
            assert_eq!(seen.pop_front().unwrap().strong_count(), 0, "a key is kept for ever");
        }
        if number % 10_000 == 0 {
            most = most.max(seen.iter().filter(|key| key.strong_count() > 0).count());
        }
    }
    assert!(most <= 1024, "{most} keys are kept");
    assert_eq!(lanes.len(), 10);
}
