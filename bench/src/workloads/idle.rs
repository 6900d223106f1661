//! The processor time that a system uses while it has nothing to do.
#![expect(unsafe_code, reason = "reads the process's CPU clock through libc")]

use std::{
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::cell::Measured;

pub(crate) static WORKLOAD: Workload = Workload {
    name: "idle",
    about: "processor time that a system uses in 1 s without work",
    workers: Workers::Most,
    metrics: &[Metric { name: "cpu", unit: "% of a core", about: "of one core; the calling thread sleeps" }],
};

/// Measures while the calling thread sleeps; the caller keeps a system alive that has run a job.
pub(crate) fn measure() -> Measured {
    // Workers may spin for a while before they park: that is not what is measured here.
    sleep(Duration::from_millis(300));
    let (begin, cpu_begin) = (Instant::now(), process_cpu_time());
    sleep(Duration::from_secs(1));
    let (wall, cpu) = (begin.elapsed(), process_cpu_time() - cpu_begin);
    Measured::one("cpu", 100.0 * cpu.as_secs_f64() / wall.as_secs_f64())
}

/// The processor time that all threads of this process have used so far.
pub(crate) fn process_cpu_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid timespec that the call may write to.
    let status = unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    assert_eq!(status, 0, "the process's CPU clock cannot be read");
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
