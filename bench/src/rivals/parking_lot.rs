//! parking_lot's mutex between OS threads: one whose next holder is whoever comes by. Its threads are those of `thread`.

use parking_lot::Mutex;

use super::{Kind, Rival, thread::contend};
use crate::{
    cell::Measured,
    params::Params,
    workloads::{mutex_contended, mutex_uncontended},
};

pub(crate) static RIVAL: Rival = Rival {
    name: "parking_lot",
    about: "mutexes of OS threads that whoever comes by may take",
    kind: Kind::Reference,
    package: Some("parking_lot"),
    workers_max: None,
    cells: &[
        (&mutex_uncontended::WORKLOAD, mutex_uncontended),
        (&mutex_contended::WORKLOAD, mutex_contended),
    ],
};

fn mutex_uncontended(params: &Params) -> Measured {
    mutex_uncontended::measure(params, || {
        let mutex = Mutex::new(0);
        mutex_uncontended::round(&mutex, Mutex::lock);
        mutex.into_inner()
    })
}

fn mutex_contended(params: &Params) -> Measured {
    mutex_contended::measure(params, |locker| {
        let mutex = Mutex::new(0);
        let spans = contend(locker, || mutex.lock());
        (mutex.into_inner(), spans)
    })
}
