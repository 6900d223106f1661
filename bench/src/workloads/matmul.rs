//! Two matrices are multiplied by dividing them into quarters: the four quarters of the product by `join`, the
//! two products that each of them is the sum of one after the other.
//!
//! The elements lie quarter by quarter, down to tiles that lie row by row. A quarter is then a slice, and tiles
//! do not share cache lines. The elements are small integers: every order of summation gives the same result,
//! and the result can be checked exactly.

use std::hint::black_box;

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    fork::ForkJoin,
    measure::{medians, time_ns},
    params::Params,
    random::{checksum, word},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "matmul",
    about: "512 x 512 f32 matrices are multiplied by dividing them into quarters, by joins down to tiles of 32 x 32",
    workers: Workers::Each,
    metrics: &[Metric { name: "product", unit: "ms", about: "a product" }],
};

/// Rows and columns of the matrices.
const SIDE: usize = 512;
/// Rows and columns of what is multiplied without a further division.
const TILE: usize = 32;
const TILE_ELEMENTS: usize = TILE * TILE;
/// Elements are less than this.
const LIMIT: u64 = 8;

/// Adds the product of `a` and `b` to `c`.
fn multiply_add<F: ForkJoin>(context: &mut F::Context<'_>, c: &mut [f32], a: &[f32], b: &[f32]) {
    if c.len() == TILE_ELEMENTS {
        return multiply_add_tile(c, a, b);
    }
    let ([a00, a01, a10, a11], [b00, b01, b10, b11]) = (quarters(a), quarters(b));
    let (upper, lower) = c.split_at_mut(c.len() / 2);
    let (c00, c01) = upper.split_at_mut(upper.len() / 2);
    let (c10, c11) = lower.split_at_mut(lower.len() / 2);
    let quarter = |context: &mut F::Context<'_>, c: &mut [f32], [a0, b0, a1, b1]: [&[f32]; 4]| {
        multiply_add::<F>(context, c, a0, b0);
        multiply_add::<F>(context, c, a1, b1);
    };
    F::join(
        context,
        |context| {
            F::join(
                context,
                |context| quarter(context, c00, [a00, b00, a01, b10]),
                |context| quarter(context, c01, [a00, b01, a01, b11]),
            )
        },
        |context| {
            F::join(
                context,
                |context| quarter(context, c10, [a10, b00, a11, b10]),
                |context| quarter(context, c11, [a10, b01, a11, b11]),
            )
        },
    );
}

/// The quarters of a matrix: upper left, upper right, lower left, lower right.
fn quarters(matrix: &[f32]) -> [&[f32]; 4] {
    let quarter = matrix.len() / 4;
    [0, 1, 2, 3].map(|index| &matrix[index * quarter..][..quarter])
}

fn multiply_add_tile(c: &mut [f32], a: &[f32], b: &[f32]) {
    for (c, a) in c.chunks_exact_mut(TILE).zip(a.chunks_exact(TILE)) {
        for (a, b) in a.iter().zip(b.chunks_exact(TILE)) {
            for (c, b) in c.iter_mut().zip(b) {
                *c += a * b;
            }
        }
    }
}

fn matrix(side: usize, seed: u64) -> Vec<f32> {
    (0..(side * side) as u64).map(|index| (word(seed, index) % LIMIT) as f32).collect()
}

/// Times the product. Call it where the system wants its joins to run.
pub(crate) fn measure<F: ForkJoin>(params: &Params, context: &mut F::Context<'_>) -> Measured {
    let (a, b) = (matrix(SIDE, 1), matrix(SIDE, 2));
    let mut c = vec![0.0; SIDE * SIDE];
    let [ns] = medians(params, 9, || {
        c.fill(0.0);
        [time_ns(|| multiply_add::<F>(context, &mut c, black_box(&a), black_box(&b)))]
    });
    let checksum = checksum(c.iter().map(|element| u64::from(element.to_bits())));
    Measured::one("product", ns / 1e6).checked(format!("{checksum:016x}"))
}

#[cfg(test)]
mod tests;
