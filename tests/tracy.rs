//! Jobs that wait, while Tracy is told of fibers; no profiler is connected.
#![cfg(feature = "tracy")]

mod common;

use common::{WORKERS, watch};
use ramie::{Counter, trace};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use tracy_client::{Client, span};

/// Zones of jobs and of the program's own are open while fibers suspend, on threads that were workers before and on new ones.
#[test]
fn zones_are_open_across_waits() {
    let _watch = watch("zones across waits", 120);
    let old = common::system(2);
    old.run(|| ());
    trace::show_in_tracy();
    assert!(Client::is_running());
    for workers in WORKERS {
        let new = common::system(workers);
        for system in [&old, &new] {
            let (gate, ended) = (Counter::new(1), AtomicUsize::new(0));
            system.scope(|s| {
                for job in 0..200 {
                    let (gate, ended) = (&gate, &ended);
                    s.job().name("waits").detach(move || {
                        let _own = span!("its own zone");
                        if job % 3 == 0 {
                            ramie::join(|| ramie::yield_now(), || gate.wait());
                        }
                        ramie::scope(|s| s.detach(|| ramie::yield_now()));
                        ended.fetch_add(1, SeqCst);
                    });
                }
                trace::mark_frame(1);
                gate.signal();
            });
            assert_eq!(ended.into_inner(), 200);
        }
    }
}
