//! Waiting for a future that is ready: what the call costs that does not wait.

use std::future::{Ready, ready};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "block_on_ready",
    about: "block_on of a future that is ready; serial: a poll with a waker that does nothing; thread: the usual few lines",
    workers: Workers::One,
    metrics: &[Metric { name: "call", unit: "ns", about: "a call of block_on" }],
};

/// Calls in a round.
const CALLS: u64 = 1_000_000;

/// Times `block_on`, which must return what the future returns.
pub(crate) fn measure(params: &Params, block_on: impl Fn(Ready<u64>) -> u64) -> Measured {
    let round = || {
        let sum: u64 = (0..CALLS).map(|number| block_on(ready(std::hint::black_box(number)))).sum();
        assert_eq!(sum, CALLS * (CALLS - 1) / 2, "futures were not polled");
    };
    Measured::one("call", ns_per_op(params, 15, CALLS, round))
}
