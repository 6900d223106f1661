//! Batches of empty jobs of all sizes: what a small one costs that has hardly begun before somebody waits for it.

use super::{Metric, Workers, Workload, par_for::repeated_us};
use crate::{cell::Measured, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "batches",
    about: "batches of 10 to 100,000 empty jobs, spawned by a job that waits for them",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "batch 10", unit: "us", about: ABOUT },
        Metric { name: "batch 100", unit: "us", about: ABOUT },
        Metric { name: "batch 1k", unit: "us", about: ABOUT },
        Metric { name: "batch 10k", unit: "us", about: ABOUT },
        Metric { name: "batch 100k", unit: "us", about: ABOUT },
    ],
};

const ABOUT: &str = "a batch of so many jobs, from the first spawn until all have ended";

/// The sizes, in the order of the metrics.
const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// A way to run batches: its name, and a function that runs so many of so many jobs each, one after the other. The jobs
/// call [`empty`](super::flat_spawn::empty) and nothing else.
pub(crate) type Form<'a> = (&'a str, &'a dyn Fn(usize, u64));

/// Times all forms at all sizes.
pub(crate) fn measure(params: &Params, forms: &[Form<'_>]) -> Measured {
    let params = params.share(SIZES.len() * forms.len());
    let mut measured = Measured::default();
    for (metric, size) in WORKLOAD.metrics.iter().zip(SIZES) {
        let time = |form: &dyn Fn(usize, u64)| repeated_us(&params, |batches| form(size, batches));
        let figures = forms.iter().map(|(name, form)| (name.to_string(), time(form))).collect();
        measured = measured.with_best(metric.name, figures);
    }
    measured
}
