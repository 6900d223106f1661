//! Stencils on grids of all sizes: cycles of a multigrid solver for a Poisson equation in three dimensions, with edges
//! that are joined. On the coarse grids a loop has few planes, and hardly any work in each.

use super::{super::sand::Loops, checksum};

/// Cells along each edge of the finest grid, and of the coarsest.
const SIDE: usize = 64;
const SIDE_MIN: usize = 4;
const CYCLES: usize = 4;
/// Smoothing steps on the coarsest grid.
const COARSEST_STEPS: usize = 4;

/// A cube of values.
#[derive(Debug)]
struct Grid {
    side: usize,
    values: Vec<f64>,
}

/// What is known on one level: the right side, the solution, and what is left over.
#[derive(Debug)]
struct Level {
    right: Grid,
    solution: Grid,
    rest: Grid,
}

/// All levels, the finest first.
#[derive(Debug)]
pub(super) struct Grids {
    levels: Vec<Level>,
}

impl Grid {
    fn new(side: usize) -> Grid {
        Grid { side, values: vec![0.0; side * side * side] }
    }

    fn at(&self, z: usize, y: usize, x: usize) -> f64 {
        self.values[(z * self.side + y) * self.side + x]
    }

    /// The sum of a cell's six neighbours.
    fn around(&self, z: usize, y: usize, x: usize) -> f64 {
        let last = self.side - 1;
        let before = |index: usize| index.wrapping_sub(1) & last;
        let after = |index: usize| (index + 1) & last;
        (self.at(before(z), y, x) + self.at(after(z), y, x))
            + (self.at(z, before(y), x) + self.at(z, after(y), x))
            + (self.at(z, y, before(x)) + self.at(z, y, after(x)))
    }

    /// The value at the middle of a cell of half the size, between the eight cells around it.
    fn between(&self, z: usize, y: usize, x: usize) -> f64 {
        let last = self.side - 1;
        let near = [z / 2, y / 2, x / 2];
        // The half of its cell in which it lies says which neighbour is the other one.
        let far = [z, y, x].map(|index| if index % 2 == 0 { (index / 2).wrapping_sub(1) } else { index / 2 + 1 } & last);
        let corners = (0..8).map(|corner: usize| {
            let [z, y, x] = [0, 1, 2].map(|axis| if corner >> axis & 1 == 0 { near[axis] } else { far[axis] });
            self.at(z, y, x) * [27.0, 9.0, 3.0, 1.0][corner.count_ones() as usize] / 64.0
        });
        corners.sum()
    }

    /// Gives each cell a new value, a plane at a time.
    fn fill(&mut self, loops: &impl Loops, value: impl Fn(usize, usize, usize, f64) -> f64 + Send + Sync) {
        let side = self.side;
        loops.chunks_mut(&mut self.values, side * side, |z, plane| {
            for (y, row) in plane.chunks_exact_mut(side).enumerate() {
                for (x, cell) in row.iter_mut().enumerate() {
                    *cell = value(z, y, x, *cell);
                }
            }
        });
    }
}

impl Grids {
    pub(super) fn new() -> Grids {
        let sides = std::iter::successors(Some(SIDE), |side| (*side > SIDE_MIN).then_some(side / 2));
        let level =
            |side| Level { right: Grid::new(side), solution: Grid::new(side), rest: Grid::new(side) };
        let mut grids = Grids { levels: sides.map(level).collect() };
        // Some sources and as many sinks.
        let right = &mut grids.levels[0].right.values;
        let count = right.len();
        for index in 0..10 {
            right[(index * 26_171 + 77) % count] = 1.0;
            right[(index * 91_009 + 4_099) % count] = -1.0;
        }
        grids
    }

    /// Solves from the beginning; a checksum of the solution.
    pub(super) fn run(&mut self, loops: &impl Loops) -> u64 {
        self.levels[0].solution.fill(loops, |_, _, _, _| 0.0);
        for _ in 0..CYCLES {
            cycle(loops, &mut self.levels);
        }
        checksum(self.levels[0].solution.values.iter().map(|value| value.to_bits()))
    }
}

/// Smooths, solves what is left over on the next coarser grid, adds that, and smooths again.
fn cycle(loops: &impl Loops, levels: &mut [Level]) {
    let Some((level, coarser)) = levels.split_first_mut() else { return };
    if coarser.is_empty() {
        for _ in 0..COARSEST_STEPS {
            smooth(loops, level);
        }
        return;
    }
    smooth(loops, level);
    let Level { right, solution, rest } = &mut *level;
    rest.fill(loops, |z, y, x, _| {
        right.at(z, y, x) - (6.0 * solution.at(z, y, x) - solution.around(z, y, x))
    });
    // Cells of twice the size: the sum of eight, times four for the square of their size, over eight.
    coarser[0].right.fill(loops, |z, y, x, _| {
        let corners = (0..8).map(|corner| {
            let [dz, dy, dx] = [corner >> 2 & 1, corner >> 1 & 1, corner & 1];
            rest.at(2 * z + dz, 2 * y + dy, 2 * x + dx)
        });
        corners.sum::<f64>() / 2.0
    });
    coarser[0].solution.fill(loops, |_, _, _, _| 0.0);
    cycle(loops, coarser);
    let correction = &coarser[0].solution;
    level.solution.fill(loops, |z, y, x, value| value + correction.between(z, y, x));
    smooth(loops, level);
}

/// A step of Jacobi's method with a weight. The result goes where the rest was, and both change places.
fn smooth(loops: &impl Loops, level: &mut Level) {
    const WEIGHT: f64 = 0.8;
    let Level { right, solution, rest } = level;
    rest.fill(loops, |z, y, x, _| {
        let value = (right.at(z, y, x) + solution.around(z, y, x)) / 6.0;
        (1.0 - WEIGHT) * solution.at(z, y, x) + WEIGHT * value
    });
    std::mem::swap(solution, rest);
}

#[cfg(test)]
impl Grids {
    /// What is left over on the finest grid: the sum of the squares.
    pub(super) fn left_over(&self) -> f64 {
        let Level { right, solution, .. } = &self.levels[0];
        let mut sum = 0.0;
        for (z, y, x) in (0..SIDE * SIDE * SIDE).map(|cell| (cell / SIDE / SIDE, cell / SIDE % SIDE, cell % SIDE)) {
            let left = right.at(z, y, x) - (6.0 * solution.at(z, y, x) - solution.around(z, y, x));
            sum += left * left;
        }
        sum
    }
}
