//! `&Frame` as an allocator: vectors, boxes and maps in a frame.

#![expect(unsafe_code, reason = "implements an unsafe trait")]

use super::Frame;
use allocator_api2::alloc::{AllocError, Allocator};
use std::alloc::Layout;
use std::ptr::{self, NonNull};

/// Memory out of the frame.
///
/// What is deallocated comes back at once if it was the newest allocation of the thread, and otherwise when the frame
/// ends; the newest one also grows and shrinks in place. What is larger than a block of the arenas has a block of its own, of the next
/// power of two, and does neither: it comes back when the frame ends.
// SAFETY: 1. Memory that was handed out stays valid until the frame is dropped or the memory is deallocated; the frame
// cannot be dropped or moved while a `&Frame` is there. 2. Copies of a `&Frame` are the same allocator, and moving one
// changes nothing. 3. Any copy accepts the memory of any other, on any thread: a thread that does not find it at
// its own cursor leaves it to the end of the frame.
unsafe impl Allocator for &Frame {
    #[inline]
    fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, AllocError> {
        let memory = self.try_reserve(layout).map_err(|_| AllocError)?;
        Ok(NonNull::slice_from_raw_parts(memory, layout.size()))
    }

    #[inline]
    unsafe fn deallocate(&self, memory: NonNull<u8>, layout: Layout) {
        if layout.size() != 0 {
            // SAFETY: the caller gives up memory of this size; `with_bump` makes this thread the bump's owner.
            self.shared().with_bump(self.cell(), |bump| unsafe { bump.resize(memory, layout.size(), 0) });
        }
    }

    #[inline]
    unsafe fn grow(
        &self,
        memory: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        debug_assert!(new.size() >= old.size(), "promised by the caller");
        if old.size() != 0 && memory.addr().get() & (new.align() - 1) == 0 {
            // SAFETY: the caller has memory of this size; `with_bump` makes this thread the bump's owner.
            let grown = self
                .shared()
                .with_bump(self.cell(), |bump| unsafe { bump.resize(memory, old.size(), new.size()) });
            if let Some(memory) = grown {
                return Ok(NonNull::slice_from_raw_parts(memory, new.size()));
            }
        }
        let fresh = self.allocate(new)?;
        // SAFETY: both are of at least the old size, and the fresh one overlaps nothing.
        unsafe { ptr::copy_nonoverlapping(memory.as_ptr(), fresh.cast::<u8>().as_ptr(), old.size()) };
        // The old memory is not the newest any more: it stays until the frame ends.
        Ok(fresh)
    }

    #[inline]
    unsafe fn grow_zeroed(
        &self,
        memory: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        // SAFETY: promised by the caller.
        let grown = unsafe { self.grow(memory, old, new)? };
        // SAFETY: what lies behind the old size belongs to the caller, who has not written it yet.
        unsafe { grown.cast::<u8>().as_ptr().add(old.size()).write_bytes(0, new.size() - old.size()) };
        Ok(grown)
    }

    #[inline]
    unsafe fn shrink(
        &self,
        memory: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Result<NonNull<[u8]>, AllocError> {
        debug_assert!(new.size() <= old.size(), "promised by the caller");
        if memory.addr().get() & (new.align() - 1) != 0 {
            // Rare: smaller, and of a greater alignment than it happens to have.
            let fresh = self.allocate(new)?;
            // SAFETY: both are of at least the new size, and the fresh one overlaps nothing.
            unsafe { ptr::copy_nonoverlapping(memory.as_ptr(), fresh.cast::<u8>().as_ptr(), new.size()) };
            return Ok(fresh);
        }
        let mut memory = memory;
        if old.size() != 0 {
            // SAFETY: the caller has memory of the old size and gives up what is behind the new one.
            let shrunk = self
                .shared()
                .with_bump(self.cell(), |bump| unsafe { bump.resize(memory, old.size(), new.size()) });
            // If it is not the newest, what is behind the new size stays until the frame ends.
            memory = shrunk.unwrap_or(memory);
        }
        Ok(NonNull::slice_from_raw_parts(memory, new.size()))
    }
}
