//! How long a worker that looks for work needs to get it from one that is busy.
//!
//! ```text
//! thief   runs a job until just before, then looks for work ........ starts the work
//! owner           ... lets the thief go -- 5 us -- makes work, and goes on for 200 us without any call to the system
//! time                                             |--------------|
//! ```
//!
//! There are two workers, and the work is made by one of two means. `spawn`: the owner spawns a job. `join`: it
//! descends through eight nested joins whose second halves are nearly empty, and works at the bottom; what counts is
//! when the first of these second halves starts, which may be any. A system that has given nobody the work until the
//! owner is done needs 200 us and more: the owner does it itself.
//!
//! A thread outside submits the thief's job, waits until it runs, submits the owner, and sleeps until it is done.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::percentile, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "thief_latency",
    about: "a worker that has just run out of work gets it from one that makes it and goes on for 200 us; two workers",
    workers: Workers::Two,
    metrics: &[
        Metric { name: "spawn p50", unit: "us", about: SPAWN },
        Metric { name: "spawn p99", unit: "us", about: SPAWN },
        Metric { name: "join p50", unit: "us", about: JOIN },
        Metric { name: "join p99", unit: "us", about: JOIN },
    ],
};

const SPAWN: &str = "from the spawn until the job starts";
const JOIN: &str = "from the outermost of eight nested joins until a second half starts";

/// Samples that count, of each case.
const SAMPLES: usize = 1_000;
const SAMPLES_LEAST: usize = 50;
const WARM_UPS: usize = 10;
/// What a sample takes, roughly.
const SAMPLE: Duration = Duration::from_micros(400);
/// The owner works so long without a call to the system.
const WORK: Duration = Duration::from_micros(200);
/// The thread outside has so long to fall asleep after it has submitted the owner.
const SETTLE: Duration = Duration::from_micros(50);
/// The thief has so long to end its job and to begin looking for work.
const HEAD_START: Duration = Duration::from_micros(5);
/// Nested joins.
pub(crate) const DEPTH: u32 = 8;

/// A sample: two jobs meet here. It lives as long as the process.
#[derive(Debug)]
pub(crate) struct Meeting {
    clock: Instant,
    outside: Thread,
    /// The number of this sample, from 1 on. Counted up by the thread outside.
    sample: AtomicU64,
    /// Set by the thief's job when it runs.
    occupied: AtomicBool,
    /// The last sample whose owner has let the thief go: that sample's job ends, however late it looks here.
    released: AtomicU64,
    /// When work was made and when it was first started, in nanoseconds on `clock`; zero until then.
    made: AtomicU64,
    started: AtomicU64,
    /// Set by whoever runs last.
    over: AtomicBool,
}

/// How a system runs the jobs. Each is submitted by a thread outside the system, to whichever worker.
pub(crate) struct Submit<'a> {
    /// Submits a job that calls [`Meeting::occupy`] and nothing else.
    pub(crate) thief: &'a dyn Fn(&'static Meeting),
    /// Submits a job that calls [`Meeting::begin`], spawns a job that calls [`Meeting::start`], calls
    /// [`Meeting::work`] without having waited, and then waits for that job and calls [`Meeting::end`].
    pub(crate) spawner: Option<&'a dyn Fn(&'static Meeting)>,
    /// Submits a job that calls [`Meeting::begin`], descends through [`DEPTH`] nested joins whose second halves call
    /// [`Meeting::start`], calls [`Meeting::work`] in the innermost first half, and then [`Meeting::end`].
    pub(crate) joiner: Option<&'a dyn Fn(&'static Meeting)>,
}

/// Measures both cases, or the one that the system has.
pub(crate) fn measure(params: &Params, submit: &Submit<'_>) -> Measured {
    // The process ends with the cell. Until then jobs may look at this whenever they like.
    let meeting: &'static Meeting = Box::leak(Box::new(Meeting::new()));
    let params = params.share(2);
    let mut measured = Measured::default();
    for (case, owner) in [("spawn", submit.spawner), ("join", submit.joiner)] {
        let Some(owner) = owner else { continue };
        for _ in 0..WARM_UPS {
            meeting.sample(submit.thief, owner);
        }
        let samples = params.samples(SAMPLES, SAMPLE, SAMPLES_LEAST);
        let mut times_us: Vec<f64> = (0..samples).map(|_| meeting.sample(submit.thief, owner)).collect();
        for (suffix, percent) in [("p50", 50.0), ("p99", 99.0)] {
            measured = measured.with(&format!("{case} {suffix}"), percentile(&mut times_us, percent));
        }
    }
    measured
}

impl Meeting {
    fn new() -> Meeting {
        Meeting {
            clock: Instant::now(),
            outside: thread::current(),
            sample: AtomicU64::new(0),
            occupied: AtomicBool::new(false),
            released: AtomicU64::new(0),
            made: AtomicU64::new(0),
            started: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Lets both jobs meet once; the time in microseconds.
    fn sample(&'static self, thief: &dyn Fn(&'static Meeting), owner: &dyn Fn(&'static Meeting)) -> f64 {
        self.sample.fetch_add(1, Ordering::Relaxed);
        self.occupied.store(false, Ordering::Relaxed);
        self.over.store(false, Ordering::Relaxed);
        self.made.store(0, Ordering::Relaxed);
        self.started.store(0, Ordering::Relaxed);
        thief(self);
        self.park_until(&self.occupied);
        owner(self);
        self.park_until(&self.over);
        let [made, started] = [&self.made, &self.started].map(|time| time.load(Ordering::Relaxed));
        assert!(0 < made && made <= started, "the work was never started");
        (started - made) as f64 / 1e3
    }

    fn park_until(&self, flag: &AtomicBool) {
        // ORDERING: Acquire pairs with the Release in `tell`: the times are those of this sample.
        while !flag.load(Ordering::Acquire) {
            thread::park();
        }
    }

    /// Sets a flag for which the thread outside waits.
    fn tell(&self, flag: &AtomicBool) {
        flag.store(true, Ordering::Release);
        self.outside.unpark();
    }

    /// The body of the thief's job: it keeps the worker busy until the owner is about to make work.
    pub(crate) fn occupy(&self) {
        let sample = self.sample.load(Ordering::Relaxed);
        self.tell(&self.occupied);
        while self.released.load(Ordering::Relaxed) < sample {
            spin_loop();
        }
    }

    /// Lets the thief go. The owner makes work next.
    pub(crate) fn begin(&self) {
        spin(SETTLE);
        self.released.store(self.sample.load(Ordering::Relaxed), Ordering::Relaxed);
        spin(HEAD_START);
        self.made.store(self.now_ns(), Ordering::Relaxed);
    }

    /// The body of the work. Of several the first counts.
    pub(crate) fn start(&self) {
        let now_ns = self.now_ns();
        let first = self.started.compare_exchange(0, now_ns, Ordering::Relaxed, Ordering::Relaxed);
        if let Err(other_ns) = first {
            // Two may start at once, and the later one be the first to say so.
            self.started.fetch_min(now_ns.min(other_ns), Ordering::Relaxed);
        }
    }

    /// What the owner does after it has made work: no call to the system for a while.
    pub(crate) fn work(&self) {
        spin(WORK);
    }

    /// The last thing that the owner does: the work is done.
    pub(crate) fn end(&self) {
        self.tell(&self.over);
    }

    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

/// Does nothing else for so long.
fn spin(time: Duration) {
    let begin = Instant::now();
    while begin.elapsed() < time {
        spin_loop();
    }
}

#[cfg(test)]
mod tests;
