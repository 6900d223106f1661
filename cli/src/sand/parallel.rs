//! The simulation as parallel loops: every phase is one `ramie` loop, or two.
//!
//! A loop returns when all of its parts are done, so a phase sees everything that the phase before
//! it wrote. Within a phase the parts share the grid. Its cells are atomics, with relaxed ordering
//! everywhere: a part needs no more than the value of single cells, and what another part has or
//! has not written yet never changes what it decides (see [`grid`](super::grid)).

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Instant;

use ramie::Frame;

use super::grid::{EMPTY, WALL, is_free};
use super::rules::{Step, settle};
use super::terrain::Terrain;
use super::{CELL_COUNT, Grain, SIDE, StepTimes};

/// Grains in one part of a loop: some tens of microseconds of work, so that sharing the parts out
/// costs little beside it, and enough parts for many workers.
const GRAINS_PER_CHUNK: usize = 2048;

/// Rows in one part of the loop that clears the grid.
const ROWS_PER_CHUNK: usize = 20;

/// The occupancy grid of the parallel form, in somebody else's memory.
#[derive(Debug)]
pub(crate) struct AtomicGrid<'memory> {
    /// Written by the loops of [`step`], read by them and by whoever draws the grid afterwards. The
    /// meaning of the words is that of [`grid`](super::grid).
    cells: &'memory mut [AtomicU32],
}

/// The cells of an empty grid, for [`AtomicGrid::new`].
pub(crate) fn empty_cells() -> Vec<AtomicU32> {
    (0..CELL_COUNT).map(|_| AtomicU32::new(EMPTY)).collect()
}

impl<'memory> AtomicGrid<'memory> {
    /// A grid of these cells, whose content does not matter.
    pub(crate) fn new(cells: &'memory mut [AtomicU32]) -> Self {
        assert_eq!(cells.len(), CELL_COUNT);
        Self { cells }
    }

    /// A grid that lives as long as the frame.
    pub(crate) fn in_frame(frame: &'memory Frame) -> Self {
        Self::new(frame.alloc_slice_fill_with(CELL_COUNT, |_| AtomicU32::new(EMPTY)))
    }

    /// The word in a cell.
    pub(crate) fn load(&self, cell: usize) -> u32 {
        // ORDERING: relaxed; the end of the loop that wrote the cell is what orders the two.
        self.cells[cell].load(Relaxed)
    }
}

/// Moves all grains by one step, on a grid whose content does not matter. Afterwards the grid holds
/// the grains where they lay before the step.
pub(crate) fn step(
    step: Step,
    terrain: &Terrain,
    grains: &mut [Grain],
    grid: &mut AtomicGrid<'_>,
) -> StepTimes {
    let start = Instant::now();
    clear(terrain, grid);
    let cleared = Instant::now();
    mark(grains, grid);
    let marked = Instant::now();
    update(step, grains, grid);
    StepTimes { clear: cleared - start, mark: marked - cleared, update: marked.elapsed() }
}

/// The parts of this loop own their cells: nothing is shared, so plain writes will do.
fn clear(terrain: &Terrain, grid: &mut AtomicGrid<'_>) {
    ramie::par_chunks_mut(grid.cells, ROWS_PER_CHUNK * SIDE).for_each(|(chunk_index, chunk)| {
        for (row, cells) in (chunk_index * ROWS_PER_CHUNK..).zip(chunk.chunks_exact_mut(SIDE)) {
            cells.iter_mut().for_each(|cell| *cell.get_mut() = EMPTY);
            for span in terrain.walls(row) {
                cells[span.clone()].iter_mut().for_each(|cell| *cell.get_mut() = WALL);
            }
        }
    });
}

/// No two grains lie in one cell, so each cell is written at most once.
fn mark(grains: &[Grain], grid: &AtomicGrid<'_>) {
    ramie::par_chunks(grains, GRAINS_PER_CHUNK).for_each(|(chunk_index, chunk)| {
        for (index, grain) in (chunk_index * GRAINS_PER_CHUNK..).zip(chunk) {
            let cell = &grid.cells[grain.cell as usize];
            debug_assert_eq!(cell.load(Relaxed), EMPTY, "grain {index} lies where something else is");
            cell.store(index as u32, Relaxed);
        }
    });
}

/// Two loops: a claim can only be judged when all claims have been made.
fn update(step: Step, grains: &mut [Grain], grid: &AtomicGrid<'_>) {
    ramie::par_chunks_mut(grains, GRAINS_PER_CHUNK).for_each(|(chunk_index, chunk)| {
        for (index, grain) in (chunk_index * GRAINS_PER_CHUNK..).zip(chunk) {
            grain.target = step.wish(index, grain, |cell| is_free(grid.load(cell as usize)));
            if grain.target != grain.cell {
                grid.cells[grain.target as usize].fetch_min(step.claim(index), Relaxed);
            }
        }
    });
    ramie::par_chunks_mut(grains, GRAINS_PER_CHUNK).for_each(|(chunk_index, chunk)| {
        for (index, grain) in (chunk_index * GRAINS_PER_CHUNK..).zip(chunk) {
            let won = grain.target != grain.cell && grid.load(grain.target as usize) == step.claim(index);
            settle(grain, won);
        }
    });
}
