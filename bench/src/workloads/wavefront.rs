//! A grid of blocks, each of which needs the ones to its left and above it: the table of an edit distance
//! between two texts, a block at a time, in a wave from one corner to the other.
//!
//! A block reads the last row of the block above, the last column of the block to its left and the last cell of
//! the block above to the left, and leaves its own in their place. Whoever runs it must have waited for both
//! neighbours: with the system's own means for dependencies, or with the counts of [`Grid::finish`].

use std::{
    array,
    sync::{
        Arc,
        atomic::{
            AtomicU8, AtomicU32,
            Ordering::{AcqRel, Relaxed},
        },
    },
};

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
    random::word,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "wavefront",
    about: "a grid of 64 x 64 blocks, each a job of about 20 us that needs the blocks to its left and above it",
    workers: Workers::Each,
    metrics: &[Metric { name: "grid", unit: "ms", about: "all blocks" }],
};

/// Blocks in a row and in a column.
const BLOCKS: usize = 64;
/// Cells in a row and in a column of a block.
const CELLS: usize = 128;
/// Letters that the texts have.
const LETTERS: u64 = 4;
/// The texts' distance, which is the last cell of the table.
const DISTANCE: u32 = 4_271;

/// The blocks that wait for a block: the one to its right and the one below it, if it has them.
pub(crate) type Successors = [Option<usize>; 2];

/// The table, as far as blocks still need it.
///
/// What a block writes is read by blocks that wait for it. The cells are atomic so that this needs no unsafe
/// code; the waiting orders them.
#[derive(Debug)]
pub(crate) struct Grid {
    /// Blocks in a row and in a column.
    blocks: usize,
    /// The two texts: one letter for each row, and one for each column.
    texts: [Vec<u8>; 2],
    /// The last row that was computed in each column.
    row: Vec<AtomicU32>,
    /// The last column that was computed in each row.
    column: Vec<AtomicU32>,
    /// The cell to the upper left of each block.
    corners: Vec<AtomicU32>,
    /// How many neighbours each block still waits for, for those who count.
    waits: Vec<AtomicU8>,
}

impl Grid {
    fn new(blocks: usize) -> Grid {
        let cells = blocks * CELLS;
        let text = |seed| (0..cells as u64).map(|index| (word(seed, index) % LETTERS) as u8).collect();
        let zeros = |count| (0..count).map(|_| AtomicU32::new(0)).collect();
        Grid {
            blocks,
            texts: [text(1), text(2)],
            row: zeros(cells),
            column: zeros(cells),
            corners: zeros(blocks * blocks),
            waits: (0..blocks * blocks).map(|_| AtomicU8::new(0)).collect(),
        }
    }

    /// Prepares the first row and the first column of the table, and the counts.
    fn reset(&self) {
        for cells in [&self.row, &self.column] {
            for (index, cell) in cells.iter().enumerate() {
                cell.store(index as u32 + 1, Relaxed);
            }
        }
        for block in 0..self.len() {
            let (row, column) = self.place(block);
            // Of the other blocks it is set when the block to the upper left has been computed.
            self.corners[block].store((row.max(column) * CELLS) as u32, Relaxed);
            self.waits[block].store(u8::from(row > 0) + u8::from(column > 0), Relaxed);
        }
    }

    /// Blocks in all. They are numbered row by row, which is an order in which they can be computed.
    pub(crate) fn len(&self) -> usize {
        self.blocks * self.blocks
    }

    /// The row and the column of a block.
    fn place(&self, block: usize) -> (usize, usize) {
        (block / self.blocks, block % self.blocks)
    }

    /// The blocks that a block waits for: the one to its left and the one above it, if there are.
    #[cfg(any(feature = "ramie", test))]
    pub(crate) fn predecessors(&self, block: usize) -> [Option<usize>; 2] {
        let (row, column) = self.place(block);
        [(column > 0).then(|| block - 1), (row > 0).then(|| block - self.blocks)]
    }

    /// Computes a block whose predecessors have been computed.
    pub(crate) fn compute(&self, block: usize) {
        let (block_row, block_column) = self.place(block);
        let row_cells = &self.row[block_column * CELLS..][..CELLS];
        let column_cells = &self.column[block_row * CELLS..][..CELLS];
        let across = &self.texts[1][block_column * CELLS..][..CELLS];
        let mut above: [u32; CELLS] = array::from_fn(|index| row_cells[index].load(Relaxed));
        let mut corner = self.corners[block].load(Relaxed);
        for (cell, down) in column_cells.iter().zip(&self.texts[0][block_row * CELLS..]) {
            let first = cell.load(Relaxed);
            let (mut left, mut upper_left) = (first, corner);
            for (above, across) in above.iter_mut().zip(across) {
                let others = (upper_left + u32::from(across != down)).min(*above + 1);
                upper_left = *above;
                // As little as possible depends on the cell to the left.
                left = others.min(left + 1);
                *above = left;
            }
            cell.store(left, Relaxed);
            corner = first;
        }
        for (cell, above) in row_cells.iter().zip(above) {
            cell.store(above, Relaxed);
        }
        if block_row + 1 < self.blocks && block_column + 1 < self.blocks {
            self.corners[block + self.blocks + 1].store(above[CELLS - 1], Relaxed);
        }
    }

    /// Notes that a block has been computed, and returns those that waited for nothing else.
    pub(crate) fn finish(&self, block: usize) -> Successors {
        let (row, column) = self.place(block);
        let right = (column + 1 < self.blocks).then(|| block + 1);
        let below = (row + 1 < self.blocks).then(|| block + self.blocks);
        // ORDERING: Release and Acquire make what both predecessors wrote visible to the one who gets the block.
        [right, below].map(|block| block.filter(|block| self.waits[*block].fetch_sub(1, AcqRel) == 1))
    }

    /// The distance of the texts, once all blocks have been computed.
    fn distance(&self) -> u32 {
        self.row.last().expect("there are cells").load(Relaxed)
    }
}

/// A form of the wave, with its name: it computes all blocks of a grid.
pub(crate) type Form<'a> = (&'a str, &'a dyn Fn(&Arc<Grid>));

/// Times all forms. Call it where the system wants its jobs to run.
pub(crate) fn measure(params: &Params, forms: &[Form<'_>]) -> Measured {
    let grid = Arc::new(Grid::new(BLOCKS));
    let ms = |form: &dyn Fn(&Arc<Grid>)| {
        let [ns] = medians(params, 5, || {
            grid.reset();
            let ns = time_ns(|| form(&grid));
            assert_eq!(grid.distance(), DISTANCE, "wavefront is wrong");
            [ns]
        });
        ns / 1e6
    };
    let figures = forms.iter().map(|(name, form)| (name.to_string(), ms(form)));
    Measured::default().with_best("grid", figures.collect())
}

#[cfg(test)]
mod tests;
