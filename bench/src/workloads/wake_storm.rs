//! Many tiny jobs at once for workers that all sleep: how soon they are done, and what the waking costs.
//!
//! Each millisecond a thread outside the system submits 64 jobs, one after the other and as fast as it can, and sleeps
//! again. In between the workers have nothing to do. Time runs from before the first submission until the last of the
//! jobs has run. The processor time is that of all threads of the process, over the whole measurement: a system that
//! wakes more workers than it has work for, or whose workers spin for long, pays here.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::{self, Thread, sleep},
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload, idle::process_cpu_time};
use crate::{cell::Measured, measure::percentile, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "wake_storm",
    about: "each ms a thread outside submits 64 tiny jobs at once to workers that have nothing to do",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "p50", unit: "us", about: "from before the first submission until all 64 have run" },
        Metric { name: "p99", unit: "us", about: "from before the first submission until all 64 have run" },
        Metric { name: "processor", unit: "us", about: "processor time of the whole process for each storm" },
    ],
};

/// Storms that count.
const STORMS: usize = 500;
const STORMS_LEAST: usize = 50;
const WARM_UPS: usize = 10;
const PERIOD: Duration = Duration::from_millis(1);
/// Jobs of a storm.
pub(crate) const JOBS: usize = 64;

/// A job of a storm.
#[derive(Clone, Debug)]
pub(crate) struct Raindrop(Arc<Storm>);

#[derive(Debug)]
struct Storm {
    began: Instant,
    /// Jobs that have not run. Counted down by each.
    left: AtomicUsize,
    /// What it took, in nanoseconds. Written by the last job, and read by the thread outside when it is told.
    took_ns: AtomicU64,
    outside: Thread,
}

impl Raindrop {
    /// The job's whole body.
    pub(crate) fn run(self) {
        let storm = &self.0;
        // ORDERING: Release and Acquire order the others' jobs before the last one's look at the clock.
        if storm.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let took_ns = storm.began.elapsed().as_nanos() as u64;
            storm.took_ns.store(took_ns.max(1), Ordering::Release);
            storm.outside.unpark();
        }
    }
}

/// Measures `submit`, which submits the [`JOBS`] jobs that it is handed: each calls [`Raindrop::run`] and nothing else.
pub(crate) fn measure(params: &Params, submit: impl Fn(&mut dyn Iterator<Item = Raindrop>)) -> Measured {
    let storm = || -> f64 {
        let storm = Arc::new(Storm {
            began: Instant::now(),
            left: AtomicUsize::new(JOBS),
            took_ns: AtomicU64::new(0),
            outside: thread::current(),
        });
        submit(&mut std::iter::repeat_n(&storm, JOBS).map(|storm| Raindrop(Arc::clone(storm))));
        loop {
            // ORDERING: Acquire pairs with the Release in `run`.
            match storm.took_ns.load(Ordering::Acquire) {
                0 => thread::park(),
                took_ns => break took_ns as f64 / 1e3,
            }
        }
    };
    let timed_storm = || {
        let due = Instant::now() + PERIOD;
        let took_us = storm();
        sleep(due.saturating_duration_since(Instant::now()).max(PERIOD / 2));
        took_us
    };
    for _ in 0..WARM_UPS {
        timed_storm();
    }
    let cpu_begin = process_cpu_time();
    let storms = params.samples(STORMS, PERIOD, STORMS_LEAST);
    let mut times_us: Vec<f64> = (0..storms).map(|_| timed_storm()).collect();
    let cpu = process_cpu_time() - cpu_begin;
    Measured::default()
        .with("p50", percentile(&mut times_us, 50.0))
        .with("p99", percentile(&mut times_us, 99.0))
        .with("processor", cpu.as_secs_f64() * 1e6 / storms as f64)
}

#[cfg(test)]
mod tests;
