//! Errors and figures of frames and pipelines.

use std::time::Duration;
use thiserror::Error;

/// [`FrameArenas`](crate::FrameArenas) could not be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// No frames in flight.
    #[error(
        "frame arenas need at least 1 frame in flight: pass 2 or 3 to let one frame begin while another ends"
    )]
    NoFrames,
    /// More frames in flight than [`FrameArenas::FRAMES_MAX`](crate::FrameArenas::FRAMES_MAX).
    #[error("{requested} frames in flight are too many: pass at most {max}")]
    TooManyFrames {
        /// What was asked for.
        requested: usize,
        /// The limit.
        max: usize,
    },
    /// A size of blocks outside of what can work.
    #[error(
        "blocks of {requested} bytes are out of range: pass between {min} and {max} bytes to `with_block_size`"
    )]
    BlockSize {
        /// What was asked for, in bytes.
        requested: usize,
        /// The smallest size, in bytes.
        min: usize,
        /// The largest size, in bytes.
        max: usize,
    },
}

/// Figures about frames and their memory; made by [`FrameArenas::stats`](crate::FrameArenas::stats).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FrameStats {
    /// Frames since the arenas were made.
    pub frames_begun: u64,
    /// Frames that have not been dropped.
    pub frames_in_flight: usize,
    /// What the frame that was dropped last had in use when it was, in bytes, padding included; what had come back to it before is
    /// not counted. 0 if none was dropped.
    pub last_frame_bytes: usize,
    /// The most of any frame that was dropped, in bytes, padding included.
    pub most_frame_bytes: usize,
    /// Ordinary blocks that frames have.
    pub blocks_in_use: usize,
    /// Ordinary blocks that are ready for use.
    pub blocks_pooled: usize,
    /// Blocks of single large allocations that frames have.
    pub oversize_blocks_in_use: usize,
    /// Blocks for single large allocations that are ready for use.
    pub oversize_blocks_pooled: usize,
    /// Bytes of all blocks together.
    pub reserved_bytes: usize,
}

/// What a run of a [`FramePipeline`](crate::FramePipeline) has done.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PipelineReport {
    /// Frames that were run, to their end or until they panicked.
    pub frames: u64,
    /// How many of them panicked.
    pub panicked: u64,
    /// How long the whole run took.
    pub elapsed: Duration,
    /// The stages, in order.
    pub stages: Vec<StageReport>,
}

/// What a stage of a [`FramePipeline`](crate::FramePipeline) has done in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StageReport {
    /// The stage's name.
    pub name: &'static str,
    /// How many frames have entered it.
    pub runs: u64,
    /// How long they were inside, together. The stage with the longest total limits the pipeline.
    pub total: Duration,
    /// The longest time that a frame was inside.
    pub longest: Duration,
    /// How long frames have waited for their turn, together.
    pub waited: Duration,
}
