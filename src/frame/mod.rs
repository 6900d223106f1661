//! Frames: memory that lives as long as one tick of a simulation, and pipelines of such ticks.
//!
//! - `block`, `pool`, `bump`: raw memory, where it rests, and how it is handed out.
//! - `arena`: the arenas; `alloc`: a frame, and what can be allocated in it; `allocator`: collections in a frame.
//! - `pipeline`: stages; `turns`: whose turn it is.

mod alloc;
mod allocator;
mod arena;
mod block;
mod bump;
mod pipeline;
mod pool;
mod report;
mod turns;

pub use alloc::Frame;
pub use arena::FrameArenas;
pub(crate) use block::kept_bytes;
pub use pipeline::{FramePipeline, FrameRun, Stage};
pub use report::{FrameError, FrameStats, PipelineReport, StageReport};
