//! What ramie asks of the operating system: parking a thread, a process-wide barrier, CPUs, address space, faults.

#[cfg(target_os = "linux")]
mod linux;
mod parker;
#[cfg(all(unix, not(loom)))]
pub(crate) mod unix;

#[cfg(not(loom))]
pub(crate) use parker::Parker;

#[cfg(target_os = "linux")]
pub(crate) use linux::{process_wide_barrier, register_process_wide_barrier};

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) use linux::affinity::{pin_this_thread, usable_cpus};
#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) use linux::futex;
#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) use linux::idle::become_idle_thread;
#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
pub(crate) use linux::thread_clock::{clock_of_this_thread, read_thread_clock};

/// Elsewhere threads' clocks are not known.
#[cfg(all(not(loom), any(not(target_os = "linux"), shuttle)))]
pub(crate) fn clock_of_this_thread() -> i32 {
    0
}

#[cfg(not(any(loom, shuttle, target_os = "linux")))]
pub(crate) fn read_thread_clock(_clock: i32) -> Option<std::time::Duration> {
    None
}

/// Without `membarrier(2)` both sides of the asymmetric fence are full fences.
#[cfg(not(target_os = "linux"))]
pub(crate) fn register_process_wide_barrier() -> bool {
    false
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn process_wide_barrier() {}

/// A counter of the processor that counts evenly, at a rate that is not told; `None` if there is none that is known here.
/// Reading it touches no memory.
#[cfg(not(loom))]
#[inline]
pub(crate) fn ticks() -> Option<u64> {
    #[cfg(all(target_arch = "x86_64", not(any(miri, shuttle))))]
    {
        #[expect(unsafe_code, reason = "an intrinsic")]
        // SAFETY: every x86-64 processor has this counter.
        Some(unsafe { std::arch::x86_64::_rdtsc() })
    }
    #[cfg(not(all(target_arch = "x86_64", not(any(miri, shuttle)))))]
    None
}

/// How many CPUs this process may use; at least 1.
#[cfg(not(loom))]
pub(crate) fn usable_cpu_count() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get)
}

/// Where threads cannot be bound to CPUs, nothing is known of single CPUs either.
#[cfg(all(not(loom), any(not(target_os = "linux"), shuttle)))]
pub(crate) fn usable_cpus() -> std::io::Result<Vec<u32>> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "ramie binds threads to CPUs on Linux only"))
}

#[cfg(all(not(loom), any(not(target_os = "linux"), shuttle)))]
pub(crate) fn pin_this_thread(_cpu: u32) -> std::io::Result<()> {
    usable_cpus().map(drop)
}

#[cfg(all(not(loom), any(not(target_os = "linux"), shuttle)))]
pub(crate) fn become_idle_thread() -> std::io::Result<()> {
    Err(std::io::Error::new(std::io::ErrorKind::Unsupported, "ramie knows idle threads on Linux only"))
}

/// What keeps a stack that overflows from writing into its neighbour.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StackGuards {
    /// Guard regions of Linux 6.13 and later: no mapping of their own, so the number of stacks is not bounded by
    /// `vm.max_map_count`.
    Regions,
    /// Protected pages: two mappings for each stack, so on Linux, where a process has 65,530 mappings by default, about 30,000
    /// stacks.
    ProtectedPages,
}
