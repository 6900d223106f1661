//! `chain` in sizes from a thousand to a million jobs.

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::time_ns,
    params::Params,
    sizes::{self, Size},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "chain_sizes",
    about: "chain with 1,000 to 1,000,000 jobs; sizes that would take too long are left out",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "edge 1k", unit: "ns", about: "a job of a chain of 1,000" },
        Metric { name: "edge 10k", unit: "ns", about: "a job of a chain of 10,000" },
        Metric { name: "edge 100k", unit: "ns", about: "a job of a chain of 100,000" },
        Metric { name: "edge 1M", unit: "ns", about: "a job of a chain of 1,000,000" },
    ],
};

const SIZES: [Size; 4] =
    [("edge 1k", 1_000), ("edge 10k", 10_000), ("edge 100k", 100_000), ("edge 1M", 1_000_000)];

/// Times `round`, which runs a chain of as many jobs as it is told.
pub(crate) fn measure(params: &Params, round: impl Fn(usize)) -> Measured {
    measure_timed(params, |jobs| time_ns(|| round(jobs)))
}

/// As [`measure`], with a round that returns how long it took in nanoseconds.
pub(crate) fn measure_timed(params: &Params, round: impl Fn(usize) -> f64) -> Measured {
    sizes::measure(params, &SIZES, round)
}
