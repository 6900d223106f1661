//! The stacks that fibers run on, and each worker's store of free ones.
//!
//! On Unix they lie in slabs, see `memory/stacks.rs`. Elsewhere corosensei allocates them one by one.

#![expect(unsafe_code, reason = "implements corosensei's stack trait")]
#![cfg_attr(shuttle, allow(dead_code))]

use corosensei::stack::{Stack, StackPointer};
use std::cell::Cell;

/// A stack could not be had from the operating system.
#[derive(Debug)]
pub(crate) struct StackError(pub(crate) std::io::Error);

/// The smallest stack that [`Builder::stack_size`](crate::Builder::stack_size) accepts.
pub(crate) const STACK_BYTES_MIN: usize = 16 * 1024;
/// Free stacks of one size that a worker keeps for itself at the most.
const CACHE_MAX: usize = 512;

#[cfg(unix)]
#[cfg_attr(shuttle, expect(unused_imports, reason = "fibers are threads"))]
pub(crate) use slab::{FiberStack, Stacks};
#[cfg(unix)]
mod slab {
    use super::{CACHE_MAX, Cell, Stack, StackError, StackPointer};
    use crate::memory::stacks::{StackClass, StackMemory};

    /// A stack of a fiber, or of a job that asked for a large one.
    pub(crate) struct FiberStack {
        memory: StackMemory,
        class: &'static StackClass,
    }

    // SAFETY: the class gives out each stack once, with at least `stack_bytes` between the guard, which is above
    // `limit`, and `base`, whose colour keeps the alignment.
    unsafe impl Stack for FiberStack {
        #[inline]
        fn base(&self) -> StackPointer {
            StackPointer::new(self.memory.base()).expect("stacks are far from zero")
        }

        #[inline]
        fn limit(&self) -> StackPointer {
            StackPointer::new(self.class.limit(&self.memory)).expect("stacks are far from zero")
        }
    }

    /// A worker's free stacks of one size. The stacks in `memory/stacks.rs` are everybody's.
    #[derive(Default)]
    struct Store {
        class: Cell<Option<&'static StackClass>>,
        free: Cell<Vec<StackMemory>>,
        /// The fewest that were free since the last [`trim`](Self::trim).
        low: Cell<usize>,
    }

    impl Store {
        /// A stack; if there is none, `batch` of them are had at once.
        fn take(&self, batch: fn(&StackClass) -> usize) -> Result<FiberStack, StackError> {
            let class = self.class.get().expect("the worker has joined a system");
            let mut free = self.free.take();
            let taken = if free.is_empty() { class.take(batch(class), &mut free) } else { Ok(()) };
            let memory = free.pop();
            self.low.set(self.low.get().min(free.len()));
            self.free.set(free);
            match memory {
                Some(memory) => Ok(FiberStack { memory, class }),
                None => Err(StackError(taken.expect_err("a stack was taken"))),
            }
        }

        fn give(&self, stack: FiberStack) {
            let mut free = self.free.take();
            free.push(stack.memory);
            if free.len() > CACHE_MAX {
                stack.class.give(free.drain(..CACHE_MAX / 2), true);
            }
            self.free.set(free);
        }

        /// Gives the newest `count` free stacks back, and their memory too unless it is to be kept.
        fn give_back(&self, count: usize, keeps_memory: bool) {
            let mut free = self.free.take();
            let count = count.min(free.len());
            if let Some(class) = self.class.get().filter(|_| count > 0) {
                let from = free.len() - count;
                class.give(free.drain(from..), keeps_memory);
            }
            self.low.set(self.low.get().min(free.len()));
            self.free.set(free);
        }

        /// Gives what was not needed since the last call back, but for `keep` stacks; whether there may be more next time.
        fn trim(&self, keep: usize) -> bool {
            let spare = self.low.get().saturating_sub(keep);
            self.give_back(spare, false);
            let free = self.free.take();
            self.low.set(free.len());
            let more = free.len() > keep;
            self.free.set(free);
            more
        }
    }

    /// A worker's free stacks.
    #[derive(Default)]
    pub(crate) struct Stacks {
        normal: Store,
        large: Store,
    }

    impl Stacks {
        /// Large stacks that a worker keeps although it has not needed them for a while.
        const LARGE_KEPT: usize = 2;

        /// From now on the worker's stacks have these sizes. There are no free ones.
        pub(crate) fn set_sizes(&self, normal_bytes: usize, large_bytes: usize) {
            self.normal.class.set(Some(StackClass::of(normal_bytes)));
            self.large.class.set(Some(StackClass::of(large_bytes)));
        }

        /// A stack for a fiber.
        pub(crate) fn take(&self) -> Result<FiberStack, StackError> {
            self.normal.take(StackClass::batch)
        }

        pub(crate) fn give(&self, stack: FiberStack) {
            self.normal.give(stack);
        }

        /// A stack for a job that asked for a large one.
        pub(crate) fn take_large(&self) -> Result<FiberStack, StackError> {
            self.large.take(|_| 1)
        }

        pub(crate) fn give_large(&self, stack: FiberStack) {
            self.large.give(stack);
        }

        /// Gives the memory of the newest `count` free stacks for fibers back.
        pub(crate) fn discard_newest(&self, count: usize) {
            self.normal.give_back(count, false);
        }

        /// Gives the memory of large stacks that were not needed since the last call back; whether there may be more.
        pub(crate) fn trim_large(&self) -> bool {
            self.large.trim(Self::LARGE_KEPT)
        }

        /// Whether there are large stacks that could be given back one day.
        pub(crate) fn has_spare_large(&self) -> bool {
            let free = self.large.free.take();
            let count = free.len();
            self.large.free.set(free);
            count > Self::LARGE_KEPT
        }

        /// Gives all free stacks back: somebody else needs one, or the worker's system has ended.
        pub(crate) fn give_all_back(&self) {
            self.normal.give_back(usize::MAX, true);
            self.large.give_back(usize::MAX, false);
        }
    }
}

#[cfg(not(unix))]
pub(crate) use single::{FiberStack, Stacks};
#[cfg(not(unix))]
mod single {
    use super::{CACHE_MAX, Cell, Stack, StackError, StackPointer};
    use corosensei::stack::DefaultStack;

    /// A stack of a fiber, or of a job that asked for a large one.
    pub(crate) struct FiberStack {
        stack: DefaultStack,
    }

    // SAFETY: passes on what the inner stack says.
    unsafe impl Stack for FiberStack {
        #[inline]
        fn base(&self) -> StackPointer {
            self.stack.base()
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

    #[derive(Default)]
    struct Store {
        bytes: Cell<usize>,
        free: Cell<Vec<FiberStack>>,
    }

    impl Store {
        fn take(&self) -> Result<FiberStack, StackError> {
            let mut free = self.free.take();
            let found = free.pop();
            self.free.set(free);
            match found {
                Some(stack) => Ok(stack),
                None => Ok(FiberStack { stack: DefaultStack::new(self.bytes.get()).map_err(StackError)? }),
            }
        }

        fn give(&self, stack: FiberStack) {
            let mut free = self.free.take();
            if free.len() < CACHE_MAX {
                free.push(stack);
            }
            self.free.set(free);
        }
    }

    /// A worker's free stacks.
    #[derive(Default)]
    pub(crate) struct Stacks {
        normal: Store,
        large: Store,
    }

    impl Stacks {
        pub(crate) fn set_sizes(&self, normal_bytes: usize, large_bytes: usize) {
            self.normal.bytes.set(normal_bytes);
            self.large.bytes.set(large_bytes);
        }

        pub(crate) fn take(&self) -> Result<FiberStack, StackError> {
            self.normal.take()
        }

        pub(crate) fn give(&self, stack: FiberStack) {
            self.normal.give(stack);
        }

        pub(crate) fn take_large(&self) -> Result<FiberStack, StackError> {
            self.large.take()
        }

        pub(crate) fn give_large(&self, stack: FiberStack) {
            self.large.give(stack);
        }

        pub(crate) fn discard_newest(&self, count: usize) {
            let mut free = self.normal.free.take();
            free.truncate(free.len().saturating_sub(count));
            self.normal.free.set(free);
        }

        pub(crate) fn trim_large(&self) -> bool {
            let mut free = self.large.free.take();
            free.truncate(2);
            self.large.free.set(free);
            false
        }

        pub(crate) fn has_spare_large(&self) -> bool {
            let free = self.large.free.take();
            let count = free.len();
            self.large.free.set(free);
            count > 2
        }

        pub(crate) fn give_all_back(&self) {
            drop(self.normal.free.take());
            drop(self.large.free.take());
        }
    }
}
