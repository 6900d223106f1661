//! A chain of jobs, each of which spawns the next: the cost of an edge where there is no parallelism.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "chain",
    about: "a chain of 100,000 jobs in one scope, each spawned by the one before",
    workers: Workers::Each,
    metrics: &[Metric { name: "edge", unit: "ns", about: "a job of the chain" }],
};

/// Jobs in the chain.
pub(crate) const EDGES: usize = 100_000;

/// Times `round`, which runs a chain of [`EDGES`] jobs.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    measure_some(params, EDGES, round)
}

/// As [`measure`], for a system that takes much longer for each job and gets fewer.
pub(crate) fn measure_some(params: &Params, edges: usize, round: impl FnMut()) -> Measured {
    Measured::one("edge", ns_per_op(params, 15, edges as u64, round))
}
