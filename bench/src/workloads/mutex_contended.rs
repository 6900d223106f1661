//! A mutex that 64 fibers on two workers want at the same time.
//!
//! Each locks it again and again, works for 75 ns with it and for 25 ns without. A mutex that can be taken by whoever
//! comes by lets the one that has it go on; one that is handed over costs a switch each time, or, where threads wait, a
//! wake by the kernel. OS threads are as many as the fibers, however many workers were asked for.

use std::{
    ops::DerefMut,
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::{busy::Busy, cell::Measured, measure::medians, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "mutex_contended",
    about: "64 fibers on two workers lock one mutex, for 75 ns each time; thread, parking_lot: 64 OS threads",
    workers: Workers::Two,
    metrics: &[Metric { name: "lock", unit: "ns", about: "a lock, of the time that all take together" }],
};

/// Fibers, or OS threads.
pub(crate) const LOCKERS: usize = 64;
/// Locks of each in a round.
pub(crate) const LOCKS: usize = 5_000;
const INSIDE: Duration = Duration::from_nanos(75);
const OUTSIDE: Duration = Duration::from_nanos(25);

/// What each of the 64 does: lock, work [`inside`](Self::inside), unlock, work [`outside`](Self::outside), so many times.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Locker {
    busy: Busy,
    pub(crate) locks: usize,
}

/// When one of them began, and when it ended.
pub(crate) type Span = [Instant; 2];

impl Locker {
    /// The work of the one that has the mutex, whose data this is.
    pub(crate) fn inside(self, count: &mut u64) {
        *count += 1;
        self.busy.work(INSIDE);
    }

    /// The work between two locks.
    pub(crate) fn outside(self) {
        self.busy.work(OUTSIDE);
    }

    /// The whole of it, for a mutex that is locked by a plain call.
    pub(crate) fn run<G: DerefMut<Target = u64>>(self, lock: impl Fn() -> G) -> Span {
        let begin = Instant::now();
        for _ in 0..self.locks {
            self.inside(&mut lock());
            self.outside();
        }
        [begin, Instant::now()]
    }
}

/// Times `round`, in which [`LOCKERS`] fibers do what the locker says with a mutex of their own. It returns what that has
/// counted, and when each has run: making 64 threads does not count.
pub(crate) fn measure(params: &Params, round: impl FnMut(Locker) -> (u64, Vec<Span>)) -> Measured {
    measure_some(params, LOCKS, round)
}

/// As [`measure`], for a mutex that takes much longer for each lock.
pub(crate) fn measure_some(
    params: &Params,
    locks: usize,
    mut round: impl FnMut(Locker) -> (u64, Vec<Span>),
) -> Measured {
    let locker = Locker { busy: Busy::calibrate(), locks };
    let all = (LOCKERS * locks) as u64;
    let [ns] = medians(params, 9, || {
        let (count, spans) = round(locker);
        assert_eq!(count, all, "two have held the mutex at once");
        let begin = spans.iter().map(|[begin, _]| *begin).min().expect("there are lockers");
        let end = spans.iter().map(|[_, end]| *end).max().expect("there are lockers");
        [(end - begin).as_nanos() as f64 / all as f64]
    });
    Measured::one("lock", ns)
}
