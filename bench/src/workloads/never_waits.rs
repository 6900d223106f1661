//! A million detached jobs that never wait, counted by a counter, on one worker: what a system that could
//! suspend charges the jobs that do not.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, params::Params, workloads::flat_spawn};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "never_waits",
    about: "1,000,000 detached empty jobs that a counter counts, on one worker",
    workers: Workers::One,
    metrics: &[Metric { name: "job", unit: "ns", about: "a job, from spawn to the counter's zero" }],
};

/// Times `round`, which spawns [`flat_spawn::JOBS`] detached jobs and waits until all have ended.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    flat_spawn::measure(params, round)
}

/// As [`measure`], for a system that takes much longer for each job and gets fewer.
pub(crate) fn measure_some(params: &Params, jobs: usize, round: impl FnMut()) -> Measured {
    flat_spawn::measure_some(params, jobs, round)
}
