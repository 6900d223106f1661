//! Two fibers on one worker yield to each other: the least that a turn can cost.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "yields",
    about: "two fibers on one worker yield in turn; thread: two OS threads on one CPU; corosensei: a loop resumes two",
    workers: Workers::One,
    metrics: &[Metric { name: "turn", unit: "ns", about: "one yields, the other goes on" }],
};

/// Turns of each of the two in a round.
pub(crate) const TURNS: usize = 250_000;

/// Times `round`, in which both yield [`TURNS`] times.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    Measured::one("turn", ns_per_op(params, 9, 2 * TURNS as u64, round))
}
