//! The same workload in several sizes, in one cell: how the cost of an operation changes as the work grows.
//!
//! Small sizes are repeated until there is something to measure. A size is begun only if the one before
//! predicts that it fits into the time of the cell; the figures of those that do not fit are missing.

use std::time::{Duration, Instant};

use crate::{cell::Measured, measure::median, params::Params};

/// A size: its metric's name, and how many operations a round of it has.
pub(crate) type Size = (&'static str, usize);

/// A sample has at least so many operations, in as many rounds as that takes.
const SAMPLE_OPS: usize = 10_000;
/// Samples of each size.
const SAMPLES: usize = 3;
/// The part of the time for all sizes after which none takes a third sample.
const SHARES: u32 = 6;

/// Measures the sizes, which ascend. `round` does as many operations as it is told, and returns how long that
/// took in nanoseconds; the figures are nanoseconds for each operation.
pub(crate) fn measure(params: &Params, sizes: &[Size], mut round: impl FnMut(usize) -> f64) -> Measured {
    let limit = params.soft_limit / 3;
    let begin = Instant::now();
    let mut measured = Measured::default();
    let mut predicted_ns = 0.0;
    for &(metric, ops) in sizes {
        let rounds = SAMPLE_OPS.div_ceil(ops);
        let fits =
            |ns: f64| begin.elapsed() + Duration::from_secs_f64(ns * (rounds * ops) as f64 / 1e9) < limit;
        if !fits(predicted_ns) {
            break;
        }
        let mut sample = || (0..rounds).map(|_| round(ops)).sum::<f64>() / (rounds * ops) as f64;
        let size_begin = Instant::now();
        // The first one warms up; where a round takes long, it has to do.
        predicted_ns = sample();
        let mut samples = Vec::new();
        while samples.len() < params.repeats(SAMPLES)
            && (samples.is_empty() || size_begin.elapsed() < limit / SHARES)
            && fits(predicted_ns)
        {
            predicted_ns = sample();
            samples.push(predicted_ns);
        }
        if !samples.is_empty() {
            predicted_ns = median(samples);
        }
        measured = measured.with(metric, predicted_ns);
    }
    measured
}

#[cfg(test)]
mod tests;
