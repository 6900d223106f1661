//! 100,000 tasks sleep at the same time: what a timer costs that expires.
//!
//! One task starts them all; each sleeps for 200 ms and ends. What a round takes beyond the 200 ms is the starting, as far
//! as it comes before the last sleep begins, and everything after the last sleep's due time. The processor time is that
//! of the whole process, so that work that is done while all sleep counts as well.

use std::time::{Duration, Instant};

use super::{Metric, Workers, Workload, idle::process_cpu_time};
use crate::{cell::Measured, measure::medians, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "timers",
    about: "100,000 tasks sleep for 200 ms at the same time",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "beyond", unit: "ns", about: "a sleep, of what all take beyond the 200 ms" },
        Metric { name: "processor", unit: "ns", about: "processor time of the whole process for a sleep" },
    ],
};

/// Sleeps in a round.
pub(crate) const SLEEPS: usize = 100_000;
/// How long each takes.
pub(crate) const NOMINAL: Duration = Duration::from_millis(200);

/// Takes the medians over `round`, in which [`SLEEPS`] tasks sleep for [`NOMINAL`] each.
pub(crate) fn measure(params: &Params, round: impl FnMut()) -> Measured {
    measure_some(params, SLEEPS, round)
}

/// As [`measure`], for a system that cannot hold as many tasks.
pub(crate) fn measure_some(params: &Params, sleeps: usize, mut round: impl FnMut()) -> Measured {
    let [beyond, processor] = medians(params, 5, || {
        let (begin, cpu_begin) = (Instant::now(), process_cpu_time());
        round();
        let (took, cpu) = (begin.elapsed(), process_cpu_time() - cpu_begin);
        assert!(took >= NOMINAL, "a sleep was cut short");
        [took - NOMINAL, cpu].map(|time| time.as_nanos() as f64 / sleeps as f64)
    });
    Measured::default().with("beyond", beyond).with("processor", processor)
}
