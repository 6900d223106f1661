//! fib(32) by `join`, without a cutoff: what a fork costs when there is nearly nothing to do in it.

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "fib",
    about: "fib(32) by join, without a cutoff",
    workers: Workers::Each,
    metrics: &[Metric { name: "join", unit: "ns", about: "a join; serial: a pair of recursive calls" }],
};

const N: u32 = 32;
const FIB_N: u64 = 2_178_309;
/// fib(n) has a join for every call with n of 2 or more: fib(33) - 1 of them.
const JOINS: u64 = 3_524_577;

/// Times `fib`, which runs where the system wants its joins to run.
pub(crate) fn measure(params: &Params, fib: impl Fn(u32) -> u64) -> Measured {
    let ns = ns_per_op(params, 7, JOINS, || {
        assert_eq!(fib(std::hint::black_box(N)), FIB_N, "fib is wrong");
    });
    Measured::one("join", ns)
}
