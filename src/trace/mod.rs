//! Seeing what happens: recordings, dumps, statistics, stall reports.

#[cfg(not(loom))]
pub(crate) mod backtrace;
#[cfg(not(loom))]
pub(crate) mod deadlock;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(any(shuttle, loom))))]
pub(crate) mod debugger;
#[cfg(not(loom))]
pub(crate) mod dump;
#[cfg(not(loom))]
pub(crate) mod event;
#[cfg(not(loom))]
pub(crate) mod hooks;
#[cfg(all(feature = "metrics", not(loom)))]
mod metrics;
#[cfg(all(unix, not(any(shuttle, loom))))]
pub(crate) mod overflow;
#[cfg(not(loom))]
mod public;
#[cfg(all(unix, not(any(shuttle, loom))))]
pub(crate) mod quit_signal;
#[cfg(not(loom))]
pub(crate) mod record;
#[cfg(not(loom))]
mod recording;
mod ring;
#[cfg(not(loom))]
pub(crate) mod site;
#[cfg(not(loom))]
pub(crate) mod stall;
#[cfg(not(loom))]
pub(crate) mod stats;
#[cfg(not(any(shuttle, loom)))]
pub(crate) mod stuck;
#[cfg(all(feature = "timeline", not(loom)))]
mod timeline;

#[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
pub(crate) mod tracy;

#[cfg(not(loom))]
pub use public::*;
#[cfg(all(feature = "timeline", not(loom)))]
pub use timeline::{FrameTimes, JobTimes, Summary, Timeline, WaitTimes};
#[cfg(all(feature = "tracy", not(any(shuttle, loom))))]
pub use tracy::show_in_tracy;

#[cfg(not(loom))]
use std::sync::OnceLock;
#[cfg(not(loom))]
use std::time::Instant;

/// The moment from which ramie counts nanoseconds in this process.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    pub(crate) at: Instant,
    /// What the processor's counter said then; see [`ticks`](crate::sys::ticks).
    pub(crate) ticks: u64,
}

#[cfg(not(loom))]
pub(crate) fn process_epoch() -> Epoch {
    static EPOCH: OnceLock<Epoch> = OnceLock::new();
    *EPOCH.get_or_init(|| Epoch { at: Instant::now(), ticks: crate::sys::ticks().unwrap_or(0) })
}
