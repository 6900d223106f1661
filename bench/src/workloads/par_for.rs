//! Parallel loops: saxpy at three sizes, and a triangular loop whose item i costs about i.
//!
//! A system may be measured in several forms (chunk sizes, grains). The best counts, and is named: what is
//! compared is what a user gets after trying the documented knobs, not who has the luckier default.

use std::hint::black_box;

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{ns_per_op, time_ns},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "par_for",
    about: "loops over f32 arrays, y += a * x, and a loop whose item i costs about i",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "saxpy 10k", unit: "us", about: "a loop over 10,000 elements" },
        Metric { name: "saxpy 100k", unit: "us", about: "a loop over 100,000 elements" },
        Metric { name: "saxpy 1M", unit: "us", about: "a loop over 1,000,000 elements" },
        Metric { name: "triangular", unit: "us", about: "a loop over 4,096 items, item i is i steps of a generator" },
    ],
};

/// The metrics' names of the saxpy loops, with their lengths.
const SAXPY: [(&str, usize); 3] = [("saxpy 10k", 10_000), ("saxpy 100k", 100_000), ("saxpy 1M", 1_000_000)];
/// Items of the triangular loop.
const TRIANGULAR: usize = 4_096;
/// A timed round repeats its loop until it has lasted about this long.
const ROUND_NS: f64 = 2e6;
const A: f32 = 0.5;

/// A loop that does `y += a * x` for `(a, x, y)`.
pub(crate) type Saxpy<'a> = dyn Fn(f32, &[f32], &mut [f32]) + 'a;
/// A form of the saxpy loop, with its name.
pub(crate) type SaxpyForm<'a> = (&'a str, &'a Saxpy<'a>);
/// A form of the triangular loop: its name, and a loop that calls [`item`] for all below `n`.
pub(crate) type TriangularForm<'a> = (&'a str, &'a dyn Fn(usize));

/// Times all forms. Call it where the system wants its loops to run: inside the pool.
pub(crate) fn measure(params: &Params, saxpy: &[SaxpyForm<'_>], triangular: &[TriangularForm<'_>]) -> Measured {
    let mut measured = Measured::default();
    let params = &params.share(SAXPY.len() * saxpy.len() + triangular.len());
    for (metric, length) in SAXPY {
        measured = measured.with_best(metric, saxpy_us(params, length, saxpy));
    }
    let figures = triangular
        .iter()
        .map(|(name, form)| {
            let us = repeated_us(params, |loops| (0..loops).for_each(|_| form(black_box(TRIANGULAR))));
            (name.to_string(), us)
        });
    measured.with_best("triangular", figures.collect())
}

/// `y += a * x`, the loop that each system runs on its parts of the arrays.
#[inline(always)]
pub(crate) fn saxpy(a: f32, x: &[f32], y: &mut [f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// An item of the triangular loop: `index` dependent steps of a small generator.
#[inline(always)]
pub(crate) fn item(index: usize) {
    let mut state = index as u64;
    for _ in 0..index {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
    }
    black_box(state);
}

/// The median time of each form of the saxpy loop over arrays of this length in microseconds, after it has been checked.
pub(crate) fn saxpy_us(params: &Params, length: usize, forms: &[SaxpyForm<'_>]) -> Vec<(String, f64)> {
    let x: Vec<f32> = (0..length).map(|index| (index % 1_000) as f32).collect();
    let mut y = vec![0.0_f32; length];
    let mut time = |form: &Saxpy<'_>| {
        y.fill(1.0);
        form(A, &x, &mut y);
        assert!(y.iter().zip(&x).all(|(y, x)| *y == 1.0 + A * x), "saxpy is wrong");
        repeated_us(params, |loops| (0..loops).for_each(|_| form(black_box(A), &x, &mut y)))
    };
    forms.iter().map(|(name, form)| (name.to_string(), time(form))).collect()
}

/// The median time of something in microseconds that `repeat` does so many times, one after the other: so often in a
/// round that a round lasts about 2 ms.
pub(crate) fn repeated_us(params: &Params, mut repeat: impl FnMut(u64)) -> f64 {
    let first_ns = time_ns(|| repeat(1));
    // Once may have been bad luck, unless it was far too long.
    if first_ns > 4.0 * params.soft_limit.as_nanos() as f64 {
        return first_ns / 1e3;
    }
    // What takes longer than a round is done once in each, whatever it takes.
    let estimates = if first_ns < ROUND_NS { 2 } else { 0 };
    let estimate_ns = (0..estimates).map(|_| time_ns(|| repeat(1))).fold(first_ns, f64::min);
    let times = (ROUND_NS / estimate_ns.max(1.0)).ceil().clamp(1.0, 1e6) as u64;
    ns_per_op(params, 15, times, || repeat(times)) / 1e3
}
