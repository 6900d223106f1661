//! Counters, latches, and who waits for them.

pub(crate) mod word;

#[cfg(not(loom))]
mod cell;
#[cfg(not(loom))]
pub(crate) mod group;
#[cfg(not(loom))]
mod link;
#[cfg(not(loom))]
mod list;
#[cfg(not(loom))]
mod public;
pub(crate) mod timed;

#[cfg(not(loom))]
pub use public::{Counter, CounterGuard};

#[cfg(not(loom))]
pub(crate) use cell::CounterCell;
#[cfg(not(loom))]
pub use link::AfterCounters;
#[cfg(not(loom))]
pub(crate) use link::Link;
#[cfg(not(loom))]
pub(crate) use list::{CounterList, at_greatest_value};
