//! What it takes to start a system and run its first job, and to stop it again.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::{medians, time_ns}, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "start_stop",
    about: "start a system and run one job; stop it",
    workers: Workers::Most,
    metrics: &[
        Metric { name: "start", unit: "ms", about: "from the call that builds it until its first job has ended" },
        Metric { name: "stop", unit: "ms", about: "until the call that stops it returns" },
        Metric { name: "memory", unit: "MiB", about: "what the whole process has in memory after the first start, page tables included" },
    ],
};

/// Times `start`, which returns the system after its first job, and `stop`, which ends it.
pub(crate) fn measure<S>(params: &Params, start: impl Fn() -> S, stop: impl Fn(S)) -> Measured {
    let first = start();
    let memory_mib = crate::resident::kib() / 1024.0;
    stop(first);
    let [start, stop] = medians(params, 31, || {
        let mut system = None;
        let start_ns = time_ns(|| system = Some(start()));
        let stop_ns = time_ns(|| stop(system.take().expect("it was started")));
        [start_ns / 1e6, stop_ns / 1e6]
    });
    Measured::default().with("start", start).with("stop", stop).with("memory", memory_mib)
}
