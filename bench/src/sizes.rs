//! The same workload in several sizes, in one cell: how the cost of an operation changes as the work grows.
//!
//! Small sizes are repeated until there is something to measure. A size is begun only if the one before
//! predicts that it fits into the time of the cell; the figures of those that do not fit are missing.

use std::time::Instant;

use crate::{cell::Measured, measure::median, params::Params};

/// A size: its metric's name, and how many operations a round of it has.
pub(crate) type Size = (&'static str, usize);

/// A sample has at least so many operations, in as many rounds as that takes.
const SAMPLE_OPS: usize = 50_000;
/// Samples of each size.
const SAMPLES: usize = 3;
/// The part of the time for all sizes after which none takes a further sample.
const SHARES: u32 = 6;

/// Measures the sizes, which ascend. `round` does as many operations as it is told, and returns how long that
/// took in nanoseconds; the figures are nanoseconds for each operation.
pub(crate) fn measure(params: &Params, sizes: &[Size], mut round: impl FnMut(usize) -> f64) -> Measured {
    let limit = params.soft_limit / 3;
    let begin = Instant::now();
    let mut measured = Measured::default();
    let mut predicted_ns = 0.0;
    for &(metric, ops) in sizes {
        if begin.elapsed().as_nanos() as f64 + predicted_ns * ops as f64 > limit.as_nanos() as f64 {
            break;
        }
        let rounds = SAMPLE_OPS.div_ceil(ops);
        let mut sample = || (0..rounds).map(|_| round(ops)).sum::<f64>() / (rounds * ops) as f64;
        let size_begin = Instant::now();
        let first = sample();
        let mut samples = Vec::new();
        while samples.len() < params.repeats(SAMPLES) && size_begin.elapsed() < limit / SHARES {
            samples.push(sample());
        }
        // The first one warms up; where a round takes long, it has to do.
        predicted_ns = if samples.is_empty() { first } else { median(samples) };
        measured = measured.with(metric, predicted_ns);
    }
    measured
}

#[cfg(test)]
mod tests;
