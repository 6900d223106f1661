//! The simulation on one thread, in plain memory: what the parallel form is compared with.

use std::time::Instant;

use super::grid::{EMPTY, WALL, is_free};
use super::rules::{Step, settle};
use super::terrain::Terrain;
use super::{CELL_COUNT, Grain, SIDE, StepTimes};

/// The occupancy grid of the serial form.
#[derive(Debug)]
pub(crate) struct PlainGrid {
    cells: Vec<u32>,
}

impl PlainGrid {
    pub(crate) fn new() -> Self {
        Self { cells: vec![EMPTY; CELL_COUNT] }
    }
}

/// Moves all grains by one step, on a grid whose content does not matter.
pub(crate) fn step(step: Step, terrain: &Terrain, grains: &mut [Grain], grid: &mut PlainGrid) -> StepTimes {
    let start = Instant::now();
    clear(terrain, grid);
    let cleared = Instant::now();
    mark(grains, grid);
    let marked = Instant::now();
    update(step, grains, grid);
    StepTimes { clear: cleared - start, mark: marked - cleared, update: marked.elapsed() }
}

fn clear(terrain: &Terrain, grid: &mut PlainGrid) {
    for (row, cells) in grid.cells.chunks_exact_mut(SIDE).enumerate() {
        cells.fill(EMPTY);
        for span in terrain.walls(row) {
            cells[span.clone()].fill(WALL);
        }
    }
}

fn mark(grains: &[Grain], grid: &mut PlainGrid) {
    for (index, grain) in grains.iter().enumerate() {
        grid.cells[grain.cell as usize] = index as u32;
    }
}

fn update(step: Step, grains: &mut [Grain], grid: &mut PlainGrid) {
    let cells = &mut grid.cells;
    for (index, grain) in grains.iter_mut().enumerate() {
        grain.target = step.wish(index, grain, |cell| is_free(cells[cell as usize]));
        if grain.target != grain.cell {
            let target = &mut cells[grain.target as usize];
            *target = step.claim(index).min(*target);
        }
    }
    for (index, grain) in grains.iter_mut().enumerate() {
        let won = grain.target != grain.cell && cells[grain.target as usize] == step.claim(index);
        settle(grain, won);
    }
}
