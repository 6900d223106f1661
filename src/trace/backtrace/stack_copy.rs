//! A copy of the stack of a fiber that is suspended, and the proof that it is whole.

#![expect(unsafe_code, reason = "reads stacks of other threads' fibers")]

use crate::fiber::{Fiber, FiberState};
use crate::memory::stacks;
use crate::sys::unix::page_bytes;
use crate::trace::debugger;
use std::arch::asm;
use std::ptr;
use std::sync::atomic::{Ordering, fence};

/// Bytes of a stack that are copied.
const BYTES_MAX: usize = 256 << 10;
const WORD_BYTES: usize = size_of::<usize>();
/// What corosensei's `switch_yield` leaves at the stack pointer: rip, rbx, rbp.
const SAVED_WORDS: usize = 3;

/// The registers that a fiber goes on with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Registers {
    pub(super) instruction: u64,
    pub(super) stack: u64,
    pub(super) frame: u64,
}

/// What the fiber and its worker have done so far.
#[derive(Clone, Copy, PartialEq)]
struct Stand {
    owner: *const crate::sched::worker::Remote,
    switches: (u64, u64),
}

/// See the [module](self).
pub(super) struct StackCopy {
    /// Where it was copied from: where the fiber was suspended.
    first: usize,
    words: Vec<usize>,
}

impl StackCopy {
    /// Copies the stack that the fiber is suspended on; `None` if it runs, or did so meanwhile.
    pub(super) fn of(fiber: &'static Fiber) -> Option<(Self, Registers)> {
        let before = stand(fiber)?;
        let (stack_pointer, yielder) = debugger::saved_words(fiber)?;
        if stack_pointer == 0 || yielder == 0 {
            return None;
        }
        let copy = Self { first: stack_pointer, words: copy_stack(stack_pointer, yielder)? };
        if stand(fiber) != Some(before) {
            return None;
        }
        let [rip, _, rbp] = *copy.words.first_chunk::<SAVED_WORDS>()?;
        let registers = Registers {
            instruction: rip as u64,
            stack: (stack_pointer + SAVED_WORDS * WORD_BYTES) as u64,
            frame: rbp as u64,
        };
        Some((copy, registers))
    }

    /// The word that was at this address.
    pub(super) fn read(&self, address: u64) -> Option<u64> {
        let offset = usize::try_from(address).ok()?.checked_sub(self.first)?;
        // Words lie at multiples of their size.
        let index = (offset % WORD_BYTES == 0).then_some(offset / WORD_BYTES)?;
        self.words.get(index).map(|&word| word as u64)
    }
}

/// Copies from this address to the end of the stack that it is on; `None` if it is on none. What lies above the fiber's yielder says
/// where the worker was when it resumed the fiber last, and is left out.
fn copy_stack(address: usize, yielder: usize) -> Option<Vec<usize>> {
    let place = stacks::stack_at(address)?;
    if address % WORD_BYTES != 0 || address < place.low + page_bytes() {
        return None;
    }
    let is_own = place.low < yielder && yielder < place.end;
    let end = if is_own { yielder } else { place.end };
    let count = end.checked_sub(address)?.min(BYTES_MAX) / WORD_BYTES;
    let mut words = vec![0; count];
    // SAFETY: the range is part of a stack and above its guard, and no stack is ever given back. Another thread may write to it at
    // this moment: the instruction copies what it finds.
    unsafe {
        asm!(
            "rep movsq",
            inout("rcx") count => _,
            inout("rsi") ptr::with_exposed_provenance::<usize>(address) => _,
            inout("rdi") words.as_mut_ptr() => _,
            options(nostack, preserves_flags),
        );
    }
    Some(words)
}

/// `None` if the fiber runs, or waits for nothing.
fn stand(fiber: &'static Fiber) -> Option<Stand> {
    // ORDERING: what was copied before stays before, and what is copied after this stays behind.
    fence(Ordering::SeqCst);
    let owner = fiber.owner();
    // In this order: see `Remote::runs`.
    let runs = owner.runs(fiber);
    let switches = owner.switches();
    let waits =
        matches!(fiber.state.get(), FiberState::Suspending | FiberState::Suspended | FiberState::Ready);
    fence(Ordering::SeqCst);
    (waits && !runs).then_some(Stand { owner: ptr::from_ref(owner), switches })
}
