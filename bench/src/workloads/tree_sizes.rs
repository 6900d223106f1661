//! `tree` in sizes from about a thousand to about a million jobs.

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::time_ns,
    params::Params,
    sizes::{self, Size},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "tree_sizes",
    about: "tree with 1,023 to 1,048,575 jobs; sizes that would take too long are left out",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "job 1k", unit: "ns", about: "a job of a tree of 1,023" },
        Metric { name: "job 16k", unit: "ns", about: "a job of a tree of 16,383" },
        Metric { name: "job 131k", unit: "ns", about: "a job of a tree of 131,071" },
        Metric { name: "job 1M", unit: "ns", about: "a job of a tree of 1,048,575" },
    ],
};

const SIZES: [Size; 4] = [
    ("job 1k", (1 << 10) - 1),
    ("job 16k", (1 << 14) - 1),
    ("job 131k", (1 << 17) - 1),
    ("job 1M", (1 << 20) - 1),
];

/// Times `round`, which runs a tree of the depth that it is told: so many levels below the root.
pub(crate) fn measure(params: &Params, round: impl Fn(u32)) -> Measured {
    measure_up_to(params, usize::MAX, round)
}

/// As [`measure`], for a system that cannot have more than so many jobs at once.
pub(crate) fn measure_up_to(params: &Params, most: usize, round: impl Fn(u32)) -> Measured {
    measure_timed_up_to(params, most, |depth| time_ns(|| round(depth)))
}

/// As [`measure`], with a round that returns how long it took in nanoseconds.
pub(crate) fn measure_timed(params: &Params, round: impl Fn(u32) -> f64) -> Measured {
    measure_timed_up_to(params, usize::MAX, round)
}

fn measure_timed_up_to(params: &Params, most: usize, round: impl Fn(u32) -> f64) -> Measured {
    let sizes = &SIZES[..SIZES.partition_point(|(_, jobs)| *jobs <= most)];
    sizes::measure(params, sizes, |jobs| round(jobs.ilog2()))
}
