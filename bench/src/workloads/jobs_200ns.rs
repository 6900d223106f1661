//! Jobs of 200 ns: whether a second worker helps when a job is a few times as long as what it costs to hand it
//! over.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use super::{Metric, Workers, Workload};
use crate::{
    busy::Busy,
    cell::Measured,
    measure::{medians, time_ns},
    params::Params,
};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "jobs_200ns",
    about: "a scope of 100,000 jobs that work for 200 ns each",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "job", unit: "ns", about: "a job, from the first spawn to the end of the scope" },
        Metric {
            name: "over ideal",
            unit: "x",
            about: "times workers, over a plain loop of the same work in the same process: 1 is perfect",
        },
    ],
};

/// Jobs in a round.
pub(crate) const JOBS: usize = 100_000;
const WORK: Duration = Duration::from_nanos(200);

/// The body of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    busy: Busy,
    /// Counts the jobs of the round that is checked.
    ran: Option<&'static AtomicUsize>,
}

impl Job {
    /// The job's whole body.
    #[inline]
    pub(crate) fn run(self) {
        self.busy.work(WORK);
        if let Some(ran) = self.ran {
            ran.fetch_add(1, Relaxed);
        }
    }
}

/// Times `round`, which spawns [`JOBS`] jobs that each call [`Job::run`], and waits for them.
pub(crate) fn measure(params: &Params, round: impl Fn(Job)) -> Measured {
    measure_some(params, JOBS, round)
}

/// As [`measure`], for a system that takes much longer for each job and gets fewer.
pub(crate) fn measure_some(params: &Params, jobs: usize, round: impl Fn(Job)) -> Measured {
    static RAN: AtomicUsize = AtomicUsize::new(0);
    let busy = Busy::calibrate();
    round(Job { busy, ran: Some(&RAN) });
    assert_eq!(RAN.load(Relaxed), jobs, "not every job has run");
    let job = Job { busy, ran: None };
    let [job_ns, over_ideal] = medians(params, 7, || {
        let plain_ns = time_ns(|| (0..jobs).for_each(|_| job.run()));
        let round_ns = time_ns(|| round(job));
        [round_ns / jobs as f64, round_ns * params.workers as f64 / plain_ns]
    });
    Measured::one("job", job_ns).with("over ideal", over_ideal)
}
