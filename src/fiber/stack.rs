//! Stacks: reserved address space with a guard page below, of which only touched pages cost memory.

#![expect(unsafe_code, reason = "implements corosensei's stack trait")]
#![cfg_attr(shuttle, allow(dead_code))]

use corosensei::stack::{DefaultStack, Stack, StackPointer};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A stack could not be had from the operating system.
#[derive(Debug)]
pub(crate) struct StackError(pub(crate) std::io::Error);

/// The smallest stack that [`Builder::stack_size`](crate::Builder::stack_size) accepts.
pub(crate) const STACK_BYTES_MIN: usize = 16 * 1024;
/// Idle stacks kept for the next system or peak; the rest goes back to the operating system.
const IDLE_STACKS_MAX: usize = 256;
/// Tops are spread over this many offsets of [`COLOUR_STEP_BYTES`] each.
const COLOUR_COUNT: usize = 16;
/// PERF: stacks that all end at a page's end share a few sets of the L1 cache; bench `switch_many`.
const COLOUR_STEP_BYTES: usize = 64;

static IDLE: Mutex<Vec<FiberStack>> = Mutex::new(Vec::new());
static NEXT_COLOUR: AtomicUsize = AtomicUsize::new(0);

/// A stack of a fiber, with its top moved down by a few cache lines.
pub(crate) struct FiberStack {
    stack: DefaultStack,
    size_bytes: u32,
    colour_bytes: u16,
}

impl FiberStack {
    /// An idle stack of this size, or a new one.
    pub(crate) fn take(size_bytes: usize) -> Result<Self, StackError> {
        let mut idle = IDLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(found) = idle.iter().rposition(|stack| stack.size_bytes as usize == size_bytes) {
            return Ok(idle.swap_remove(found));
        }
        drop(idle);
        let colour = NEXT_COLOUR.fetch_add(1, Ordering::Relaxed) % COLOUR_COUNT;
        let spare = COLOUR_COUNT * COLOUR_STEP_BYTES;
        let stack = DefaultStack::new(size_bytes + spare).map_err(StackError)?;
        let size_bytes = u32::try_from(size_bytes).expect("the builder allows at most 1 GiB");
        Ok(Self { stack, size_bytes, colour_bytes: (colour * COLOUR_STEP_BYTES) as u16 })
    }

    /// Keeps the stack for the next fiber.
    pub(crate) fn give_back(self) {
        let mut idle = IDLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if idle.len() < IDLE_STACKS_MAX {
            idle.push(self);
        }
    }
}

// SAFETY: the usable range is the inner stack's less a few lines at the top: the guard page stays
// below `limit`, at least `size_bytes` remain, and the step keeps the alignment.
unsafe impl Stack for FiberStack {
    #[inline]
    fn base(&self) -> StackPointer {
        StackPointer::new(self.stack.base().get() - usize::from(self.colour_bytes))
            .expect("stacks are far from zero")
    }

    #[inline]
    fn limit(&self) -> StackPointer {
        self.stack.limit()
    }

    #[cfg(windows)]
    fn teb_fields(&self) -> corosensei::stack::StackTebFields {
        self.stack.teb_fields()
    }

    #[cfg(windows)]
    fn update_teb_fields(&mut self, stack_limit: usize, guaranteed_stack_bytes: usize) {
        self.stack.update_teb_fields(stack_limit, guaranteed_stack_bytes);
    }
}
