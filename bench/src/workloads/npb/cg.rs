//! Sparse products and dot products: conjugate gradients, with a short loop for each step, and a sum that all wait for.

use super::{super::sand::Loops, checksum};

const ROWS: usize = 20_000;
const STEPS: usize = 15;
/// Pairs of entries beside the diagonal, in each row.
const NEIGHBOURS: [usize; 6] = [1, 7, 100, 411, 2_003, 7_919];
const ROWS_PER_CHUNK: usize = 512;

/// An equation of a symmetric matrix whose diagonal dominates, and the vectors to solve it with.
#[derive(Debug)]
pub(super) struct System {
    /// A row's columns and values, one after the other: 13 each.
    columns: Vec<u32>,
    values: Vec<f64>,
    solution: Vec<f64>,
    rest: Vec<f64>,
    direction: Vec<f64>,
    image: Vec<f64>,
    sums: Vec<f64>,
}

const ENTRIES: usize = 2 * NEIGHBOURS.len() + 1;

impl System {
    pub(super) fn new() -> System {
        let (mut columns, mut values) = (Vec::new(), Vec::new());
        for row in 0..ROWS {
            columns.push(row as u32);
            values.push(ENTRIES as f64 + (row % 7) as f64);
            for neighbour in NEIGHBOURS {
                columns.push(((row + neighbour) % ROWS) as u32);
                columns.push(((row + ROWS - neighbour) % ROWS) as u32);
                values.extend([-1.0; 2]);
            }
        }
        let vector = || vec![0.0; ROWS];
        let sums = vec![0.0; ROWS.div_ceil(ROWS_PER_CHUNK)];
        System { columns, values, solution: vector(), rest: vector(), direction: vector(), image: vector(), sums }
    }

    /// Solves from the beginning; a checksum of the solution.
    pub(super) fn run(&mut self, loops: &impl Loops) -> u64 {
        let System { columns, values, solution, rest, direction, image, sums } = self;
        solution.fill(0.0);
        let right = |row: usize| if row.is_multiple_of(100) { 1.0 } else { 0.0 };
        rest.iter_mut().enumerate().for_each(|(row, value)| *value = right(row));
        direction.copy_from_slice(rest);
        let mut square = dot(loops, rest, rest, sums);
        for _ in 0..STEPS {
            loops.chunks_mut(image, ROWS_PER_CHUNK, |chunk, image| {
                for (row, value) in (chunk * ROWS_PER_CHUNK..).zip(image) {
                    let entries = row * ENTRIES..(row + 1) * ENTRIES;
                    let products = columns[entries.clone()].iter().zip(&values[entries]);
                    *value = products.map(|(column, value)| direction[*column as usize] * value).sum();
                }
            });
            let alpha = square / dot(loops, direction, image, sums);
            add(loops, solution, alpha, direction);
            add(loops, rest, -alpha, image);
            let new_square = dot(loops, rest, rest, sums);
            let beta = new_square / square;
            square = new_square;
            loops.chunks_mut(direction, ROWS_PER_CHUNK, |chunk, direction| {
                for (value, rest) in direction.iter_mut().zip(&rest[chunk * ROWS_PER_CHUNK..]) {
                    *value = rest + beta * *value;
                }
            });
        }
        checksum(solution.iter().map(|value| value.to_bits()))
    }
}

/// `left` times `right`: the sums of the chunks, in their order.
fn dot(loops: &impl Loops, left: &[f64], right: &[f64], sums: &mut [f64]) -> f64 {
    loops.chunks_mut(sums, 1, |chunk, sum| {
        let rows = chunk * ROWS_PER_CHUNK..ROWS.min((chunk + 1) * ROWS_PER_CHUNK);
        sum[0] = left[rows.clone()].iter().zip(&right[rows]).map(|(left, right)| left * right).sum();
    });
    sums.iter().sum()
}

/// Adds `factor` times `other` to `vector`.
fn add(loops: &impl Loops, vector: &mut [f64], factor: f64, other: &[f64]) {
    loops.chunks_mut(vector, ROWS_PER_CHUNK, |chunk, vector| {
        for (value, other) in vector.iter_mut().zip(&other[chunk * ROWS_PER_CHUNK..]) {
            *value += factor * other;
        }
    });
}

#[cfg(test)]
impl System {
    /// What is left over: the square of the rest.
    pub(super) fn left_over(&self) -> f64 {
        self.rest.iter().map(|value| value * value).sum()
    }
}
