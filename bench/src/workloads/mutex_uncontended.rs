//! A mutex that nobody else wants: what a lock and an unlock cost.

use std::{hint::black_box, ops::DerefMut};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "mutex_uncontended",
    about: "one fiber locks a mutex that nobody else wants, adds one and unlocks it; thread, parking_lot: an OS thread",
    workers: Workers::One,
    metrics: &[Metric { name: "lock", unit: "ns", about: "a lock, an addition and an unlock" }],
};

/// Locks in a round.
pub(crate) const LOCKS: u64 = 2_000_000;

/// Times `round`, which locks a new mutex [`LOCKS`] times and returns what has been added up under it.
pub(crate) fn measure(params: &Params, mut round: impl FnMut() -> u64) -> Measured {
    let round = || assert_eq!(round(), LOCKS, "additions are missing");
    Measured::one("lock", ns_per_op(params, 15, LOCKS, round))
}

/// A round of a mutex that is locked by a plain call.
#[inline(always)]
pub(crate) fn round<'a, M, G: DerefMut<Target = u64>>(mutex: &'a M, lock: impl Fn(&'a M) -> G) {
    for _ in 0..LOCKS {
        *lock(black_box(mutex)) += 1;
    }
}
