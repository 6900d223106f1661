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
        metric("parked p50", PARKED),
        metric("parked p99", PARKED),
        metric("parked p99.9", PARKED),
        metric("busy p50", BUSY),
        metric("busy p99", BUSY),
        metric("busy p99.9", BUSY),
    ],
};

const PARKED: &str = "5 ms of idleness before each; thread: unpark";
const BUSY: &str = "back to back; thread: the receiver spins";

const fn metric(name: &'static str, about: &'static str) -> Metric {
    Metric { name, unit: "us", about }
}

/// What the metrics' names end with, and the percentile that it means.
const PERCENTILES: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];
/// Submissions to parked workers, and to busy ones, that count.
const PARKED_SAMPLES: usize = 1_000;
const BUSY_SAMPLES: usize = 30_000;
/// The fewest to parked workers, however short the time is.
const PARKED_SAMPLES_LEAST: usize = 60;
const PARKED_WARM_UPS: usize = 10;
const BUSY_WARM_UPS: usize = 1_000;
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
    let params = &params.share(2);
    for _ in 0..PARKED_WARM_UPS {
        once(&parked, Some(IDLE));
    }
    let samples = params.samples(PARKED_SAMPLES, IDLE, PARKED_SAMPLES_LEAST);
    let parked_us: Vec<f64> = (0..samples).map(|_| once(&parked, Some(IDLE))).collect();
    // A system that needs tens of microseconds for each is measured with fewer of them.
    let begin = Instant::now();
    let mut busy_us: Vec<f64> = Vec::new();
    while busy_us.len() < BUSY_WARM_UPS + params.repeats(BUSY_SAMPLES) && begin.elapsed() < params.soft_limit {
        busy_us.push(once(&busy, None));
    }
    let warm_ups = BUSY_WARM_UPS.min(busy_us.len() / 2);
    busy_us.drain(..warm_ups);
    let mut measured = Measured::default();
    for (case, mut times_us) in [("parked", parked_us), ("busy", busy_us)] {
        for (suffix, percent) in PERCENTILES {
            measured = measured.with(&format!("{case} {suffix}"), percentile(&mut times_us, percent));
        }
    }
    measured
}
