//! Things in hand, each in the lane of its key: of one key, only the first may go on.
//!
//! The receiver keeps the messages of a key in order with it, the sender its batches, and the memory queue its message
//! groups. A key is hashed once and all lanes share one table, so that neither a thing nor a lane allocates once the
//! table has grown to what is in hand at the same time.

use std::hash::{BuildHasher as _, Hash};

use hashbrown::{DefaultHashBuilder, HashTable};

/// A number of things, each without a key or in the lane of one.
///
/// The name of a place is used again after [`remove`](Self::remove), so a stale one names something else.
#[derive(Debug)]
pub struct Lanes<K, T> {
    places: Vec<Place<K, T>>,
    free: Vec<u32>,
    /// The last place of each lane.
    last: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

#[derive(Debug)]
struct Place<K, T> {
    /// `None` while the place is free.
    value: Option<T>,
    lane: Option<Lane<K>>,
}

#[derive(Debug)]
struct Lane<K> {
    key: K,
    hash: u64,
    previous: Option<u32>,
    next: Option<u32>,
}

impl<K, T> Default for Lanes<K, T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new(), last: HashTable::new(), hasher: DefaultHashBuilder::default() }
    }
}

impl<K: Eq + Hash, T> Lanes<K, T> {
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
    /// # Panics
    ///
    /// At 2^32 things in hand.
    pub fn push(&mut self, key: Option<K>, value: T) -> (u32, bool) {
        let id = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { value: None, lane: None });
            u32::try_from(self.places.len() - 1).expect("fewer than 2^32 in hand")
        });
        self.places[id as usize].value = Some(value);
        (id, key.is_none_or(|key| self.line_up(key, id)))
    }

    fn line_up(&mut self, key: K, id: u32) -> bool {
        let hash = self.hasher.hash_one(&key);
        let places = &mut self.places;
        let found = self.last.find_mut(hash, |last| lane(places, *last).key == key);
        let previous = found.map(|last| std::mem::replace(last, id));
        places[id as usize].lane = Some(Lane { key, hash, previous, next: None });
        if let Some(last) = previous {
            lane_mut(places, last).next = Some(id);
        } else {
            self.last.insert_unique(hash, id, |last| lane(places, *last).hash);
        }
        previous.is_none()
    }

    /// Removes a thing. If it was the first of its lane, returns the one that is first now.
    pub fn remove(&mut self, id: u32) -> Option<u32> {
        let place = self.places.get_mut(id as usize).filter(|place| place.value.is_some())?;
        place.value = None; // dropped where it is: it may be large
        self.free.push(id);
        let Lane { hash, previous, next, .. } = place.lane.take()?;
        if let Some(previous) = previous {
            lane_mut(&mut self.places, previous).next = next;
        }
        match next {
            Some(next) => lane_mut(&mut self.places, next).previous = previous,
            None => {
                if let Ok(mut last) = self.last.find_entry(hash, |last| *last == id) {
                    match previous {
                        Some(previous) => *last.get_mut() = previous,
                        None => drop(last.remove()),
                    }
                }
            }
        }
        if previous.is_none() { next } else { None }
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
        self.places.get(id as usize)?.lane.as_ref().map(|lane| &lane.key)
    }

    /// The one behind `id` in its lane.
    pub fn next(&self, id: u32) -> Option<u32> {
        self.places.get(id as usize)?.lane.as_ref()?.next
    }

    /// The one before `id` in its lane.
    pub fn previous(&self, id: u32) -> Option<u32> {
        self.places.get(id as usize)?.lane.as_ref()?.previous
    }

    /// Whether nothing is before `id` in its lane.
    pub fn is_first(&self, id: u32) -> bool {
        self.places.get(id as usize).and_then(|place| place.lane.as_ref()).is_none_or(|lane| lane.previous.is_none())
    }

    /// Everything, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.places).filter_map(|(id, place)| Some((id, place.value.as_ref()?)))
    }

    /// Gives back the memory that more things in hand than now have left behind.
    pub fn shrink(&mut self) {
        if self.is_empty() {
            (self.places, self.free, self.last) = (Vec::new(), Vec::new(), HashTable::new());
        }
    }
}

fn lane<K, T>(places: &[Place<K, T>], id: u32) -> &Lane<K> {
    places[id as usize].lane.as_ref().expect("the table and the links hold lanes only")
}

fn lane_mut<K, T>(places: &mut [Place<K, T>], id: u32) -> &mut Lane<K> {
    places[id as usize].lane.as_mut().expect("the table and the links hold lanes only")
}
