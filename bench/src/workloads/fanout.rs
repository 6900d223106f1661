//! 10,000 fibers wait on one counter, which is then signalled once.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::medians, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "fanout",
    about: "10,000 fibers wait on one counter; corosensei: 10,000 bare coroutines on recycled stacks",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "suspend", unit: "ns", about: "a waiter, from spawn until all are suspended" },
        Metric { name: "resume", unit: "ns", about: "a waiter, from the signal until all have ended" },
    ],
};

/// Fibers that wait.
pub(crate) const WAITERS: usize = 10_000;

/// Takes the medians over `round`, which returns the times of both halves in nanoseconds.
pub(crate) fn measure(params: &Params, mut round: impl FnMut() -> [f64; 2]) -> Measured {
    let [suspend, resume] = medians(params, 31, || round().map(|ns| ns / WAITERS as f64));
    Measured::default().with("suspend", suspend).with("resume", resume)
}
