//! A million empty jobs handed over as one batch.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, params::Params, workloads::flat_spawn};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "flat_batch",
    about: "1,000,000 empty jobs, spawned as one batch where the system has such a call, else as flat_spawn",
    workers: Workers::Each,
    metrics: &[Metric { name: "job", unit: "ns", about: "a job, from spawn to the end of the batch" }],
};

/// Times `round`, which spawns [`flat_spawn::JOBS`] jobs and waits for them.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    flat_spawn::measure(params, round)
}
