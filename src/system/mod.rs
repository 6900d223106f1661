//! Systems: what users hold, what workers share, and which systems there are.

mod broadcast;
pub(crate) mod core;
mod drain;
pub(crate) mod main_thread;
mod public;
mod registry;

pub(crate) use broadcast::broadcast_in;
pub use drain::{Drain, Report};
pub use public::JobSystem;
pub(crate) use registry::{count_finished_elsewhere, find, for_each_system, report_panic, with_system};
