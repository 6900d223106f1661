//! parking_lot's mutex that is handed over to the one that has waited longest, as by `unlock_fair`.

use parking_lot::FairMutex;

use super::{Kind, Rival, thread::contend};
use crate::{
    cell::Measured,
    params::Params,
    workloads::{mutex_contended, mutex_uncontended},
};

pub(crate) static RIVAL: Rival = Rival {
    name: "parking_lot_fair",
    about: "mutexes of OS threads that are handed over in turn",
    kind: Kind::Reference,
    package: None,
    workers_max: None,
    cells: &[
        (&mutex_uncontended::WORKLOAD, mutex_uncontended),
        (&mutex_contended::WORKLOAD, mutex_contended),
    ],
};

/// Locks of each thread in a round of `mutex_contended`: nearly each is a switch of threads.
const LOCKS: usize = 1_000;

fn mutex_uncontended(params: &Params) -> Measured {
    mutex_uncontended::measure(params, || {
        let mutex = FairMutex::new(0);
        mutex_uncontended::round(&mutex, FairMutex::lock);
        mutex.into_inner()
    })
}

fn mutex_contended(params: &Params) -> Measured {
    mutex_contended::measure_some(params, LOCKS, |locker| {
        let mutex = FairMutex::new(0);
        let spans = contend(locker, || mutex.lock());
        (mutex.into_inner(), spans)
    })
}
