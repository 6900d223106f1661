//! Frames back to back, each of three barriers with a hundred jobs of 5 us before each: what scheduling adds to the
//! time that the jobs' work takes.
//!
//! A frame's time is divided by its ideal, which is the time in which one thread does the same 300 pieces of work one
//! after the other, divided by the number of workers. The ideal is measured in the same process: a few times before
//! each block of frames and after it, on the thread that runs the frames. So neither the calibration of a piece nor
//! a slow drift of the machine is in the ratio.
//!
//! Frames are run by a job of the system, as the main loop of a program would be. The first frames of a block do not
//! count, because the other workers were idle before them.

use std::time::Instant;

use super::{Metric, Workers, Workload};
use crate::{
    cell::Measured,
    measure::{median, percentile, time_ns},
    params::Params,
    workloads::frame_beside_low::FrameJob,
};
pub(crate) use crate::workloads::frame_beside_low::{BARRIERS, JOBS};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "frame",
    about: "frames of 3 x 100 jobs of 5 us with a barrier behind each hundred, back to back; over the ideal time",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "p50", unit: "x", about: "a frame over a serial frame divided by the workers" },
        Metric { name: "p99", unit: "x", about: "a frame over a serial frame divided by the workers" },
    ],
};

/// Frames that count.
const FRAMES: usize = 600;
/// The fewest, however slow they are.
const FRAMES_LEAST: usize = 20;
/// Frames of a block that count, and those before them that do not.
const FRAMES_PER_BLOCK: usize = 40;
const WARM_UP_FRAMES: usize = 3;
/// Serial frames between two blocks.
const SERIAL_FRAMES: usize = 3;

/// Times frames: call [`Frames::begin`] before each, as long as it is true, and [`Frames::end`] after it.
#[derive(Debug)]
pub(crate) struct Frames {
    params: Params,
    job: FrameJob,
    began: Instant,
    frame_began: Instant,
    /// Times of serial frames in nanoseconds, of this block: those before it first.
    serial_ns: Vec<f64>,
    /// Times of this block's frames, those that do not count first.
    frames_ns: Vec<f64>,
    /// Of all frames that count in blocks that have ended.
    ratios: Vec<f64>,
}

/// Measures `frame`, which runs a frame of [`BARRIERS`] times [`JOBS`] jobs and returns when it is done. Call it where
/// the system wants a program's main loop to run.
pub(crate) fn measure(params: &Params, mut frame: impl FnMut(FrameJob)) -> Measured {
    let mut frames = Frames::new(params);
    while frames.begin() {
        frame(frames.job());
        frames.end();
    }
    frames.measured()
}

impl Frames {
    /// Calibrates the jobs.
    pub(crate) fn new(params: &Params) -> Frames {
        let job = FrameJob::calibrate();
        let mut frames = Frames {
            params: *params,
            job,
            began: Instant::now(),
            frame_began: Instant::now(),
            serial_ns: Vec::new(),
            frames_ns: Vec::new(),
            ratios: Vec::new(),
        };
        frames.run_serial();
        frames
    }

    /// The job of which a frame has 300.
    pub(crate) fn job(&self) -> FrameJob {
        self.job
    }

    /// Whether there is to be one more frame, whose time begins now.
    pub(crate) fn begin(&mut self) -> bool {
        let is_over_time = || self.began.elapsed() > self.params.soft_limit;
        let counted = self.ratios.len() + self.frames_ns.len().saturating_sub(WARM_UP_FRAMES);
        let is_last = counted >= self.params.repeats(FRAMES) || (counted >= FRAMES_LEAST && is_over_time());
        if is_last || self.frames_ns.len() == WARM_UP_FRAMES + FRAMES_PER_BLOCK {
            self.end_block();
        }
        self.frame_began = Instant::now();
        !is_last
    }

    /// The frame is done.
    pub(crate) fn end(&mut self) {
        self.frames_ns.push(self.frame_began.elapsed().as_nanos() as f64);
    }

    /// The figures.
    pub(crate) fn measured(mut self) -> Measured {
        let mut p = |percent| percentile(&mut self.ratios, percent);
        Measured::default().with("p50", p(50.0)).with("p99", p(99.0))
    }

    /// Measures the ideal again, and ends the block.
    fn end_block(&mut self) {
        self.run_serial();
        self.divide();
    }

    /// Divides the block's frames by the ideal as it was before and after them.
    fn divide(&mut self) {
        let ideal_ns = median(self.serial_ns.clone()) / self.params.workers as f64;
        self.ratios.extend(self.frames_ns.drain(..).skip(WARM_UP_FRAMES).map(|ns| ns / ideal_ns));
        self.serial_ns.drain(..SERIAL_FRAMES);
    }

    fn run_serial(&mut self) {
        let job = self.job;
        let serial = || time_ns(|| (0..BARRIERS * JOBS).for_each(|_| job.run()));
        self.serial_ns.extend((0..SERIAL_FRAMES).map(|_| serial()));
    }
}

#[cfg(test)]
mod tests;
