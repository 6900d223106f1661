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

/// Times `fib`, which runs where the system wants its joins to run.
pub(crate) fn measure(params: &Params, fib: impl Fn(u32) -> u64) -> Measured {
    measure_of(params, N, fib)
}

/// As [`measure`], of a smaller number, for a system that takes much longer for each join.
pub(crate) fn measure_of(params: &Params, n: u32, fib: impl Fn(u32) -> u64) -> Measured {
    let (expected, next) = fibonacci(n);
    // fib has a join for every call with a number of 2 or more.
    let joins = next - 1;
    let ns = ns_per_op(params, 7, joins, || {
        assert_eq!(fib(std::hint::black_box(n)), expected, "fib is wrong");
    });
    Measured::one("join", ns)
}

/// The Fibonacci numbers of `n` and of the number after it.
fn fibonacci(n: u32) -> (u64, u64) {
    (0..n).fold((0, 1), |(this, next), _| (next, this + next))
}

#[cfg(test)]
mod tests;
