//! A coroutine stack whose top is coloured: moved down from the page's end, by an amount that differs from
//! stack to stack.
//!
//! Stacks that all end at a page boundary keep their hottest lines in the same few sets of the first-level
//! cache, and push each other out of it when many coroutines take turns.
#![expect(unsafe_code, reason = "implements corosensei's unsafe trait for stacks")]

use corosensei::stack::{DefaultStack, MIN_STACK_SIZE, STACK_ALIGNMENT, Stack, StackPointer};

/// The distance between two colours: a cache line.
const COLOUR_BYTES: usize = 64;
/// All colours lie within 1 KiB.
const COLOURS: usize = 16;

const _: () = assert!(COLOUR_BYTES.is_multiple_of(STACK_ALIGNMENT));

/// A stack of corosensei's own kind with a coloured top.
pub(crate) struct ColouredStack {
    stack: DefaultStack,
    base: StackPointer,
}

impl ColouredStack {
    /// Maps a stack of at least `bytes`, with the colour that suits the `index`-th of many.
    ///
    /// # Panics
    /// If there is no memory, or no mapping left.
    pub(crate) fn new(bytes: usize, index: usize) -> ColouredStack {
        assert!(bytes >= MIN_STACK_SIZE + COLOUR_BYTES * COLOURS, "the colours need room");
        let stack = DefaultStack::new(bytes).expect("there is memory for the stack");
        let base = stack.base().get() - index % COLOURS * COLOUR_BYTES;
        ColouredStack { stack, base: StackPointer::new(base).expect("a stack is not at address zero") }
    }
}

// SAFETY: the guard page is the inner stack's, whose limit is passed on. The base is the inner one's less at
// most 1 KiB, a multiple of the alignment, and `new` has checked that MIN_STACK_SIZE bytes are left below it.
unsafe impl Stack for ColouredStack {
    fn base(&self) -> StackPointer {
        self.base
    }

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
