//! Memory that never goes away: nodes, typed slots, caches.

#[cfg(not(loom))]
pub(crate) mod caches;
pub(crate) mod node;
#[cfg(not(loom))]
pub(crate) mod slots;
#[cfg(all(unix, not(loom)))]
pub(crate) mod stacks;
