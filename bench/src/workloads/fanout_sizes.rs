//! `fanout` in sizes from ten to a million fibers.

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    params::Params,
    sizes::{self, Size},
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "fanout_sizes",
    about: "fanout with 10 to 1,000,000 fibers; sizes that would take too long are left out",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "waiter 10", unit: "ns", about: "a waiter of 10, from spawn until all have ended" },
        Metric { name: "waiter 100", unit: "ns", about: "a waiter of 100" },
        Metric { name: "waiter 1k", unit: "ns", about: "a waiter of 1,000" },
        Metric { name: "waiter 10k", unit: "ns", about: "a waiter of 10,000" },
        Metric { name: "waiter 100k", unit: "ns", about: "a waiter of 100,000" },
        Metric { name: "waiter 1M", unit: "ns", about: "a waiter of 1,000,000" },
    ],
};

const SIZES: [Size; 6] = [
    ("waiter 10", 10),
    ("waiter 100", 100),
    ("waiter 1k", 1_000),
    ("waiter 10k", 10_000),
    ("waiter 100k", 100_000),
    ("waiter 1M", 1_000_000),
];

/// Takes the figures of `round`, which lets as many fibers wait as it is told, and returns the times of both
/// halves in nanoseconds.
pub(crate) fn measure(params: &Params, round: impl FnMut(usize) -> [f64; 2]) -> Measured {
    measure_up_to(params, usize::MAX, round)
}

/// As [`measure`], for a system that cannot have more than so many fibers.
pub(crate) fn measure_up_to(params: &Params, most: usize, mut round: impl FnMut(usize) -> [f64; 2]) -> Measured {
    let sizes = &SIZES[..SIZES.partition_point(|(_, waiters)| *waiters <= most)];
    sizes::measure(params, sizes, |waiters| round(waiters).iter().sum())
}
