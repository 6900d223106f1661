//! The rules that a grain follows, the same for the serial and the parallel form.
//!
//! - A grain that is released falls, one row further in each step than in the last, as far as the
//!   cells below it are free. What it has of sideways motion it keeps while it falls, and loses bit
//!   by bit.
//! - A grain that cannot fall slides: one row down, and up to [`SLIDE_MAX`] columns to a side.
//! - A grain that can do neither rests.
//!
//! A grain decides by what was marked at the start of the step, so several grains can wish for one
//! cell: they claim it with their rank, and the lowest rank of all that were claimed gets it. The
//! others stay where they are.

use super::grid::FREE_BIT;
use super::{GRAINS_MAX, Grain, SIDE};

/// The most rows that a grain falls in one step.
const FALL_MAX: i8 = 3;

/// The most columns that a grain slides in one step. The larger, the flatter the heaps.
const SLIDE_MAX: u32 = 3;

/// Falling, a grain loses one column a step of its sideways motion every so many steps.
const DRAG: u32 = 8;

/// One row of the grid, in cells.
const ROW: u32 = SIDE as u32;

/// Bits of a grain's index.
const INDEX_BITS: u32 = usize::BITS - (GRAINS_MAX - 1).leading_zeros();

// The largest claim, all index bits set, is smaller than grid::EMPTY.
const _: () = assert!(INDEX_BITS < 31);

/// One step of the simulation: its number, and the chance in it.
///
/// Chance comes from hashing the seed, the step and the grain, so that it does not depend on who
/// asks first.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    number: u32,
    salt: u32,
}

impl Step {
    /// The step with this number in a simulation with this seed.
    pub(crate) fn new(number: u32, seed: u64) -> Self {
        let salt = mix(mix(number ^ seed as u32) ^ (seed >> 32) as u32);
        Self { number, salt }
    }

    /// The cell to which the grain would like to move: its own cell when it would rather stay.
    /// `is_free` says whether a cell was free when the step was marked.
    pub(crate) fn wish(self, index: usize, grain: &Grain, is_free: impl Fn(u32) -> bool) -> u32 {
        let here = grain.cell;
        if self.number < u32::from(grain.release) {
            return here;
        }
        if is_free(here + ROW) {
            self.fall(index, grain, is_free)
        } else {
            self.slide(index, here, is_free).unwrap_or(here)
        }
    }

    /// Where a grain falls that has a free cell below it.
    fn fall(self, index: usize, grain: &Grain, is_free: impl Fn(u32) -> bool) -> u32 {
        let reach = (grain.rows_moved + 1).min(FALL_MAX);
        let rows = (1..=reach as u32).take_while(|rows| is_free(grain.cell + rows * ROW)).count() as u32;
        let below = grain.cell + rows * ROW;
        let drag = i32::from(self.chance(index).is_multiple_of(DRAG));
        let columns = (i32::from(grain.columns_moved).abs() - drag).max(0);
        let side = i32::from(grain.columns_moved.signum());
        aside(below, side, columns, &is_free).last().unwrap_or(below)
    }

    /// Where a grain slides that has no free cell below it, if there is room on a side: as many
    /// columns as chance lets it, and as the way is free.
    fn slide(self, index: usize, here: u32, is_free: impl Fn(u32) -> bool) -> Option<u32> {
        let chance = self.chance(index);
        let columns = 1 + ((chance >> 1) % SLIDE_MAX) as i32;
        let side = if chance & 1 == 0 { 1 } else { -1 };
        let down =
            |side| aside(here, side, columns, &is_free).map(|cell| cell + ROW).filter(|&c| is_free(c)).last();
        down(side).or_else(|| down(-side))
    }

    /// A number that is drawn anew for each grain in each step.
    fn chance(self, index: usize) -> u32 {
        mix(self.salt ^ index as u32)
    }

    /// The word with which the grain claims the cell that it wishes for. No two grains have the
    /// same, and the order changes from step to step, so that no grain is favoured for long.
    pub(crate) fn claim(self, index: usize) -> u32 {
        let rank = index as u32 ^ (self.salt >> (32 - INDEX_BITS));
        FREE_BIT | rank
    }
}

/// The free cells on one side of a cell, up to `columns` of them and up to the first that is not
/// free. The walls at the edges end them before they leave the row.
fn aside(cell: u32, side: i32, columns: i32, is_free: impl Fn(u32) -> bool) -> impl Iterator<Item = u32> {
    (1..=columns)
        .map(move |distance| cell.wrapping_add_signed(side * distance))
        .take_while(move |&cell| is_free(cell))
}

/// Ends the step for one grain: it moves to its target if its claim won, else it stays, and has to
/// start anew.
pub(crate) fn settle(grain: &mut Grain, won: bool) {
    if won {
        let (old, new) = (grain.cell as i32, grain.target as i32);
        grain.rows_moved = (new / ROW as i32 - old / ROW as i32) as i8;
        grain.columns_moved = (new % ROW as i32 - old % ROW as i32) as i8;
        grain.cell = grain.target;
    } else {
        (grain.rows_moved, grain.columns_moved) = (0, 0);
    }
}

/// Scrambles the bits of a word (the finaliser "lowbias32" of C. Wellons).
pub(crate) fn mix(mut word: u32) -> u32 {
    word ^= word >> 16;
    word = word.wrapping_mul(0x7feb_352d);
    word ^= word >> 15;
    word = word.wrapping_mul(0x846c_a68b);
    word ^ (word >> 16)
}
