//! The message about a stack that was too small.
//!
//! Everything here runs in a signal handler, on an alternate stack of a few kilobytes: no lock, no allocation, and a buffer of
//! fixed size.

use super::site::SiteRef;
use crate::fiber::switch::Switch;
use crate::memory::stacks::{self, Place};
use crate::sched::current;
use crate::sched::worker::Worker;
use crate::sys::unix::fault::{self, Fault};
use crate::sys::unix::page_bytes;
use std::fmt::{self, Write};
use std::sync::atomic::Ordering;

/// How far below a stack its stack pointer may be when it overflows: code that does not touch its stack frame page by
/// page may skip the guard's first bytes.
const REACH_BYTES: usize = 64 * 1024;
/// How far below its stack pointer code may access its stack.
const RED_ZONE_BYTES: usize = 256;

/// Ends the process with a message if the fault is a stack overflow of one of our stacks.
pub(crate) fn look(fault: Fault) {
    let Some(place) = stacks::stack_at(fault.address) else { return };
    if fault.address >= place.low + page_bytes() {
        return;
    }
    let Some(worker) = current::worker().filter(|worker| worker.in_fiber()) else { return };
    let fiber = worker.current_fiber();
    // A guard that is hit by code on another stack was hit by a wild pointer.
    if stacks::stack_at(fiber.stack_in_use()) == Some(place) && is_near(fault, place) {
        let is_own = stacks::stack_at(fiber.context().anchor()) == Some(place);
        tell(worker, fiber.site(), place, is_own);
        std::process::abort();
    }
}

/// Whether the stack pointer is where it is when a stack overflows, rather than far from the guard that was hit.
fn is_near(fault: Fault, place: Place) -> bool {
    // What is accessed on a stack lies above its stack pointer, or just below.
    let highest = place.low + page_bytes() + RED_ZONE_BYTES;
    fault
        .stack_pointer
        .is_none_or(|pointer| (place.low.saturating_sub(REACH_BYTES)..highest).contains(&pointer))
}

#[cold]
fn tell(worker: &Worker, site: SiteRef, place: Place, is_own: bool) {
    let remote = worker.remote();
    let (kind, remedy) = if is_own {
        ("stack", "raise `Builder::stack_size`, spawn this job with `large_stack()`")
    } else {
        ("large stack", "raise `Builder::large_stack_size`")
    };
    let mut text = Text { bytes: [0; 640], length: 0 };
    // What does not fit is cut off.
    let _ = write!(
        text,
        "\nramie: stack overflow: {site} (worker {} of system {}) needs more than its {kind} of {} KiB: {remedy}, or move \
         large values to the heap. The process ends.",
        remote.index.load(Ordering::Relaxed),
        remote.system.load(Ordering::Relaxed),
        place.stack_bytes / 1024,
    );
    fault::write_error(&text.bytes[..text.length]);
    fault::write_error(b"\n");
}

struct Text {
    bytes: [u8; 640],
    length: usize,
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let count = text.len().min(self.bytes.len() - self.length);
        self.bytes[self.length..self.length + count].copy_from_slice(&text.as_bytes()[..count]);
        self.length += count;
        if count == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
