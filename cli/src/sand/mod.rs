//! Sand on a grid: a picture's pixels become grains that fall, pile up and slide.
//!
//! A step has three phases:
//!
//! 1. **clear**: every cell of the grid is free again, except the walls;
//! 2. **mark**: every grain writes its index into the cell where it lies;
//! 3. **update**: every grain looks at the marked cells around it, wishes for a cell, and claims it;
//!    when all have claimed, those whose claim won move.
//!
//! Each phase is a loop over independent elements, so each can run in parallel, and the result does
//! not depend on how: a wish reads only what was marked before the first claim, and which of several
//! claims to a cell wins depends on the grains, not on who came first. [`serial`] and [`parallel`]
//! therefore end with the same grid, bit by bit, for any number of workers. What they share is in
//! [`rules`]; the words that lie in the cells are in [`grid`].

pub(crate) mod grid;
pub(crate) mod parallel;
pub(crate) mod rules;
pub(crate) mod scene;
pub(crate) mod serial;
pub(crate) mod simulation;
pub(crate) mod terrain;

#[cfg(test)]
mod tests;

use std::time::Duration;

/// Cells in a row, and rows in the grid.
pub(crate) const SIDE: usize = 1000;

/// Cells in the grid.
pub(crate) const CELL_COUNT: usize = SIDE * SIDE;

/// The most grains that a scene holds.
pub(crate) const GRAINS_MAX: usize = 100_000;

/// Steps of the simulation that make one frame of the film.
pub(crate) const STEPS_PER_FRAME: u32 = 6;

/// One grain of sand. Its index in the scene is its identity, and its colour is kept there.
#[derive(Clone, Debug)]
pub(crate) struct Grain {
    /// The cell where the grain lies: `row * SIDE + column`, row 0 at the top.
    pub(crate) cell: u32,
    /// The cell that it wished for in this step; its own cell when it wishes to stay.
    pub(crate) target: u32,
    /// Rows by which it moved down in the last step.
    pub(crate) rows_moved: i8,
    /// Columns by which it moved to the right in the last step; negative when to the left.
    pub(crate) columns_moved: i8,
    /// The first step in which it may move. Until then it hangs in the picture.
    pub(crate) release: u16,
}

/// How long the phases of a step took, or those of several steps together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StepTimes {
    pub(crate) clear: Duration,
    pub(crate) mark: Duration,
    pub(crate) update: Duration,
}

impl StepTimes {
    /// All phases together.
    pub(crate) fn total(&self) -> Duration {
        self.clear + self.mark + self.update
    }
}

impl std::ops::AddAssign for StepTimes {
    fn add_assign(&mut self, other: Self) {
        self.clear += other.clear;
        self.mark += other.mark;
        self.update += other.update;
    }
}
