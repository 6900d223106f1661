//! Blocks: what frames are made of, straight from the system allocator.
//!
//! ```text
//!    0         64                                                  bytes
//!    | header  | memory that is handed out                             |
//! ```
//!
//! A block has one owner at a time, who alone touches its header: a worker's bump, or a locked one, while a frame uses
//! it; the pool, under its lock, in between. So blocks stand in lists without any memory besides their own.

#![expect(unsafe_code, reason = "headers inside of raw memory")]

use std::alloc::{self, Layout};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Every block begins at a multiple of this, and so does its memory: no cache line is shared between blocks.
pub(super) const BLOCK_ALIGN: usize = 64;

/// Bytes in front of a block's memory.
pub(super) const HEADER_BYTES: usize = size_of::<BlockHeader>();

/// What freed memory is filled with in builds with debug assertions, so that what was kept too long is not taken for alive.
#[cfg(debug_assertions)]
pub(super) const POISON: u8 = 0xDD;

/// See the [module](self).
#[repr(C, align(64))]
pub(super) struct BlockHeader {
    /// The next in the owner's list, or null.
    next: *mut BlockHeader,
    /// Of the whole block.
    bytes: usize,
    /// How much of the memory the frame has used. Written when the frame is done with the block.
    used_bytes: usize,
    /// Whether the block was made for one large allocation.
    oversize: bool,
}

const _: () = assert!(HEADER_BYTES == BLOCK_ALIGN);

/// A block, owned by whoever holds this.
#[derive(Debug)]
pub(super) struct Block(NonNull<BlockHeader>);

// SAFETY: a block is memory that only its owner touches.
unsafe impl Send for Block {}

/// Bytes of all blocks.
static KEPT_BYTES: AtomicUsize = AtomicUsize::new(0);

/// Bytes that all arenas of the process keep, in use or not.
pub(crate) fn kept_bytes() -> usize {
    KEPT_BYTES.load(Ordering::Relaxed)
}

impl Block {
    /// A block of this many bytes, header included; `None` if there is no memory.
    pub(super) fn allocate(bytes: usize, oversize: bool) -> Option<Block> {
        let layout = Layout::from_size_align(bytes, BLOCK_ALIGN).ok()?;
        assert!(bytes > HEADER_BYTES, "a block has room for more than its header");
        // SAFETY: the layout is not of size 0.
        let start = NonNull::new(unsafe { alloc::alloc(layout) })?.cast::<BlockHeader>();
        // SAFETY: fresh memory, aligned and large enough for the header.
        unsafe { start.write(BlockHeader { next: ptr::null_mut(), bytes, used_bytes: 0, oversize }) };
        KEPT_BYTES.fetch_add(bytes, Ordering::Relaxed);
        Some(Block(start))
    }

    /// Gives the memory back.
    pub(super) fn free(self) {
        KEPT_BYTES.fetch_sub(self.bytes(), Ordering::Relaxed);
        let layout = Layout::from_size_align(self.bytes(), BLOCK_ALIGN).expect("it was one before");
        // SAFETY: allocated in `allocate` with this layout, and its owner gives it up.
        unsafe { alloc::dealloc(self.0.as_ptr().cast(), layout) };
    }

    pub(super) fn bytes(&self) -> usize {
        self.header().bytes
    }

    pub(super) fn is_oversize(&self) -> bool {
        self.header().oversize
    }

    /// The first byte that is handed out. May be used for the whole of the block's memory.
    pub(super) fn memory(&self) -> NonNull<u8> {
        // SAFETY: the header is a part of the block.
        unsafe { self.0.cast::<u8>().add(HEADER_BYTES) }
    }

    /// The first byte behind the block.
    pub(super) fn end(&self) -> NonNull<u8> {
        // SAFETY: one past the end of the block.
        unsafe { self.0.cast::<u8>().add(self.bytes()) }
    }

    /// The frame has used the first bytes of the memory and nothing else.
    pub(super) fn set_used(&mut self, bytes: usize) {
        debug_assert!(bytes <= self.bytes() - HEADER_BYTES);
        // SAFETY: the owner holds the block.
        unsafe { (*self.0.as_ptr()).used_bytes = bytes };
    }

    /// The frame is over: in builds with debug assertions what it has used is overwritten.
    pub(super) fn poison(&mut self) {
        #[cfg(debug_assertions)]
        // SAFETY: a part of the block's memory, which nobody borrows any more.
        unsafe {
            self.memory().as_ptr().write_bytes(POISON, self.header().used_bytes);
        }
    }

    fn header(&self) -> &BlockHeader {
        // SAFETY: initialised by `allocate`; the owner holds the block, and memory that is handed out lies behind it.
        unsafe { self.0.as_ref() }
    }
}

/// A list of blocks, which owns them.
#[derive(Debug, Default)]
pub(super) struct Chain {
    head: Option<Block>,
}

impl Chain {
    pub(super) fn push(&mut self, block: Block) {
        let next = self.head.take().map_or(ptr::null_mut(), |head| head.0.as_ptr());
        // SAFETY: the block was handed over.
        unsafe { (*block.0.as_ptr()).next = next };
        self.head = Some(block);
    }

    pub(super) fn pop(&mut self) -> Option<Block> {
        let block = self.head.take()?;
        self.head = NonNull::new(block.header().next).map(Block);
        Some(block)
    }

    /// The block that was pushed last.
    pub(super) fn newest_mut(&mut self) -> Option<&mut Block> {
        self.head.as_mut()
    }

    /// Calls `f` with each block.
    pub(super) fn for_each(&mut self, f: impl Fn(&mut Block)) {
        let mut at = self.head.as_ref().map(|head| head.0);
        while let Some(header) = at {
            let mut block = Block(header);
            f(&mut block);
            at = NonNull::new(block.header().next);
            // The list goes on owning it; a `Block` has no destructor.
        }
    }
}

impl Drop for Chain {
    fn drop(&mut self) {
        while let Some(block) = self.pop() {
            block.free();
        }
    }
}
