//! An allocator that counts.

#![expect(unsafe_code, reason = "implements an allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::backtrace::Backtrace;
use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);
static FREES: AtomicU64 = AtomicU64::new(0);
/// Whether to print from where each allocation comes.
static TRACING: AtomicBool = AtomicBool::new(false);

thread_local! {
    /// Whether this thread prints a backtrace, which allocates.
    static PRINTING: Cell<bool> = const { Cell::new(false) };
}

/// What all threads have allocated and freed during something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) allocations: u64,
    pub(crate) frees: u64,
}

/// Counts during `f`. With `RAMIE_HEAP_TRACE` set it prints a backtrace for each allocation.
pub(crate) fn during(f: impl FnOnce()) -> Counts {
    let now =
        || Counts { allocations: ALLOCATIONS.load(Ordering::SeqCst), frees: FREES.load(Ordering::SeqCst) };
    let trace = std::env::var_os("RAMIE_HEAP_TRACE").is_some();
    let before = now();
    TRACING.store(trace, Ordering::SeqCst);
    f();
    TRACING.store(false, Ordering::SeqCst);
    let after = now();
    Counts { allocations: after.allocations - before.allocations, frees: after.frees - before.frees }
}

fn trace(what: &str, size: usize) {
    if TRACING.load(Ordering::Relaxed) && !PRINTING.replace(true) {
        eprintln!("{what} of {size} bytes\n{}", Backtrace::force_capture());
        PRINTING.set(false);
    }
}

struct Counting;

// SAFETY: passes everything on to `System`.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        trace("allocation", layout.size());
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        FREES.fetch_add(1, Ordering::Relaxed);
        trace("free", layout.size());
        // SAFETY: as promised by the caller; `at` came from `System`.
        unsafe { System.dealloc(at, layout) };
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        FREES.fetch_add(1, Ordering::Relaxed);
        trace("reallocation", size);
        // SAFETY: as promised by the caller; `at` came from `System`.
        unsafe { System.realloc(at, layout, size) }
    }
}
