//! One bump, used by one thread.
#![cfg(not(any(loom, shuttle)))]
#![expect(unsafe_code, reason = "the owner's operations")]

use super::super::block::{BLOCK_ALIGN, Block, HEADER_BYTES};
use super::Bump;
use std::alloc::Layout;
use std::ptr::NonNull;

const BLOCK_BYTES: usize = 4096;

/// A bump with a block, which is given back at the end.
struct Owned(Bump);

impl Owned {
    fn new() -> Self {
        let bump = Bump::new();
        // SAFETY: these tests use a bump from one thread only; so below.
        unsafe { bump.install(block()) };
        Self(bump)
    }

    fn take(&self, bytes: usize, align: usize) -> Option<NonNull<u8>> {
        // SAFETY: as above.
        unsafe { self.0.take(layout(bytes, align)) }
    }

    fn resize(&self, start: NonNull<u8>, old: usize, new: usize) -> Option<NonNull<u8>> {
        // SAFETY: as above; the tests pass what they have taken.
        unsafe { self.0.resize(start, old, new) }
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe {
            self.0.seal();
            while let Some(block) = self.0.pop_block() {
                block.free();
            }
        }
    }
}

fn block() -> Block {
    Block::allocate(BLOCK_BYTES, false).expect("there is memory")
}

fn layout(bytes: usize, align: usize) -> Layout {
    Layout::from_size_align(bytes, align).expect("a layout")
}

#[test]
fn a_bump_without_a_block_has_no_room() {
    let bump = Bump::new();
    for (bytes, align) in [(1, 1), (8, 8), (isize::MAX as usize, 1), (1, 1 << 62)] {
        // SAFETY: one thread.
        assert_eq!(unsafe { bump.take(layout(bytes, align)) }, None);
    }
    assert_eq!(bump.used_bytes(), 0);
    // SAFETY: one thread.
    assert!(unsafe { bump.seal() == 0 && bump.pop_block().is_none() });
}

#[test]
fn a_block_is_handed_out_to_its_last_byte_and_no_further() {
    let owned = Owned::new();
    let room = BLOCK_BYTES - HEADER_BYTES;
    let all = owned.take(room, BLOCK_ALIGN).expect("a fresh block is aligned");
    assert_eq!(owned.0.used_bytes(), room);
    assert_eq!(owned.take(1, 1), None);
    // All of it is memory.
    // SAFETY: taken above.
    unsafe { all.as_ptr().write_bytes(1, room) };
    assert!(owned.resize(all, room, room - 1).is_some());
    assert_eq!(owned.take(2, 1), None);
    assert_eq!(owned.take(1, 2), None, "the last byte's address is odd");
    assert!(owned.take(1, 1).is_some());
}

#[test]
fn alignments_are_kept_and_overflow_nothing() {
    let owned = Owned::new();
    let mut end = 0;
    for align in [1, 2, 64, 4, 256, 8, 1, 1024] {
        let start = owned.take(3, align).expect("there is room").addr().get();
        assert!(start % align == 0 && start >= end);
        end = start + 3;
    }
    for (bytes, align) in [(isize::MAX as usize, 1), (1, 1 << 62), (isize::MAX as usize - 4095, 4096)] {
        assert_eq!(owned.take(bytes, align), None);
    }
}

#[test]
fn only_the_newest_allocation_changes_its_size_in_place() {
    let owned = Owned::new();
    let first = owned.take(100, 4).expect("there is room");
    let second = owned.take(100, 4).expect("there is room");
    assert_eq!(owned.resize(first, 100, 200), None);
    assert_eq!(owned.resize(first, 100, 0), None, "it stays until the end");
    assert_eq!(owned.resize(second, 100, 300), Some(second));
    assert_eq!(owned.resize(second, 300, BLOCK_BYTES), None, "there is no room");
    assert_eq!(owned.resize(second, 300, 8), Some(second));
    assert_eq!(owned.take(4, 4).map(|third| third.addr().get()), Some(second.addr().get() + 8));
    assert_eq!(owned.0.used_bytes(), 112);
}

/// Blocks that happen to be neighbours are never taken for one.
#[test]
fn memory_of_another_block_is_not_the_newest() {
    let (one, other) = (Owned::new(), Owned::new());
    let full = one.take(BLOCK_BYTES - HEADER_BYTES, 1).expect("there is room");
    assert_eq!(other.resize(full, BLOCK_BYTES - HEADER_BYTES, 1), None);
    assert_eq!(other.0.used_bytes(), 0);
}

#[test]
fn every_block_comes_back_and_every_byte_is_counted() {
    let bump = Bump::new();
    // SAFETY: one thread, and blocks with room for what is taken.
    unsafe {
        bump.install(block());
        bump.take(layout(1000, 1)).expect("there is room");
        let large = Block::allocate(1 << 16, true).expect("there is memory");
        let memory = bump.add_oversize(large, layout(60_000, 1024));
        assert_eq!(memory.addr().get() % 1024, 0);
        memory.as_ptr().write_bytes(1, 60_000);
        assert!(bump.take(layout(1000, 1)).is_some(), "the block in use is still in use");
        bump.install(block());
        bump.take(layout(500, 1)).expect("there is room");
        let padding = bump.used_bytes() - 62_500;
        assert!(padding < 1024);
        assert_eq!(bump.seal(), 62_500 + padding);
        assert_eq!(bump.used_bytes(), 0);
        let mut oversize = 0;
        for _ in 0..3 {
            let block = bump.pop_block().expect("there were three");
            oversize += usize::from(block.is_oversize());
            block.free();
        }
        assert_eq!(oversize, 1);
        assert!(bump.pop_block().is_none());
    }
}

#[cfg(debug_assertions)]
#[test]
fn what_was_used_is_poisoned_and_no_more() {
    use super::super::block::POISON;
    let bump = Bump::new();
    // SAFETY: one thread; the block is alive while its memory is read.
    unsafe {
        let block = block();
        let memory = block.memory();
        memory.as_ptr().write_bytes(7, BLOCK_BYTES - HEADER_BYTES);
        bump.install(block);
        bump.take(layout(100, 1)).expect("there is room");
        bump.seal();
        let block = bump.pop_block().expect("it was installed");
        for at in 0..BLOCK_BYTES - HEADER_BYTES {
            assert_eq!(memory.add(at).read(), if at < 100 { POISON } else { 7 }, "byte {at}");
        }
        block.free();
    }
}
