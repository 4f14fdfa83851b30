//! Things in hand, each in the lane of its key: of one key, only the first may go on.
//!
//! The receiver keeps the messages of a key in order with it, the sender its batches, and the memory queue its message
//! groups. A key is hashed once and all lanes share one table, so that neither a thing nor a lane allocates once the
//! table has grown to what is in hand at the same time. A bounded number of lanes stays when it is empty.

use std::{
    collections::VecDeque,
    hash::{BuildHasher as _, Hash},
};

use hashbrown::{DefaultHashBuilder, HashTable};

/// How many empty lanes may be kept for keys that come again, in any case: as many as a receiver holds messages by itself, and
/// a mebibyte of the longest keys.
const WARM: usize = 1024;

/// How many places and lanes an empty table may keep: with fewer it comes and goes as it is, since those who are as fast as
/// what they get are empty all the time.
const KEPT: usize = 4 * WARM;

/// A number of things, each without a key or in the lane of one.
///
/// The name of a place is used again after [`remove`](Self::remove), so a stale one names something else.
#[derive(Debug)]
pub struct Lanes<K, T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    /// The lanes by number.
    known: Vec<Lane<K>>,
    /// Lanes without a key, to be used again.
    spare: Vec<u32>,
    /// The lanes by key, with those that are empty: most keys come again, and to forget a lane costs as much as to find it.
    by_key: HashTable<u32>,
    /// The same, in the order in which they were opened or last looked at.
    opened: VecDeque<u32>,
    /// How many of them are empty.
    empty: usize,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Place<T> {
    /// `None` while the place is free.
    value: Option<T>,
    lane: Option<u32>,
    previous: Option<u32>,
    next: Option<u32>,
}

#[derive(Debug)]
struct Lane<K> {
    /// `None` while it is spare.
    key: Option<K>,
    hash: u64,
    /// The last place, unless it is empty.
    last: Option<u32>,
}

impl<K, T> Default for Lanes<K, T> {
    fn default() -> Self {
        Self {
            places: Vec::new(),
            free: Vec::new(),
            known: Vec::new(),
            spare: Vec::new(),
            by_key: HashTable::new(),
            opened: VecDeque::new(),
            empty: 0,
            hasher: DefaultHashBuilder::default(),
        }
    }
}

impl<K: Clone + Eq + Hash, T> Lanes<K, T> {
    /// How many things there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds a thing, at the end of the lane of `key` if it has one. Returns its name, and whether nothing is before it.
    ///
    /// The key is cloned only for a lane that is not known.
    ///
    /// # Panics
    ///
    /// At 2^32 things in hand.
    #[expect(clippy::inline_always, reason = "once a message, and a call copies what is added")]
    #[inline(always)]
    pub fn push(&mut self, key: Option<&K>, value: T) -> (u32, bool) {
        let id = if let Some(id) = self.free.pop() {
            let free = &mut self.places[id as usize].value;
            // So that there is nothing to drop, and the value is moved once: it may be large.
            assert!(free.is_none(), "a free place holds nothing");
            *free = Some(value);
            id
        } else {
            self.places.push(Place { value: Some(value), lane: None, previous: None, next: None });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 in hand")
        };
        (id, key.is_none_or(|key| self.line_up(key, id)))
    }

    fn line_up(&mut self, key: &K, id: u32) -> bool {
        let hash = self.hasher.hash_one(key);
        let lanes = &self.known;
        let found = self.by_key.find(hash, |number| lanes[*number as usize].key.as_ref() == Some(key));
        let number = match found {
            Some(number) => *number,
            None => self.open(key.clone(), hash),
        };
        let previous = self.known[number as usize].last.replace(id);
        match previous {
            Some(previous) => self.places[previous as usize].next = Some(id),
            None => self.empty -= 1,
        }
        let place = &mut self.places[id as usize];
        (place.lane, place.previous) = (Some(number), previous);
        previous.is_none()
    }

    /// A lane for a key that has none. It is empty.
    fn open(&mut self, key: K, hash: u64) -> u32 {
        let lane = Lane { key: Some(key), hash, last: None };
        let number = if let Some(number) = self.spare.pop() {
            self.known[number as usize] = lane;
            number
        } else {
            self.known.push(lane);
            u32::try_from(self.known.len() - 1).expect("fewer than 2^32 lanes")
        };
        let lanes = &self.known;
        self.by_key.insert_unique(hash, number, |number| lanes[*number as usize].hash);
        self.opened.push_back(number);
        self.empty += 1;
        number
    }

    /// Removes a thing. If it was the first of its lane, returns the one that is first now.
    #[inline]
    pub fn remove(&mut self, id: u32) -> Option<u32> {
        let place = self.places.get_mut(id as usize).filter(|place| place.value.is_some())?;
        place.value = None; // dropped where it is: it may be large
        self.free.push(id);
        let number = place.lane.take()?;
        self.step_out(id, number)
    }

    /// Takes a thing that was removed out of its lane.
    fn step_out(&mut self, id: u32, number: u32) -> Option<u32> {
        let place = &mut self.places[id as usize];
        let (previous, next) = (place.previous.take(), place.next.take());
        if let Some(previous) = previous {
            self.places[previous as usize].next = next;
        }
        if let Some(next) = next {
            self.places[next as usize].previous = previous;
        } else {
            self.known[number as usize].last = previous;
            if previous.is_none() {
                self.empty += 1;
                self.forget_some();
            }
        }
        if previous.is_none() { next } else { None }
    }

    /// Forgets the keys of empty lanes that were opened long ago, while there are too many. Of lanes a quarter may be empty
    /// in any case, so that it looks at four for each that it forgets, however many are in use.
    #[inline]
    fn forget_some(&mut self) {
        while self.empty > WARM && self.empty > self.by_key.len() / 4 {
            let Some(number) = self.opened.pop_front() else { return };
            let lane = &mut self.known[number as usize];
            if lane.last.is_some() {
                self.opened.push_back(number);
                continue;
            }
            lane.key = None;
            if let Ok(found) = self.by_key.find_entry(lane.hash, |other| *other == number) {
                found.remove();
            }
            self.spare.push(number);
            self.empty -= 1;
        }
    }

    /// The thing named `id`.
    pub fn get(&self, id: u32) -> Option<&T> {
        self.places.get(id as usize)?.value.as_ref()
    }

    /// The thing named `id`.
    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.places.get_mut(id as usize)?.value.as_mut()
    }

    /// The key of the lane that `id` is in, if it has one.
    pub fn key(&self, id: u32) -> Option<&K> {
        let number = self.places.get(id as usize)?.lane?;
        self.known[number as usize].key.as_ref()
    }

    /// The one behind `id` in its lane.
    pub fn next(&self, id: u32) -> Option<u32> {
        self.places.get(id as usize)?.next
    }

    /// The one before `id` in its lane.
    pub fn previous(&self, id: u32) -> Option<u32> {
        self.places.get(id as usize)?.previous
    }

    /// Whether nothing is before `id` in its lane.
    pub fn is_first(&self, id: u32) -> bool {
        self.previous(id).is_none()
    }

    /// Everything, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(id, place)| Some((id, place.value.as_ref()?)))
    }

    /// Gives back the memory that many things in hand have left behind, with all lanes, once there are none. A few thousand
    /// leave it as it is.
    #[inline]
    pub fn shrink(&mut self) {
        if self.is_empty() && self.places.len().max(self.known.len()) > KEPT {
            *self = Self { hasher: self.hasher.clone(), ..Self::default() };
        }
    }
}
