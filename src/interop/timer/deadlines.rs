//! Values in the order of their deadlines: a binary heap from which any one can be taken back.
//!
//! Entries have fixed places, by which they are taken back, and the heap holds these. Both vectors keep what they
//! have grown to, so in the steady state nothing is allocated.

use std::time::Instant;

/// Ends the list of free entries.
const NONE: u32 = u32::MAX;

/// See the [module](self).
pub(super) struct Deadlines<T> {
    entries: Vec<Entry<T>>,
    /// The first entry that is not in use, or [`NONE`].
    free: u32,
    /// Places of entries. INVARIANT: none is due before its parent, which is at half its index (counted from 1), and each
    /// entry knows its index here.
    heap: Vec<u32>,
    next_number: u64,
}

struct Entry<T> {
    deadline: Instant,
    /// Tells apart entries that have used the same place, and orders those of equal deadlines.
    number: u64,
    /// `None` if the entry is free.
    value: Option<T>,
    /// Where it is in the heap; if it is free, the next free entry.
    index: u32,
}

/// The way to take a value back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    place: u32,
    number: u64,
}

impl<T> Deadlines<T> {
    pub(super) const fn new() -> Self {
        Self { entries: Vec::new(), free: NONE, heap: Vec::new(), next_number: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.heap.len()
    }

    /// The earliest deadline, and the key of the value that is due then.
    pub(super) fn first(&self) -> Option<(Instant, Key)> {
        let place = *self.heap.first()?;
        let entry = &self.entries[place as usize];
        Some((entry.deadline, Key { place, number: entry.number }))
    }

    pub(super) fn insert(&mut self, deadline: Instant, value: T) -> Key {
        let number = self.next_number;
        self.next_number += 1;
        let index = self.heap.len() as u32;
        let entry = Entry { deadline, number, value: Some(value), index };
        let place = if self.free == NONE {
            let place = u32::try_from(self.entries.len()).ok().filter(|place| *place != NONE);
            self.entries.push(entry);
            place.expect("fewer timers than fit into memory")
        } else {
            let place = self.free;
            self.free = self.entries[place as usize].index;
            self.entries[place as usize] = entry;
            place
        };
        self.heap.push(place);
        self.sift_up(index as usize);
        Key { place, number }
    }

    /// Takes the value back; `None` if it has been taken out before.
    pub(super) fn remove(&mut self, key: Key) -> Option<T> {
        let entry = self.entries.get_mut(key.place as usize).filter(|entry| entry.number == key.number)?;
        let value = entry.value.take()?;
        let index = std::mem::replace(&mut entry.index, self.free) as usize;
        self.free = key.place;
        self.heap.swap_remove(index);
        if index < self.heap.len() {
            // What was last is here now, and may belong further up or further down.
            self.place_at(index);
            self.sift_up(index);
            self.sift_down(index);
        }
        Some(value)
    }

    fn is_before(&self, a: usize, b: usize) -> bool {
        let key = |index: usize| {
            let entry = &self.entries[self.heap[index] as usize];
            (entry.deadline, entry.number)
        };
        key(a) < key(b)
    }

    /// Tells the entry at this index of the heap where it is.
    fn place_at(&mut self, index: usize) {
        self.entries[self.heap[index] as usize].index = index as u32;
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place_at(a);
        self.place_at(b);
    }

    fn sift_up(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if !self.is_before(index, parent) {
                return;
            }
            self.swap(index, parent);
            index = parent;
        }
    }

    fn sift_down(&mut self, mut index: usize) {
        loop {
            let mut least = index;
            for child in [2 * index + 1, 2 * index + 2] {
                if child < self.heap.len() && self.is_before(child, least) {
                    least = child;
                }
            }
            if least == index {
                return;
            }
            self.swap(index, least);
            index = least;
        }
    }
}

#[cfg(test)]
mod tests;
