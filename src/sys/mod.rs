//! What ramie asks of the operating system: parking a thread, a process-wide barrier, CPU counts.

#[cfg(target_os = "linux")]
mod linux;
mod parker;

#[cfg(not(loom))]
pub(crate) use parker::Parker;

#[cfg(target_os = "linux")]
pub(crate) use linux::{process_wide_barrier, register_process_wide_barrier};

/// Without `membarrier(2)` both sides of the asymmetric fence are full fences.
#[cfg(not(target_os = "linux"))]
pub(crate) fn register_process_wide_barrier() -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn process_wide_barrier() {}

/// How many CPUs this process may use; at least 1.
#[cfg(not(loom))]
pub(crate) fn usable_cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}
