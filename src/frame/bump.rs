//! A bump: where the next allocation of one worker, in one frame, will lie.
//!
//! ```text
//!    memory            cursor                 end          of the block in use
//!    | handed out      | free                 |
//! ```
//!
//! Only one thread at a time moves a bump: the worker that it belongs to, the holder of the lock around it, or the one who
//! ends the frame. The words are atomics because anybody may read how far they are; they are moved by plain loads and
//! stores, with relaxed ordering, and order nothing.

#![expect(unsafe_code, reason = "hands out raw memory")]

use super::block::{Block, Chain, HEADER_BYTES};
use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

/// See the [module](self).
pub(super) struct Bump {
    /// The first free byte, or null if there is no block. Written by the owner, read by those who ask for the bytes in use.
    cursor: AtomicPtr<u8>,
    /// The first byte behind the block in use, or null. As `cursor`.
    end: AtomicPtr<u8>,
    /// The first byte of that block's memory, or null. As `cursor`.
    start: AtomicPtr<u8>,
    /// Bytes that were used in other blocks of this frame. As `cursor`.
    closed_bytes: AtomicUsize,
    /// The blocks that the frame has through this bump. The owner's alone.
    blocks: UnsafeCell<Blocks>,
}

#[derive(Default)]
struct Blocks {
    /// The last one is in use.
    plain: Chain,
    oversize: Chain,
}

// SAFETY: the blocks are touched by the owner alone, which the callers of the unsafe methods answer for.
unsafe impl Sync for Bump {}

impl Bump {
    pub(super) fn new() -> Self {
        Self {
            cursor: AtomicPtr::new(ptr::null_mut()),
            end: AtomicPtr::new(ptr::null_mut()),
            start: AtomicPtr::new(ptr::null_mut()),
            closed_bytes: AtomicUsize::new(0),
            blocks: UnsafeCell::default(),
        }
    }

    /// Memory for `layout`, whose size is not 0, out of the block in use; `None` if it has no room.
    ///
    /// # Safety
    ///
    /// The caller is the owner: nobody else is in an unsafe method of this bump.
    #[inline]
    pub(super) unsafe fn take(&self, layout: Layout) -> Option<NonNull<u8>> {
        let (cursor, end) = (self.cursor.load(Relaxed), self.end.load(Relaxed));
        let padding = cursor.addr().wrapping_neg() & (layout.align() - 1);
        // No overflow: a layout's size, rounded up to its alignment, is at most isize::MAX.
        let bytes = padding + layout.size();
        if bytes > end.addr() - cursor.addr() {
            return None;
        }
        // SAFETY: there are this many bytes up to the end of the block; so the cursor is not null.
        unsafe {
            self.cursor.store(cursor.add(bytes), Relaxed);
            Some(NonNull::new_unchecked(cursor.add(padding)))
        }
    }

    /// Lets the newest allocation have `new_bytes` instead of `old_bytes`, in place; its start, or `None` if it is not
    /// the newest or there is no room.
    ///
    /// # Safety
    ///
    /// 1. The caller is the owner, as for [`take`](Self::take).
    /// 2. `allocation` is the start of memory of `old_bytes`, not 0, that some frame has handed out, and that
    ///    nobody uses behind `new_bytes`.
    #[inline]
    pub(super) unsafe fn resize(
        &self,
        allocation: NonNull<u8>,
        old_bytes: usize,
        new_bytes: usize,
    ) -> Option<NonNull<u8>> {
        let (cursor, end) = (self.cursor.load(Relaxed), self.end.load(Relaxed));
        // Addresses tell: in front of each block's memory is its header, so no memory of another block ends here.
        if allocation.addr().get() + old_bytes != cursor.addr()
            || new_bytes > end.addr() - allocation.addr().get()
        {
            return None;
        }
        // SAFETY: the allocation lies in the block in use, right before the cursor. The new cursor is not behind the end.
        unsafe {
            let start = cursor.sub(old_bytes);
            self.cursor.store(start.add(new_bytes), Relaxed);
            Some(NonNull::new_unchecked(start))
        }
    }

    /// Goes on in a fresh block.
    ///
    /// # Safety
    ///
    /// The caller is the owner, as for [`take`](Self::take).
    pub(super) unsafe fn install(&self, block: Block) {
        // SAFETY: promised by the caller.
        let blocks = unsafe { &mut *self.blocks.get() };
        self.close(blocks);
        self.start.store(block.memory().as_ptr(), Relaxed);
        self.cursor.store(block.memory().as_ptr(), Relaxed);
        self.end.store(block.end().as_ptr(), Relaxed);
        blocks.plain.push(block);
    }

    /// Takes memory for `layout` from a block of its own, which has room for it.
    ///
    /// # Safety
    ///
    /// The caller is the owner, as for [`take`](Self::take).
    pub(super) unsafe fn add_oversize(&self, mut block: Block, layout: Layout) -> NonNull<u8> {
        let padding = block.memory().addr().get().wrapping_neg() & (layout.align() - 1);
        let used = padding + layout.size();
        assert!(used <= block.bytes() - HEADER_BYTES, "the block was chosen for this layout");
        block.set_used(used);
        // SAFETY: within the block's memory.
        let allocation = unsafe { block.memory().add(padding) };
        self.closed_bytes.store(self.closed_bytes.load(Relaxed) + used, Relaxed);
        // SAFETY: promised by the caller.
        unsafe { &mut *self.blocks.get() }.oversize.push(block);
        allocation
    }

    /// The frame is over: nothing more is handed out. The bytes that were used.
    ///
    /// # Safety
    ///
    /// The caller is the owner, as for [`take`](Self::take), and nothing of the frame's memory is borrowed.
    pub(super) unsafe fn seal(&self) -> usize {
        // SAFETY: promised by the caller.
        let blocks = unsafe { &mut *self.blocks.get() };
        self.close(blocks);
        if cfg!(debug_assertions) {
            blocks.plain.for_each(Block::poison);
            blocks.oversize.for_each(Block::poison);
        }
        self.closed_bytes.swap(0, Relaxed)
    }

    /// Takes a block out, until there is none.
    ///
    /// # Safety
    ///
    /// The caller is the owner, as for [`take`](Self::take), and has sealed the bump.
    pub(super) unsafe fn pop_block(&self) -> Option<Block> {
        // SAFETY: promised by the caller.
        let blocks = unsafe { &mut *self.blocks.get() };
        blocks.plain.pop().or_else(|| blocks.oversize.pop())
    }

    /// Ends the use of the current block.
    fn close(&self, blocks: &mut Blocks) {
        let (start, cursor) = (self.start.load(Relaxed), self.cursor.load(Relaxed));
        if let Some(block) = blocks.plain.newest_mut().filter(|_| !start.is_null()) {
            let used = cursor.addr() - start.addr();
            block.set_used(used);
            self.closed_bytes.store(self.closed_bytes.load(Relaxed) + used, Relaxed);
        }
        for word in [&self.start, &self.cursor, &self.end] {
            word.store(ptr::null_mut(), Relaxed);
        }
    }

    /// How many bytes were handed out, padding included. Exact if nobody allocates meanwhile.
    pub(super) fn used_bytes(&self) -> usize {
        let (start, cursor, end) =
            (self.start.load(Relaxed), self.cursor.load(Relaxed), self.end.load(Relaxed));
        // The three may be of different blocks, if the owner is about to change it.
        let consistent = start <= cursor && cursor <= end;
        let open = if consistent { cursor.addr() - start.addr() } else { 0 };
        self.closed_bytes.load(Relaxed).saturating_add(open)
    }
}

#[cfg(test)]
mod tests;
