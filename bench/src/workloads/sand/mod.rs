//! Falling sand: the demo's simulation as a measurement, at 100,000 grains and at a million.
//!
//! The rules are those of the `ramie demo` program, without its pegs and its picture: grains hang in a
//! lattice, are let go one after the other, fall, pile up and slide. A step clears the grid, marks where the
//! grains lie, lets each grain claim a cell, and moves those whose claim won. Which claim wins depends on the
//! grains and not on who came first, so all systems must end with the same grid: the harness compares their
//! checksums.
//!
//! The serial form works in plain memory, the parallel form on relaxed atomics; [`rules`] is what they share.

mod rules;

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use self::rules::{EMPTY, Scene, Step, WALL, is_free, settle};
use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "sand",
    about: "falling sand; a tenth of the grid's cells are grains",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "100k", unit: "ms", about: "100,000 grains on 1,000 x 1,000 cells, 120 steps" },
        Metric { name: "1M", unit: "ms", about: "1,000,000 grains on 3,162 x 3,162 cells, 40 steps" },
    ],
};

/// A size of the simulation.
struct Size {
    metric: &'static str,
    side: usize,
    grains: usize,
    steps: u32,
    repeats: usize,
}

const SIZES: [Size; 2] = [
    Size { metric: "100k", side: 1_000, grains: 100_000, steps: 120, repeats: 5 },
    Size { metric: "1M", side: 3_162, grains: 1_000_000, steps: 40, repeats: 3 },
];
/// Grains in one part of a loop.
const GRAINS_PER_CHUNK: usize = 2_048;
/// Rows in one part of the loop that clears the grid.
const ROWS_PER_CHUNK: usize = 20;

/// The two parallel loops that a system brings along. The body gets a chunk's index and the chunk.
pub(crate) trait Loops {
    /// Calls `body` for each chunk of `items`.
    fn chunks<T: Sync>(&self, items: &[T], size: usize, body: impl Fn(usize, &[T]) + Send + Sync);
    /// Calls `body` for each chunk of `items`, which it may change.
    fn chunks_mut<T: Send>(&self, items: &mut [T], size: usize, body: impl Fn(usize, &mut [T]) + Send + Sync);
}

/// Times the simulation with the loops of a system. Call it where the system wants its loops to run.
pub(crate) fn measure(params: &Params, loops: &impl Loops) -> Measured {
    measure_with(
        params,
        |cells| (0..cells).map(|_| AtomicU32::new(EMPTY)).collect::<Vec<_>>(),
        |step, scene, grid| parallel_step(loops, step, scene, grid),
    )
}

/// Times the simulation on one thread.
pub(crate) fn measure_serial(params: &Params) -> Measured {
    measure_with(params, |cells| vec![EMPTY; cells], |step, scene, grid| serial_step(step, scene, grid))
}

/// Times all sizes, on the grid that `new_grid` makes.
fn measure_with<G>(
    params: &Params,
    new_grid: impl Fn(usize) -> G,
    do_step: impl Fn(Step, &mut Scene, &mut G),
) -> Measured {
    let mut measured = Measured::default();
    let mut checksums = Vec::new();
    for Size { metric, side, grains, steps, repeats } in SIZES {
        let start = Scene::new(side, grains, steps / 2);
        let mut grid = new_grid(side * side);
        let mut checksum = 0;
        let [ns] = medians(&params.share(SIZES.len()), repeats, || {
            let mut scene = start.clone();
            let ns = time_ns(|| (0..steps).for_each(|number| do_step(Step::new(number), &mut scene, &mut grid)));
            checksum = scene.checksum();
            [ns]
        });
        measured = measured.with(metric, ns / 1e6);
        checksums.push(format!("{checksum:016x}"));
    }
    measured.checked(checksums.join(" "))
}

fn serial_step(step: Step, scene: &mut Scene, grid: &mut [u32]) {
    let side = scene.side;
    for (row, cells) in grid.chunks_exact_mut(side).enumerate() {
        clear_row(row, side, cells, |cell, word| *cell = word);
    }
    for (index, grain) in scene.grains.iter().enumerate() {
        grid[grain.cell as usize] = index as u32;
    }
    for (index, grain) in scene.grains.iter_mut().enumerate() {
        grain.target = step.wish(index, grain, side, |cell| is_free(grid[cell as usize]));
        if grain.target != grain.cell {
            let target = &mut grid[grain.target as usize];
            *target = step.claim(index).min(*target);
        }
    }
    for (index, grain) in scene.grains.iter_mut().enumerate() {
        let won = grain.target != grain.cell && grid[grain.target as usize] == step.claim(index);
        settle(grain, side, won);
    }
}

/// Writes what lies in a row of cells before the grains are marked: the grid's edges are walls.
fn clear_row<C>(row: usize, side: usize, cells: &mut [C], set: impl Fn(&mut C, u32)) {
    if row == 0 || row == side - 1 {
        cells.iter_mut().for_each(|cell| set(cell, WALL));
    } else {
        cells.iter_mut().for_each(|cell| set(cell, EMPTY));
        set(&mut cells[0], WALL);
        set(&mut cells[side - 1], WALL);
    }
}

fn parallel_step(loops: &impl Loops, step: Step, scene: &mut Scene, grid: &mut [AtomicU32]) {
    let side = scene.side;
    loops.chunks_mut(grid, ROWS_PER_CHUNK * side, |chunk_index, chunk| {
        for (row, cells) in (chunk_index * ROWS_PER_CHUNK..).zip(chunk.chunks_exact_mut(side)) {
            clear_row(row, side, cells, |cell, word| *cell.get_mut() = word);
        }
    });
    let grid = &*grid;
    loops.chunks(&scene.grains, GRAINS_PER_CHUNK, |chunk_index, chunk| {
        for (index, grain) in (chunk_index * GRAINS_PER_CHUNK..).zip(chunk) {
            grid[grain.cell as usize].store(index as u32, Relaxed);
        }
    });
    loops.chunks_mut(&mut scene.grains, GRAINS_PER_CHUNK, |chunk_index, chunk| {
        for (index, grain) in (chunk_index * GRAINS_PER_CHUNK..).zip(chunk) {
            grain.target = step.wish(index, grain, side, |cell| is_free(grid[cell as usize].load(Relaxed)));
            if grain.target != grain.cell {
                grid[grain.target as usize].fetch_min(step.claim(index), Relaxed);
            }
        }
    });
    loops.chunks_mut(&mut scene.grains, GRAINS_PER_CHUNK, |chunk_index, chunk| {
        for (index, grain) in (chunk_index * GRAINS_PER_CHUNK..).zip(chunk) {
            let won =
                grain.target != grain.cell && grid[grain.target as usize].load(Relaxed) == step.claim(index);
            settle(grain, side, won);
        }
    });
}

#[cfg(test)]
mod tests;
