//! Memory that lives as long as a frame: many small values, all of which go at once.

use std::{hint::black_box, sync::Barrier, thread};

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "memory_frames",
    about: "every worker allocates 100,000 values of 64 bytes at once, and then all are freed; thread: a Box each, on as many threads; bumpalo: an arena for each thread",
    workers: Workers::Each,
    metrics: &[Metric {
        name: "alloc",
        unit: "ns",
        about: "a value on each worker, written and freed: the time of the slowest worker, and of freeing, for each of its values",
    }],
};

/// Values that each worker allocates in a round.
pub(crate) const VALUES: usize = 100_000;
/// What is allocated.
pub(crate) type Value = [u64; 8];
const REPEATS: usize = 31;

/// The value of this index.
#[inline(always)]
pub(crate) fn value(index: usize) -> Value {
    black_box([index as u64; 8])
}

/// Takes the median over `round`, which gives the nanoseconds that a round takes.
pub(crate) fn measure(params: &Params, mut round: impl FnMut() -> f64) -> Measured {
    let [alloc] = medians(params, REPEATS, || [round() / VALUES as f64]);
    Measured::one("alloc", alloc)
}

/// The time of the slowest of several threads, one for each of `states`, which all do `work` at once.
pub(crate) fn on_threads<S: Send>(states: &mut [S], work: impl Fn(&mut S) + Sync) -> f64 {
    let barrier = Barrier::new(states.len());
    let (barrier, work) = (&barrier, &work);
    thread::scope(|scope| {
        let spawn = |state| scope.spawn(move || timed(barrier, || work(state)));
        let threads: Vec<_> = states.iter_mut().map(spawn).collect();
        slowest(threads.into_iter().map(|thread| thread.join().expect("it does not panic")))
    })
}

/// How long `work` takes, once all have come to the barrier.
pub(crate) fn timed(barrier: &Barrier, work: impl FnOnce()) -> f64 {
    barrier.wait();
    time_ns(work)
}

/// The largest of these times.
pub(crate) fn slowest(times: impl IntoIterator<Item = f64>) -> f64 {
    times.into_iter().fold(0.0, f64::max)
}
