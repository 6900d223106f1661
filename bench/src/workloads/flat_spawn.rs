//! A million empty jobs from one job: what a spawn costs, and what becomes of it when a second worker steals.

use std::hint::black_box;

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "flat_spawn",
    about: "a scope of 1,000,000 empty jobs, spawned one by one from one job",
    workers: Workers::Each,
    metrics: &[Metric { name: "job", unit: "ns", about: "a job, from spawn to the end of the scope" }],
};

/// Jobs in a round.
pub(crate) const JOBS: usize = 1_000_000;

/// Times `round`, which spawns [`JOBS`] jobs that each call [`empty`], and waits for them.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    measure_some(params, JOBS, round)
}

/// As [`measure`], for a system that takes much longer for each job and gets fewer.
pub(crate) fn measure_some(params: &Params, jobs: usize, round: impl FnMut()) -> Measured {
    Measured::one("job", ns_per_op(params, 7, jobs as u64, round))
}

/// The body of an empty job: it captures an index, and that is all it looks at.
#[inline(always)]
pub(crate) fn empty(index: usize) {
    black_box(index);
}
