//! Seeing what happens: dumps, statistics, stall reports.

pub(crate) mod dump;
#[cfg(all(unix, not(shuttle)))]
pub(crate) mod overflow;
pub(crate) mod site;
pub(crate) mod stall;
pub(crate) mod stats;

use std::sync::OnceLock;
use std::time::Instant;

/// The moment from which ramie counts nanoseconds in this process.
pub(crate) fn process_epoch() -> Instant {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    *EPOCH.get_or_init(Instant::now)
}
