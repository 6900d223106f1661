//! A thousand jobs whose costs differ: every tenth a hundred times as much as the others, and one after the other more.

use std::sync::atomic::{AtomicU64, Ordering};

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "imbalanced",
    about: "1,000 jobs of unequal cost, about 10 ms of work in all",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "every tenth", unit: "ms", about: "every tenth job takes 100 us, the others 1 us" },
        Metric { name: "triangular", unit: "ms", about: "job i takes i x 20 ns" },
    ],
};

/// Jobs in a round.
pub(crate) const JOBS: usize = 1_000;
/// Steps of the generator in about a microsecond.
const STEPS_PER_US: usize = 600;
const HEAVY_EVERY: usize = 10;
const HEAVY_US: usize = 100;
/// Steps by which a job of the triangular load takes longer than the one before.
const STEPS_PER_INDEX: usize = 12;
const REPEATS: usize = 15;

/// The jobs of one load.
#[derive(Debug)]
pub(crate) struct Jobs {
    steps: fn(usize) -> usize,
    /// The sum of what the jobs of a round have computed. Each adds its own; read when all have ended.
    sum: AtomicU64,
}

/// A way to run the jobs: its name, and a function that runs all of a round. What runs calls [`Jobs::run`] for each index
/// below [`JOBS`] and nothing else.
pub(crate) type Form<'a> = (&'a str, &'a dyn Fn(&'static Jobs));

impl Jobs {
    /// The whole body of the job with this index.
    pub(crate) fn run(&self, index: usize) {
        self.sum.fetch_add(compute(index, (self.steps)(index)), Ordering::Relaxed);
    }
}

/// So many dependent steps of a generator.
fn compute(index: usize, steps: usize) -> u64 {
    let mut state = index as u64 + 1;
    for _ in 0..steps {
        // Without the shift a compiler may do several steps in one.
        state = (state ^ (state >> 29)).wrapping_mul(6_364_136_223_846_793_005);
    }
    std::hint::black_box(state)
}

fn every_tenth(index: usize) -> usize {
    if index.is_multiple_of(HEAVY_EVERY) { HEAVY_US * STEPS_PER_US } else { STEPS_PER_US }
}

fn triangular(index: usize) -> usize {
    index * STEPS_PER_INDEX
}

/// Times all forms on both loads. Call it where the system wants its jobs to be spawned.
pub(crate) fn measure(params: &Params, forms: &[Form<'_>]) -> Measured {
    let params = params.share(2 * forms.len());
    let mut measured = Measured::default();
    let mut checksums = Vec::new();
    for (metric, steps) in [("every tenth", every_tenth as fn(usize) -> usize), ("triangular", triangular)] {
        // The process ends with the cell. Until then jobs may look at this whenever they like.
        let jobs: &'static Jobs = Box::leak(Box::new(Jobs { steps, sum: AtomicU64::new(0) }));
        let mut sums = Vec::new();
        let mut time = |form: &dyn Fn(&'static Jobs)| {
            let [ns] = medians(&params, REPEATS, || {
                jobs.sum.store(0, Ordering::Relaxed);
                let ns = time_ns(|| form(jobs));
                sums.push(jobs.sum.load(Ordering::Relaxed));
                [ns]
            });
            ns / 1e6
        };
        let figures = forms.iter().map(|(name, form)| (name.to_string(), time(form))).collect();
        measured = measured.with_best(metric, figures);
        assert!(sums.iter().all(|sum| *sum == sums[0]), "not all jobs have run once");
        checksums.push(format!("{:016x}", sums[0]));
    }
    measured.checked(checksums.join(" "))
}
