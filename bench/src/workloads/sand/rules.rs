//! What the serial and the parallel form of the simulation share: the scene, the words in the grid, and the
//! rules that a grain follows.
//!
//! ```text
//!   0 .. WALL          the grain with this index lies here
//!   WALL               nothing ever moves here
//!   FREE_BIT | rank    free, and claimed by the grain with this rank
//!   EMPTY              free, and not claimed; larger than every claim
//! ```
//!
//! A claim keeps the top bit, so a cell that was free when the step was marked reads as free during the whole
//! step, whoever claims it meanwhile; and the lowest rank wins by a plain minimum.

/// Set in the words of cells that were free when the step was marked.
const FREE_BIT: u32 = 1 << 31;
/// The word of a free cell that nobody claims.
pub(super) const EMPTY: u32 = u32::MAX;
/// The word of a cell that nothing enters.
pub(super) const WALL: u32 = FREE_BIT - 1;
/// The most rows that a grain falls in one step.
const SPEED_MAX: u16 = 3;
/// Bits of a grain's index: there are fewer than two million grains.
const INDEX_BITS: u32 = 21;
const SEED: u32 = 0x5eed;

/// One grain of sand; its index is its identity.
#[derive(Clone, Debug)]
pub(super) struct Grain {
    /// The cell where it lies: row * side + column, row 0 at the top.
    pub(super) cell: u32,
    /// The cell that it wished for in this step; its own when it wishes to stay.
    pub(super) target: u32,
    /// Rows that it fell in the last step.
    speed: u16,
    /// The first step in which it may move.
    release: u16,
}

/// The grains and the grid's size.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    /// Cells in a row, and rows.
    pub(super) side: usize,
    pub(super) grains: Vec<Grain>,
}

impl Scene {
    /// Hangs `grains` grains two cells apart into the upper part of the grid, row by row. Within
    /// `release_steps` steps all are let go.
    pub(super) fn new(side: usize, grains: usize, release_steps: u32) -> Scene {
        let columns = grains.isqrt();
        let left = (side - 2 * columns) / 2;
        assert!(grains < 1 << INDEX_BITS && grains.div_ceil(columns) * 2 + 2 < side && left > 0);
        let grain = |index: usize| {
            let (row, column) = (2 + index / columns * 2, left + index % columns * 2);
            let cell = (row * side + column) as u32;
            let release = (mix(SEED ^ mix(index as u32)) % release_steps) as u16;
            Grain { cell, target: cell, speed: 0, release }
        };
        Scene { side, grains: (0..grains).map(grain).collect() }
    }

    /// A checksum (64-bit FNV-1a, a word at a time) of where each grain lies.
    pub(super) fn checksum(&self) -> u64 {
        self.grains.iter().fold(0xcbf2_9ce4_8422_2325, |hash, grain| {
            (hash ^ u64::from(grain.cell)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    }
}

/// One step of the simulation: its number, and the chance in it.
///
/// Chance comes from hashing the step and the grain, so that it does not depend on who asks first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    number: u32,
    salt: u32,
}

impl Step {
    pub(super) fn new(number: u32) -> Step {
        Step { number, salt: mix(number ^ SEED) }
    }

    /// The cell to which the grain would like to move: as far down as the cells are free, one row further
    /// than in the last step; else a row down to a side; else its own.
    #[inline(always)]
    pub(super) fn wish(self, index: usize, grain: &Grain, side: usize, is_free: impl Fn(u32) -> bool) -> u32 {
        let (row, here) = (side as u32, grain.cell);
        if self.number < u32::from(grain.release) {
            return here;
        }
        let reach = u32::from(grain.speed + 1).min(u32::from(SPEED_MAX));
        let fall = (1..=reach).take_while(|rows| is_free(here + rows * row)).count() as u32;
        if fall > 0 {
            return here + fall * row;
        }
        // The walls on each side and below keep these sums inside of the grid.
        let sides = [here - 1, here + 1];
        let first = (mix(self.salt ^ index as u32) & 1) as usize;
        for side in [sides[first], sides[1 - first]] {
            if is_free(side) && is_free(side + row) {
                return side + row;
            }
        }
        here
    }

    /// The word with which the grain claims a cell: no two grains have the same, and their order changes
    /// from step to step.
    #[inline(always)]
    pub(super) fn claim(self, index: usize) -> u32 {
        FREE_BIT | (index as u32 ^ (self.salt >> (32 - INDEX_BITS)))
    }
}

/// Ends the step for one grain: it moves if its claim won, else it stays and has to start anew.
#[inline(always)]
pub(super) fn settle(grain: &mut Grain, side: usize, won: bool) {
    if won {
        let row = side as u32;
        grain.speed = (grain.target / row - grain.cell / row) as u16;
        grain.cell = grain.target;
    } else {
        grain.speed = 0;
    }
}

/// Whether the cell with this word was free when the step was marked.
#[inline(always)]
pub(super) fn is_free(word: u32) -> bool {
    word & FREE_BIT != 0
}

/// Scrambles the bits of a word (the finaliser "lowbias32" of C. Wellons).
#[inline(always)]
fn mix(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x7feb_352d);
    word ^= word >> 15;
    word = word.wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}
