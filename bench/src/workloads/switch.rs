//! Two fibers on one worker pass a baton: what it costs to suspend one and resume the other.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "switch",
    about: "two fibers on one worker pass a baton through counters; corosensei: a bare resume and suspend",
    workers: Workers::One,
    metrics: &[Metric { name: "pass", unit: "ns", about: "one way: one fiber suspends, the other resumes" }],
};

/// One-way passes in a round.
pub(crate) const PASSES: u64 = 1_000_000;

/// Times `round`, which passes the baton [`PASSES`] times.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    Measured::one("pass", ns_per_op(params, 9, PASSES, round))
}
