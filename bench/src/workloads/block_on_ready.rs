//! Waiting for a future that is ready: what the call costs that does not wait.

use std::{
    future::Future,
    hint::black_box,
    pin::Pin,
    task::{Context, Poll},
};

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

/// A future that is ready with this number. Its poll is a call, and the compiler knows nothing about what becomes of the
/// context: where it sees that nobody wants the waker, it leaves out what is to be measured.
#[derive(Debug)]
pub(crate) struct IsReady(u64);

impl Future for IsReady {
    type Output = u64;

    #[inline(never)]
    fn poll(self: Pin<&mut IsReady>, context: &mut Context<'_>) -> Poll<u64> {
        black_box(context);
        Poll::Ready(self.0)
    }
}

/// Times `block_on`, which must return what the future returns.
pub(crate) fn measure(params: &Params, block_on: impl Fn(IsReady) -> u64) -> Measured {
    let round = || {
        let sum: u64 = (0..CALLS).map(|number| block_on(IsReady(number))).sum();
        assert_eq!(sum, CALLS * (CALLS - 1) / 2, "futures were not polled");
    };
    Measured::one("call", ns_per_op(params, 15, CALLS, round))
}
