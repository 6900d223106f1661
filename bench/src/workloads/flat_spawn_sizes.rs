//! `flat_spawn` in sizes from a thousand to ten million jobs.

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::time_ns,
    params::Params,
    sizes::{self, Size},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "flat_spawn_sizes",
    about: "flat_spawn with 1,000 to 10,000,000 jobs; sizes that would take too long are left out",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "job 1k", unit: "ns", about: "a job of 1,000" },
        Metric { name: "job 10k", unit: "ns", about: "a job of 10,000" },
        Metric { name: "job 100k", unit: "ns", about: "a job of 100,000" },
        Metric { name: "job 1M", unit: "ns", about: "a job of 1,000,000" },
        Metric { name: "job 10M", unit: "ns", about: "a job of 10,000,000" },
    ],
};

const SIZES: [Size; 5] = [
    ("job 1k", 1_000),
    ("job 10k", 10_000),
    ("job 100k", 100_000),
    ("job 1M", 1_000_000),
    ("job 10M", 10_000_000),
];

/// Times `round`, which spawns as many jobs as it is told, and waits for them.
pub(crate) fn measure(params: &Params, round: impl Fn(usize)) -> Measured {
    measure_timed(params, |jobs| time_ns(|| round(jobs)))
}

/// As [`measure`], with a round that returns how long it took in nanoseconds.
pub(crate) fn measure_timed(params: &Params, round: impl Fn(usize) -> f64) -> Measured {
    sizes::measure(params, &SIZES, round)
}
