//! Two fibers on one worker lock three mutexes hand over hand, so that every lock has to wait.
//!
//! The mutexes stand in a circle. Each fiber holds one, locks the next one, and only then unlocks the one that it held.
//! The fiber in front finds a free mutex once, at the start; from then on each finds the next mutex held by the
//! other, which lets go of it as soon as it is given its own. So a lock is one wait and one wake, whether a mutex is
//! handed over or can be taken by whoever comes by: nobody unlocks what he wants to lock next.

use std::{mem, ops::DerefMut};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::ns_per_op, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "mutex_ping_pong",
    about: "two fibers on one worker lock three mutexes hand over hand: every lock waits for the other fiber",
    workers: Workers::One,
    metrics: &[Metric { name: "lock", unit: "ns", about: "a lock that waits, and the unlock that ends it" }],
};

/// Mutexes in the circle. The first fiber begins with the first one, the second with the second one.
pub(crate) const MUTEXES: usize = 3;
/// Locks of each fiber in a round.
pub(crate) const LOCKS: usize = 250_000;

/// The mutex after this one.
pub(crate) fn next(position: usize) -> usize {
    (position + 1) % MUTEXES
}

/// What one of the two does that holds `held`, the guard of the mutex at `position`: so many locks. Both must hold theirs
/// before either begins.
pub(crate) fn walk<G: DerefMut<Target = u64>>(
    mut position: usize,
    mut held: G,
    locks: usize,
    lock: impl Fn(usize) -> G,
) {
    for _ in 0..locks {
        position = next(position);
        let mut wanted = lock(position);
        *wanted += 1;
        drop(mem::replace(&mut held, wanted));
    }
}

/// Times `round`, in which both lock [`LOCKS`] times. It returns how often the mutexes were locked by that, as they
/// have counted it.
pub(crate) fn measure(params: &Params, round: impl FnMut() -> u64) -> Measured {
    measure_some(params, LOCKS, round)
}

/// As [`measure`], for a system that takes much longer for each lock.
pub(crate) fn measure_some(params: &Params, locks: usize, mut round: impl FnMut() -> u64) -> Measured {
    let all = 2 * locks as u64;
    let round = || assert_eq!(round(), all, "two have held the same mutex");
    Measured::one("lock", ns_per_op(params, 9, all, round))
}
