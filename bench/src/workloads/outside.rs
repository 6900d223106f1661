//! Submission from a thread that does not belong to the system: how long until the job starts.
//!
//! The submitting thread takes the time, submits a [`Probe`], and the job's first act is to take the time
//! again. In the parked case the submitter sleeps in between, so that every worker has gone to sleep; in the
//! busy case it submits the next job as soon as it sees that the last one has started.

use std::{
    hint::spin_loop,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::percentile, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "outside",
    about: "submission from a thread outside the system, until the job starts; thread: a hand-off to an OS thread",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "parked p50", unit: "us", about: "5 ms of idleness before each; thread: unpark" },
        Metric { name: "parked p99", unit: "us", about: "5 ms of idleness before each; thread: unpark" },
        Metric { name: "busy p50", unit: "us", about: "back to back; thread: the receiver spins" },
        Metric { name: "busy p99", unit: "us", about: "back to back; thread: the receiver spins" },
    ],
};

const IDLE: Duration = Duration::from_millis(5);
const NOT_STARTED: u64 = 0;

/// The job to submit: it notes when it started. Build a job that calls [`Probe::start`] and nothing else.
#[derive(Debug)]
pub(crate) struct Probe {
    clock: Instant,
    /// Written once by the job with the nanoseconds on `clock`, plus one; read by the submitter.
    started: Arc<AtomicU64>,
}

impl Probe {
    /// The job's whole body.
    pub(crate) fn start(self) {
        let now = self.clock.elapsed().as_nanos() as u64;
        // ORDERING: nothing else is handed over; Release only makes the store prompt to reason about.
        self.started.store(now + 1, Ordering::Release);
    }
}

/// Measures both cases. `parked` and `busy` submit a probe to the system; most systems do the same in both.
pub(crate) fn measure(params: &Params, parked: impl Fn(Probe), busy: impl Fn(Probe)) -> Measured {
    let clock = Instant::now();
    let once = |submit: &dyn Fn(Probe), pause: Option<Duration>| -> f64 {
        let started = Arc::new(AtomicU64::new(NOT_STARTED));
        let probe = Probe { clock, started: Arc::clone(&started) };
        let submitted = clock.elapsed().as_nanos() as u64;
        submit(probe);
        if let Some(pause) = pause {
            sleep(pause);
        }
        loop {
            match started.load(Ordering::Acquire) {
                NOT_STARTED => spin_loop(),
                start => return (start - 1).saturating_sub(submitted) as f64 / 1e3,
            }
        }
    };
    for _ in 0..20 {
        once(&parked, Some(IDLE));
    }
    let mut parked_us: Vec<f64> = (0..params.repeats(300)).map(|_| once(&parked, Some(IDLE))).collect();
    for _ in 0..1_000 {
        once(&busy, None);
    }
    // A system that needs tens of microseconds for each is measured with fewer of them.
    let begin = Instant::now();
    let mut busy_us = Vec::new();
    while busy_us.len() < params.repeats(30_000) && begin.elapsed() < params.soft_limit {
        busy_us.push(once(&busy, None));
    }
    Measured::default()
        .with("parked p50", percentile(&mut parked_us, 50.0))
        .with("parked p99", percentile(&mut parked_us, 99.0))
        .with("busy p50", percentile(&mut busy_us, 50.0))
        .with("busy p99", percentile(&mut busy_us, 99.0))
}
