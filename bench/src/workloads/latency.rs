//! How long an urgent job waits while all workers are busy with less urgent work that never ends.
//!
//! ```text
//! pieces   8 for each worker, half of them Normal and half Low; each works for 250 us and submits itself anew
//! probes   one each millisecond, more or less, by the clock; each notes when it starts, works for 20 us, and
//!          notes when it ends
//! ```
//!
//! A probe's time begins just before the call that submits it. It is submitted by a thread outside the system,
//! which sleeps in between; or from a job, which is whichever piece notices first that one is due. The first
//! is measured from one end to the other, then the second, on the same system.
//!
//! A system that lets probes starve must come to an end, too: some time after the last probe was due, pieces
//! do not submit themselves any more. A probe that started only then counts with the time until then, which is
//! less than it would have been.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread::sleep,
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::{busy::Busy, cell::Measured, measure::percentile, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "latency",
    about: "an urgent job each ms, while all workers have endless less urgent work in pieces of 250 us",
    workers: Workers::Each,
    metrics: &[
        metric("outside start p50", OUTSIDE_START),
        metric("outside start p99", OUTSIDE_START),
        metric("outside start p99.9", OUTSIDE_START),
        metric("outside end p50", OUTSIDE_END),
        metric("outside end p99", OUTSIDE_END),
        metric("outside end p99.9", OUTSIDE_END),
        metric("inside start p50", INSIDE_START),
        metric("inside start p99", INSIDE_START),
        metric("inside start p99.9", INSIDE_START),
        metric("inside end p50", INSIDE_END),
        metric("inside end p99", INSIDE_END),
        metric("inside end p99.9", INSIDE_END),
    ],
};

const OUTSIDE_START: &str = "from before the submission by a thread outside to the job's start";
const OUTSIDE_END: &str = "from before the submission by a thread outside to the job's end";
const INSIDE_START: &str = "from before the submission by a running piece to the job's start";
const INSIDE_END: &str = "from before the submission by a running piece to the job's end";

const fn metric(name: &'static str, about: &'static str) -> Metric {
    Metric { name, unit: "us", about }
}

/// What the metrics' names end with, and the percentile that it means.
const PERCENTILES: [(&str, f64); 3] = [("p50", 50.0), ("p99", 99.0), ("p99.9", 99.9)];

/// Probes that count, in each of both cases.
const PROBES: usize = 1_000;
/// The fewest, however short the time is.
const PROBES_LEAST: usize = 100;
/// Probes before them, which do not count.
const WARM_UP_PROBES: usize = 20;
/// The shortest time between two probes, and the longest: 1 ms on average.
const GAP_NS: [u64; 2] = [750_000, 1_250_000];
/// What a probe does.
const PROBE_WORK: Duration = Duration::from_micros(20);
/// Pieces for each worker: one that runs, and several that are queued.
const PIECES_PER_WORKER: usize = 8;
/// What a piece does between two looks at the clock; a piece is 250 us of it.
const SLICE_WORK: Duration = Duration::from_micros(10);
const SLICES_PER_PIECE: usize = 25;
/// The workers have so long to get busy before the first probe is due.
const WARM_UP: Duration = Duration::from_millis(20);
/// The pieces go on so long after the last probe was due, if it has not ended before.
const GRACE: Duration = Duration::from_millis(100);

/// A system's two ways of submitting.
pub(crate) trait System: Sized + Send + Sync + 'static {
    /// Submits a job that calls [`Piece::run`] and nothing else.
    fn submit_piece(&self, piece: Piece<Self>);
    /// Submits a job that calls [`Probe::run`] and nothing else, as urgently as the system can.
    fn submit_probe(&self, probe: Probe);
}

/// How urgent a piece is, for systems that can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    Normal,
    Low,
}

/// A piece of the work that never ends.
#[derive(Debug)]
pub(crate) struct Piece<S: 'static> {
    load: &'static Load<S>,
    urgency: Urgency,
    /// Pieces to submit when this one is done. More than one only for a worker's first: a worker that is fed
    /// from outside may take one piece, and never look there again.
    heirs: usize,
}

/// An urgent job.
#[derive(Debug)]
pub(crate) struct Probe {
    log: &'static Log,
    index: usize,
}

/// The endless work on a system, with the probes of one case.
#[derive(Debug)]
struct Load<S: 'static> {
    system: &'static S,
    log: Log,
    busy: Busy,
    /// When each probe is due, in nanoseconds on the log's clock.
    due_ns: Vec<u64>,
    /// The first probe that no piece has submitted. Advanced by the piece that submits it.
    next: AtomicUsize,
    /// Whether pieces submit probes.
    pieces_submit: bool,
    /// Set once by the measuring thread: pieces do not submit themselves any more.
    stop: AtomicBool,
    /// Pieces that will still run: counted up before they are submitted, and down by the last thing that they do.
    pieces: AtomicUsize,
}

/// What is known about the probes.
#[derive(Debug)]
struct Log {
    clock: Instant,
    busy: Busy,
    samples: Vec<Sample>,
    /// Probes that have ended. Counted up by each as the last thing that it does, read by the measuring thread.
    ended: AtomicUsize,
}

/// The times of a probe in nanoseconds on the log's clock, each written once, and read when all have ended.
#[derive(Debug, Default)]
struct Sample {
    submitted: AtomicU64,
    started: AtomicU64,
    ended: AtomicU64,
}

/// Measures both cases on `system`.
pub(crate) fn measure<S: System>(params: &Params, system: S) -> Measured {
    // The process ends with the cell. Until then jobs may look at the system whenever they like.
    let system: &'static S = Box::leak(Box::new(system));
    let busy = Busy::calibrate();
    let mut measured = Measured::default();
    let gap = Duration::from_nanos(GAP_NS.iter().sum::<u64>() / 2);
    let probes = params.share(2).samples(PROBES, gap, PROBES_LEAST);
    for (case, pieces_submit) in [("outside", false), ("inside", true)] {
        let log = run(system, busy, params.workers, probes, pieces_submit);
        for (name, until) in [("start", Sample::start_us as fn(&Sample) -> f64), ("end", Sample::end_us)] {
            let mut times_us: Vec<f64> = log.samples[WARM_UP_PROBES..].iter().map(until).collect();
            for (suffix, percent) in PERCENTILES {
                let figure = percentile(&mut times_us, percent);
                measured = measured.with(&format!("{case} {name} {suffix}"), figure);
            }
        }
    }
    measured
}

/// Keeps the workers busy until all probes have ended.
fn run<S: System>(
    system: &'static S,
    busy: Busy,
    workers: usize,
    probes: usize,
    pieces_submit: bool,
) -> &'static Log {
    let probes = WARM_UP_PROBES + probes;
    let clock = Instant::now();
    let samples = (0..probes).map(|_| Sample::default()).collect();
    let load: &'static Load<S> = Box::leak(Box::new(Load {
        system,
        log: Log { clock, busy, samples, ended: AtomicUsize::new(0) },
        busy,
        due_ns: schedule(WARM_UP.as_nanos() as u64, probes),
        next: AtomicUsize::new(0),
        pieces_submit,
        stop: AtomicBool::new(false),
        pieces: AtomicUsize::new(workers * PIECES_PER_WORKER),
    }));
    for _ in 0..workers {
        system.submit_piece(Piece { load, urgency: Urgency::Normal, heirs: PIECES_PER_WORKER });
    }
    if !pieces_submit {
        for (index, &due_ns) in load.due_ns.iter().enumerate() {
            sleep(Duration::from_nanos(due_ns.saturating_sub(load.log.now_ns())));
            load.submit_probe(index);
        }
    }
    let last_due = Duration::from_nanos(*load.due_ns.last().expect("there are probes"));
    sleep(last_due.saturating_sub(clock.elapsed()));
    let have_ended = || load.log.ended.load(Ordering::Acquire) == probes;
    let all_submitted = || !pieces_submit || load.next.load(Ordering::Relaxed) == probes;
    wait_until(|| have_ended() || (all_submitted() && clock.elapsed() > last_due + GRACE));
    load.stop.store(true, Ordering::Relaxed);
    wait_until(|| have_ended() && load.pieces.load(Ordering::Acquire) == 0);
    &load.log
}

/// When each of `count` probes is due, from `begin_ns` on. The gaps vary, lest they fall into step with the pieces.
fn schedule(begin_ns: u64, count: usize) -> Vec<u64> {
    let mut state = 0x5eed_u64;
    let mut due_ns = begin_ns;
    let gap = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        GAP_NS[0] + (state >> 33) % (GAP_NS[1] - GAP_NS[0])
    };
    let due = |gap_ns| {
        due_ns += gap_ns;
        due_ns
    };
    std::iter::repeat_with(gap).take(count).map(due).collect()
}

/// Sleeps until `condition` is true; it is asked about each millisecond.
fn wait_until(condition: impl Fn() -> bool) {
    while !condition() {
        sleep(Duration::from_millis(1));
    }
}

impl<S: System> Load<S> {
    fn submit_probe(&'static self, index: usize) {
        let log = &self.log;
        log.samples[index].submitted.store(log.now_ns(), Ordering::Relaxed);
        self.system.submit_probe(Probe { log, index });
    }

    /// Submits the next probe if it is due and nobody else does it.
    fn submit_due_probe(&'static self) {
        let index = self.next.load(Ordering::Relaxed);
        let is_due = self.due_ns.get(index).is_some_and(|due_ns| self.log.now_ns() >= *due_ns);
        let claim = || self.next.compare_exchange(index, index + 1, Ordering::Relaxed, Ordering::Relaxed);
        if is_due && claim().is_ok() {
            self.submit_probe(index);
        }
    }
}

impl<S: System> Piece<S> {
    /// How urgent it is.
    #[cfg_attr(not(feature = "ramie"), expect(dead_code, reason = "no rival has priorities"))]
    pub(crate) fn urgency(&self) -> Urgency {
        self.urgency
    }

    /// The job's whole body.
    pub(crate) fn run(self) {
        let Piece { load, urgency, heirs } = self;
        for _ in 0..SLICES_PER_PIECE {
            load.busy.work(SLICE_WORK);
            if load.pieces_submit {
                load.submit_due_probe();
            }
        }
        if load.stop.load(Ordering::Relaxed) {
            // ORDERING: Release pairs with the Acquire in `run`: what the piece did is over.
            load.pieces.fetch_sub(heirs, Ordering::Release);
            return;
        }
        let mut urgency = urgency;
        for _ in 0..heirs {
            load.system.submit_piece(Piece { load, urgency, heirs: 1 });
            urgency = urgency.other();
        }
    }
}

impl Urgency {
    fn other(self) -> Urgency {
        match self {
            Urgency::Normal => Urgency::Low,
            Urgency::Low => Urgency::Normal,
        }
    }
}

impl Probe {
    /// The job's whole body.
    pub(crate) fn run(self) {
        let Probe { log, index } = self;
        let sample = &log.samples[index];
        sample.started.store(log.now_ns(), Ordering::Relaxed);
        log.busy.work(PROBE_WORK);
        sample.ended.store(log.now_ns(), Ordering::Relaxed);
        // ORDERING: Release pairs with the Acquire in `run`, which reads the samples next.
        log.ended.fetch_add(1, Ordering::Release);
    }
}

impl Log {
    fn now_ns(&self) -> u64 {
        self.clock.elapsed().as_nanos() as u64
    }
}

impl Sample {
    fn start_us(&self) -> f64 {
        self.us_since_submission(&self.started)
    }

    fn end_us(&self) -> f64 {
        self.us_since_submission(&self.ended)
    }

    fn us_since_submission(&self, time: &AtomicU64) -> f64 {
        let submitted = self.submitted.load(Ordering::Relaxed);
        time.load(Ordering::Relaxed).saturating_sub(submitted) as f64 / 1e3
    }
}

#[cfg(test)]
mod tests;
