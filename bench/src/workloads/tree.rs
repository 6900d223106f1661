//! A binary tree of jobs, each of which spawns its two children: spawning when every job is a spawner.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "tree",
    about: "a binary tree of jobs of depth 17 (262,143 jobs) in one scope, each spawned by its parent",
    workers: Workers::Each,
    metrics: &[Metric { name: "job", unit: "ns", about: "a job of the tree" }],
};

/// Levels below the root.
pub(crate) const DEPTH: u32 = 17;

/// Times `round`, which runs a tree of depth [`DEPTH`].
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    measure_some(params, DEPTH, round)
}

/// As [`measure`], for a system that takes much longer for each job and gets a smaller tree.
pub(crate) fn measure_some(params: &Params, depth: u32, round: impl FnMut()) -> Measured {
    Measured::one("job", ns_per_op(params, 9, (1 << (depth + 1)) - 1, round))
}
