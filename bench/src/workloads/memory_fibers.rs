//! A million fibers wait at once: what each costs in memory, to create, and to wake.
#![expect(unsafe_code, reason = "touches pages, and runs coroutines on stacks without guards")]

use std::ptr;

use corosensei::stack::{Stack, StackPointer};

use super::{Metric, Workers, Workload};
use crate::{cell::Measured, measure::time_ns, params::Params, resident};

pub(crate) static WORKLOAD: Workload = Workload {
    name: "memory_fibers",
    about: "1,000,000 fibers with stacks of 64 KiB wait on one counter at once, which is then signalled once; corosensei: as many bare coroutines without guards",
    workers: Workers::Each,
    metrics: &[
        Metric { name: "memory", unit: "KiB", about: "a fiber, resident, page tables included, while all wait" },
        Metric { name: "suspend", unit: "ns", about: "a fiber, from spawn until all are suspended, each on memory never touched before" },
        Metric { name: "suspend over touch", unit: "x", about: "`suspend` over the time in which the same process, afterwards, touches as many new pages: the floor" },
        Metric { name: "resume", unit: "ns", about: "a fiber, from the signal until all have ended" },
    ],
};

/// Fibers that wait: a million, or a tenth of that in a quick run, because nobody waits for so many pages then.
pub(crate) fn fibers(params: &Params) -> usize {
    if params.quick { 100_000 } else { 1_000_000 }
}

/// The size of their stacks.
pub(crate) const STACK_BYTES: usize = 64 * 1024;
const STRIDE_BYTES: usize = STACK_BYTES + 8 * 1024;

/// Measures one round, which suspends all fibers, calls what it was given, and resumes them; it returns the time of both
/// halves in nanoseconds. There is no second round: its stacks would not be new.
pub(crate) fn measure(
    params: &Params,
    round: impl FnOnce(usize, &mut (dyn FnMut() + Send)) -> [f64; 2],
) -> Measured {
    let count = fibers(params);
    // The host may have to find the memory, for whoever touches it first.
    touch(count);
    let before_kib = resident::kib();
    let mut peak_kib = 0.0;
    let [suspend_ns, resume_ns] = round(count, &mut || peak_kib = resident::kib());
    let touch_ns = touch(count);
    let each = |ns: f64| ns / count as f64;
    Measured::one("memory", (peak_kib - before_kib) / count as f64)
        .with("suspend", each(suspend_ns))
        .with("suspend over touch", suspend_ns / touch_ns)
        .with("resume", each(resume_ns))
}

/// Touches a page for each fiber, as far apart as their stacks are, in memory that is new to the process.
fn touch(count: usize) -> f64 {
    let region = Region::new(count);
    time_ns(|| {
        for index in 0..count {
            // SAFETY: the address is in the region.
            unsafe { region.base.add((index + 1) * STRIDE_BYTES - 64).write_volatile(1) };
        }
    })
}

/// Address space for a stack for each fiber.
pub(crate) struct Region {
    base: *mut u8,
    bytes: usize,
}

impl Region {
    pub(crate) fn new(count: usize) -> Region {
        let bytes = count * STRIDE_BYTES;
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: a new mapping touches nothing that exists.
        let base = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0)
        };
        assert_ne!(base, libc::MAP_FAILED, "there is address space");
        // SAFETY: the range was just mapped. Without huge pages there is nothing to refuse.
        unsafe { libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE) };
        Region { base: base.cast(), bytes }
    }

    /// The `index`-th stack, which must not be used after the region is gone.
    pub(crate) fn stack(&self, index: usize) -> BareStack {
        let low = self.base.addr() + index * STRIDE_BYTES;
        BareStack { base: low + STRIDE_BYTES - index % 16 * 64, limit: low }
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`.
        unsafe { libc::munmap(self.base.cast(), self.bytes) };
    }
}

/// A stack with a coloured top and no guard, for coroutines that are known to need little.
pub(crate) struct BareStack {
    base: usize,
    limit: usize,
}

// SAFETY: the range is the stack's alone. There is no guard: what runs on it here uses some hundred bytes.
unsafe impl Stack for BareStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.base).expect("a stack is not at address zero")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.limit).expect("a stack is not at address zero")
    }
}
