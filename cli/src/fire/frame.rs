//! What the jobs of a frame do. Nothing here knows on which system it runs.
//!
//! A frame has three phases, each of which needs all of the one before:
//!
//! 1. animate: a loop over 2,000 entities, about 1.5 us each.
//! 2. islands: 24 islands of bodies are solved, 24 to 143 us each. Every third of them has moved so far that a region of the
//!    navigation map is to be rebuilt: its job takes the lock of the map, and while it holds it rebuilds the eight parts of the
//!    region in parallel, 5 to 20 us each.
//! 3. draw: 30 draw lists, 40 us each.
//!
//! Together that is 7 ms of one core. The state goes from frame to frame, and who computes what in which order makes no difference;
//! so all systems must come to the same checksum.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};

use super::work::Work;

pub(crate) const ENTITIES: usize = 2000;
/// Entities of a piece, for a system that has no loops: about 37 us.
pub(crate) const ENTITIES_PER_PIECE: usize = 25;
pub(crate) const ISLANDS: usize = 24;
pub(crate) const REGIONS: usize = ISLANDS / ISLANDS_PER_REGION;
pub(crate) const PARTS: usize = 8;
pub(crate) const LISTS: usize = 30;

const ISLANDS_PER_REGION: usize = 3;
const BODIES: usize = 16;
const KEYS: usize = 64;
/// An odd number with which a multiplication mixes bits.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;

/// What is simulated. Each word is written by one job of a phase, and read in later phases: the end of a phase orders
/// them, so all accesses are relaxed.
#[derive(Debug)]
pub(crate) struct World {
    work: Work,
    entities: Vec<AtomicU64>,
    islands: Vec<AtomicU64>,
    parts: Vec<AtomicU64>,
    lists: Vec<AtomicU64>,
}

impl World {
    pub(crate) fn new(work: Work) -> Self {
        let words = |count: usize| (0..count).map(|index| AtomicU64::new(index as u64 + 1)).collect();
        Self {
            work,
            entities: words(ENTITIES),
            islands: words(ISLANDS),
            parts: words(REGIONS * PARTS),
            lists: words(LISTS),
        }
    }

    /// Moves an entity: its bones turn.
    pub(crate) fn animate(&self, entity: usize) {
        step(&self.entities[entity], |state| pose(state, self.work.animate));
    }

    /// Lets the bodies of an island come to rest.
    pub(crate) fn solve(&self, island: usize) {
        step(&self.islands[island], |state| relax(state, self.work.solve * island_size(island)));
    }

    /// Rebuilds a part of a region from the entities in it. Only for who holds the lock of the map.
    pub(crate) fn rebuild(&self, region: usize, part: usize) {
        let index = region * PARTS + part;
        let first = index * ENTITIES / (REGIONS * PARTS);
        let seen: [u64; 64] = std::array::from_fn(|offset| read(&self.entities[(first + offset) % ENTITIES]));
        step(&self.parts[index], |state| state ^ scan(&seen, self.work.rebuild * part_size(part)));
    }

    /// Makes a draw list: what is visible, sorted.
    pub(crate) fn draw(&self, list: usize) {
        let seed = read(&self.islands[list % ISLANDS]) ^ read(&self.parts[list % (REGIONS * PARTS)]);
        step(&self.lists[list], |state| state ^ sort_keys(seed, self.work.draw));
    }

    /// A number that everything that was computed has an effect on.
    pub(crate) fn checksum(&self) -> u64 {
        let all = [&self.entities, &self.islands, &self.parts, &self.lists];
        let words = all.into_iter().flatten().map(read);
        words.fold(0, |sum: u64, word| (sum.rotate_left(5) ^ word).wrapping_mul(MIX))
    }
}

fn read(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

fn step(word: &AtomicU64, next: impl FnOnce(u64) -> u64) {
    word.store(next(read(word)), Ordering::Relaxed);
}

/// How much work an island is: physics is never even.
pub(super) fn island_size(island: usize) -> u32 {
    1 + (island % 6) as u32
}

/// The region that is to be rebuilt when this island has been solved, if there is one.
pub(super) fn region_of(island: usize) -> Option<usize> {
    (island % ISLANDS_PER_REGION == ISLANDS_PER_REGION - 1).then_some(island / ISLANDS_PER_REGION)
}

/// How much work a part is.
pub(super) fn part_size(part: usize) -> u32 {
    1 + (part % 4) as u32
}

/// Turns a chain of bones, each by the angle that the one before has.
pub(super) fn pose(state: u64, bones: u32) -> u64 {
    let (mut x, mut y) = (1.0_f32, (state % 1024) as f32 / 1024.0);
    for _ in 0..bones {
        let (cos, sin) = (0.999 - 0.001 * y, 0.04 + 0.001 * x);
        (x, y) = (x * cos - y * sin, x * sin + y * cos);
        let length = (x * x + y * y).sqrt();
        (x, y) = (x / length, y / length);
    }
    (state ^ (u64::from(x.to_bits()) << 32 | u64::from(y.to_bits()))).wrapping_mul(MIX)
}

/// Moves each body between its neighbours, again and again.
pub(super) fn relax(state: u64, rounds: u32) -> u64 {
    let mut bodies: [f32; BODIES] = std::array::from_fn(|body| (state >> (body * 4) & 15) as f32);
    for _ in 0..rounds {
        for body in 1..BODIES - 1 {
            bodies[body] += 0.5 * (0.5 * (bodies[body - 1] + bodies[body + 1]) - bodies[body]);
        }
        bodies[0] = 0.9 * bodies[0] + 0.2;
        bodies[BODIES - 1] = 0.9 * bodies[BODIES - 1] + 1.1;
    }
    bodies.iter().fold(state, |sum, body| (sum ^ u64::from(body.to_bits())).wrapping_mul(MIX))
}

/// Goes over the words, each time with another key.
pub(super) fn scan(words: &[u64; 64], rounds: u32) -> u64 {
    (0..u64::from(rounds)).fold(MIX, |sum, round| {
        words.iter().fold(sum, |sum, word| (sum.rotate_left(7) ^ word ^ round).wrapping_mul(MIX))
    })
}

/// Makes keys and sorts them, as often as that.
pub(super) fn sort_keys(seed: u64, rounds: u32) -> u64 {
    let mut state = seed | 1;
    for _ in 0..rounds {
        let mut keys: [u64; KEYS] = std::array::from_fn(|_| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            state >> 16
        });
        keys.sort_unstable();
        state ^= black_box(&keys)[KEYS / 2];
    }
    state
}
