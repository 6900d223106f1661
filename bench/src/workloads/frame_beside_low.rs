//! Frames at a steady rate, alone and beside work that has no end and no hurry.
//!
//! A frame begins every 4 ms on a thread outside the system, and consists of three times 100 jobs of 5 us with
//! a barrier behind each hundred: 0.75 ms on two workers. Its time is what that thread sees, from before it
//! submits the frame until it has learnt that the frame is done. In between it sleeps; it spins for the last
//! 50 us at the most. If a frame is not done when the next is due, the rate starts anew from there.
//!
//! Blocks of frames alone alternate with blocks beside the background work, so that a drift of the machine
//! hits both. Background work is loops that do pieces of 250 us; how they make way for a frame is the system's
//! business.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    thread::{available_parallelism, sleep},
    time::{Duration, Instant},
};

use super::{Metric, Workers, Workload};
use crate::{busy::Busy, cell::Measured, measure::percentile, params::Params};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "frame_beside_low",
    about: "frames of 3 x 100 jobs of 5 us every 4 ms, alone and beside endless background work; pinned threads",
    workers: Workers::Most,
    metrics: METRICS,
};

pub(super) const METRICS: &[Metric] = &[
        Metric { name: "alone p50", unit: "ms", about: "a frame without background work" },
        Metric { name: "alone p90", unit: "ms", about: "a frame without background work" },
        Metric { name: "alone p99", unit: "ms", about: "a frame without background work" },
        Metric { name: "beside p50", unit: "ms", about: "a frame beside the background work" },
        Metric { name: "beside p90", unit: "ms", about: "a frame beside the background work" },
        Metric { name: "beside p99", unit: "ms", about: "a frame beside the background work" },
        Metric { name: "p99 growth", unit: "x", about: "p99 beside the background work over p99 alone" },
        Metric {
            name: "low share",
            unit: "%",
            about: "of the time that the frames' jobs left, what the background work got; more is better",
        },
    ];

/// Frames that count, alone and beside the background work.
const FRAMES: usize = 480;
/// The fewest, however short the time is.
const FRAMES_LEAST: usize = 60;
/// Blocks of frames of either kind.
const BLOCKS: usize = 4;
/// Frames at the begin of each block, which do not count.
const WARM_UP_FRAMES: usize = 5;
const PERIOD: Duration = Duration::from_millis(4);
/// The most time before a frame during which its thread spins.
const SPIN_MAX: Duration = Duration::from_micros(50);
/// Barriers in a frame.
pub(crate) const BARRIERS: usize = 3;
/// Jobs before each barrier.
pub(crate) const JOBS: usize = 100;
const JOB_WORK: Duration = Duration::from_micros(5);
/// A piece of work that makes way after each.
pub(crate) const SPLIT_PIECE: Duration = Duration::from_micros(250);

/// The body of a frame's jobs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameJob {
    busy: Busy,
}

impl FrameJob {
    /// A job that has found out how fast this machine is.
    pub(crate) fn calibrate() -> FrameJob {
        FrameJob { busy: Busy::calibrate() }
    }

    /// The job's whole body.
    pub(crate) fn run(self) {
        self.busy.work(JOB_WORK);
    }
}

/// The background work of one block.
#[derive(Debug)]
pub(crate) struct Background {
    busy: Busy,
    /// What a piece is.
    piece: Duration,
    /// Set once by the frames' thread.
    stop: AtomicBool,
    /// Pieces that are done. Counted up by the loops, read by the frames' thread.
    pieces: AtomicU64,
    /// Loops that have not ended: counted up when they are made, and down by the last thing that they do.
    loops: AtomicUsize,
}

/// A loop of the background work, to be run by one job.
#[derive(Debug)]
pub(crate) struct Loop(&'static Background);

impl Background {
    /// A loop more.
    pub(crate) fn new_loop(&'static self) -> Loop {
        self.loops.fetch_add(1, Ordering::Relaxed);
        Loop(self)
    }
}

impl Loop {
    /// The job's whole body, which ends with the block. `make_way` is called after each piece.
    pub(crate) fn run(self, mut make_way: impl FnMut()) {
        let Loop(background) = self;
        while !background.stop.load(Ordering::Relaxed) {
            background.busy.work(background.piece);
            background.pieces.fetch_add(1, Ordering::Relaxed);
            make_way();
        }
        // ORDERING: Release pairs with the Acquire in `stop`: nothing of this loop is left to run.
        background.loops.fetch_sub(1, Ordering::Release);
    }
}

/// What a block of frames has shown.
#[derive(Default)]
struct Block {
    /// From the first frame that counts to the last one's end.
    wall: Duration,
    pieces: u64,
    frames_ms: Vec<f64>,
}

/// Measures `frame`, which runs a frame of [`BARRIERS`] times [`JOBS`] jobs and returns when it is done, alone
/// and beside what `start` starts, which is a number of background loops, in pieces of this length, that suits the system.
pub(crate) fn measure(
    params: &Params,
    piece: Duration,
    frame: impl Fn(FrameJob),
    start: impl Fn(&'static Background),
) -> Measured {
    let busy = Busy::calibrate();
    let job = FrameJob { busy };
    let frames = params.share(2).samples(FRAMES, PERIOD, FRAMES_LEAST) / BLOCKS;
    let (mut alone, mut beside) = (Block::default(), Block::default());
    for _ in 0..BLOCKS {
        alone.add(frames, || frame(job), || 0);
        // The process ends with the cell. Until then loops may look at this whenever they like.
        let background: &'static Background = Box::leak(Box::new(Background {
            busy,
            piece,
            stop: AtomicBool::new(false),
            pieces: AtomicU64::new(0),
            loops: AtomicUsize::new(0),
        }));
        start(background);
        beside.add(frames, || frame(job), || background.pieces.load(Ordering::Relaxed));
        stop(background);
    }
    let share = beside.low_share(params.workers, piece);
    let p = |block: &mut Block, percent| percentile(&mut block.frames_ms, percent);
    let growth = p(&mut beside, 99.0) / p(&mut alone, 99.0);
    Measured::default()
        .with("alone p50", p(&mut alone, 50.0))
        .with("alone p90", p(&mut alone, 90.0))
        .with("alone p99", p(&mut alone, 99.0))
        .with("beside p50", p(&mut beside, 50.0))
        .with("beside p90", p(&mut beside, 90.0))
        .with("beside p99", p(&mut beside, 99.0))
        .with("p99 growth", growth)
        .with("low share", share)
}

/// Ends the loops, and waits until they have ended.
fn stop(background: &Background) {
    background.stop.store(true, Ordering::Relaxed);
    while background.loops.load(Ordering::Acquire) > 0 {
        sleep(Duration::from_millis(1));
    }
}

impl Block {
    /// Adds a block of frames, one each period. `pieces` tells how many pieces the background work has done.
    fn add(&mut self, frames: usize, frame: impl Fn(), pieces: impl Fn() -> u64) {
        let mut due = Instant::now();
        let mut timed_frame = || {
            wait_until(due);
            let begin = Instant::now();
            frame();
            due = (due + PERIOD).max(Instant::now());
            begin.elapsed().as_secs_f64() * 1e3
        };
        for _ in 0..WARM_UP_FRAMES {
            timed_frame();
        }
        let (begin, pieces_before) = (Instant::now(), pieces());
        self.frames_ms.extend((0..frames).map(|_| timed_frame()));
        self.wall += begin.elapsed();
        self.pieces += pieces() - pieces_before;
    }

    /// The share of the workers' time, less that of the frames' jobs, that the pieces got, in per cent.
    fn low_share(&self, workers: usize, piece: Duration) -> f64 {
        let cpus = available_parallelism().map_or(workers, |cpus| workers.min(cpus.get()));
        let frames = self.frames_ms.len() * BARRIERS * JOBS;
        let left = self.wall.as_secs_f64() * cpus as f64 - JOB_WORK.as_secs_f64() * frames as f64;
        100.0 * piece.as_secs_f64() * self.pieces as f64 / left
    }
}

/// Sleeps until shortly before `due`, and spins until then.
fn wait_until(due: Instant) {
    sleep(due.saturating_duration_since(Instant::now()).saturating_sub(SPIN_MAX));
    while Instant::now() < due {
        spin_loop();
    }
}

#[cfg(test)]
mod tests;
