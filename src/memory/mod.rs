//! Memory that never goes away: nodes, typed slots, caches.

#[cfg(not(loom))]
pub(crate) mod caches;
#[cfg(not(loom))]
mod magazine;
pub(crate) mod node;
#[cfg(not(loom))]
pub(crate) mod prefetch;
#[cfg(not(loom))]
pub(crate) mod slots;
#[cfg(all(unix, not(loom)))]
pub(crate) mod stacks;

// Not below `slots`, which the benchmarks take in by its path.
#[cfg(all(test, not(any(loom, shuttle))))]
#[path = "slots/tests.rs"]
mod slots_tests;
