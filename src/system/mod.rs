//! Systems: what users hold, what workers share, and which systems there are.

pub(crate) mod core;
mod drain;
pub(crate) mod main_thread;
mod public;
mod registry;

pub use drain::{Drain, Report};
pub use public::JobSystem;
pub(crate) use public::broadcast_in;
pub(crate) use registry::{count_finished_elsewhere, find, for_each_system, report_panic, with_system};
