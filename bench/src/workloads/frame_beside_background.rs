//! The frames of [`frame_beside_low`](super::frame_beside_low), beside work that cannot be split: loops that do pieces of 5 ms and make way
//! for nobody. Only the kernel can take their processor away; how a system sees to that is its business.
//!
//! Pieces are counted when they are done, by the work that they do and not by the time, so one that was interrupted counts once.

use std::time::Duration;

use super::{Workers, Workload, frame_beside_low::METRICS};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "frame_beside_background",
    about: "frames of 3 x 100 jobs of 5 us every 4 ms, alone and beside endless work in pieces of 5 ms; pinned threads",
    workers: Workers::Most,
    metrics: METRICS,
};

/// A piece of work that makes way for nobody.
pub(crate) const WHOLE_PIECE: Duration = Duration::from_millis(5);
