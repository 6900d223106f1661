//! Where fibers meet the rest of the world: the clock, futures, blocking calls.

#[cfg(all(feature = "blocking", not(any(loom, shuttle))))]
pub(crate) mod blocking;
#[cfg(not(loom))]
pub(crate) mod future;
#[cfg(not(loom))]
pub(crate) mod poll_waiter;
#[cfg(not(loom))]
pub(crate) mod sleep;
#[cfg(all(feature = "tracing", not(loom)))]
pub(crate) mod spans;
#[cfg(not(loom))]
pub(crate) mod timer;
pub(crate) mod wake_cell;

/// How many blocking calls there are in the process that have not ended.
#[cfg(not(loom))]
pub(crate) fn calls_in_flight() -> usize {
    #[cfg(all(feature = "blocking", not(shuttle)))]
    return blocking::in_flight();
    #[cfg(not(all(feature = "blocking", not(shuttle))))]
    0
}
