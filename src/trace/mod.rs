//! Seeing what happens: dumps, statistics, stall reports.

pub(crate) mod backtrace;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(crate) mod debugger;
pub(crate) mod dump;
#[cfg(all(unix, not(shuttle)))]
pub(crate) mod overflow;
#[cfg(all(unix, not(shuttle)))]
pub(crate) mod quit_signal;
pub(crate) mod site;
pub(crate) mod stall;
pub(crate) mod stats;
#[cfg(not(shuttle))]
pub(crate) mod stuck;

use std::sync::OnceLock;
use std::time::Instant;

/// The moment from which ramie counts nanoseconds in this process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Epoch {
    pub(crate) at: Instant,
    /// What the processor's counter said then; see [`ticks`](crate::sys::ticks).
    pub(crate) ticks: u64,
}

pub(crate) fn process_epoch() -> Epoch {
    static EPOCH: OnceLock<Epoch> = OnceLock::new();
    *EPOCH.get_or_init(|| Epoch { at: Instant::now(), ticks: crate::sys::ticks().unwrap_or(0) })
}
