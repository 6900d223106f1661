//! The cells that sand cannot enter: the four edges of the grid, and round pegs on which it piles
//! up and from which it slides.
//!
//! Because the edges are walls, no rule asks whether a neighbour lies outside of the grid.

use std::ops::Range;

use super::SIDE;

/// Where the pegs are: column and row of the centre, and the radius, in cells.
const PEGS: [(i32, i32, i32); 7] = [
    (125, 700, 30),
    (375, 700, 30),
    (625, 700, 30),
    (875, 700, 30),
    (250, 790, 36),
    (500, 790, 36),
    (750, 790, 36),
];

/// The walls, row by row.
#[derive(Debug)]
pub(crate) struct Terrain {
    rows: Vec<Vec<Range<usize>>>,
}

impl Terrain {
    /// The terrain of every scene.
    pub(crate) fn new() -> Self {
        let rows = (0..SIDE).map(|row| spans((0..SIDE).map(|column| is_wall(column, row)))).collect();
        Self { rows }
    }

    /// The columns of `row` that are walls, in rising order.
    pub(crate) fn walls(&self, row: usize) -> &[Range<usize>] {
        &self.rows[row]
    }
}

/// Whether sand cannot enter this cell.
fn is_wall(column: usize, row: usize) -> bool {
    let edge = |position: usize| position == 0 || position == SIDE - 1;
    let in_peg = PEGS.iter().any(|&(x, y, radius)| {
        let (dx, dy) = (column as i32 - x, row as i32 - y);
        dx * dx + dy * dy <= radius * radius
    });
    edge(column) || edge(row) || in_peg
}

/// The ranges of positions at which `flags` is true.
fn spans(flags: impl Iterator<Item = bool>) -> Vec<Range<usize>> {
    let mut spans: Vec<Range<usize>> = Vec::new();
    for (position, _) in flags.enumerate().filter(|&(_, flag)| flag) {
        match spans.last_mut() {
            Some(span) if span.end == position => span.end += 1,
            _ => spans.push(position..position + 1),
        }
    }
    spans
}

#[cfg(test)]
mod tests;
