//! Memory that never goes away: nodes, typed slots, caches.

pub(crate) mod node;
#[cfg(not(loom))]
pub(crate) mod slots;
