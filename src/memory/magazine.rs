//! Magazines: arrays of pointers to free slots, and the stacks that they lie in while no thread has them.
//!
//! A stack is Treiber's (1986), with a word of `tag << 32 | id of the topmost magazine`. The tag is incremented by every pop,
//! and magazines are never freed, so reading the link of one that somebody else has just popped is a stale read and not
//! a fault.

#![expect(unsafe_code, reason = "hands out references into chunks that live for ever")]

use super::node::Node;
use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Pointers that a magazine has room for: it is eight cache lines large.
pub(super) const ROUNDS_MAX: usize = 62;

const INDEX_BITS: u32 = 9;
const CHUNK_LEN: usize = 1 << INDEX_BITS;
/// Room for 2^24 magazines. All slots that there can be, which are fewer than 2^29, fill 2^23.1 of them, and besides there are two for each
/// thread and type.
const CHUNKS_MAX: usize = 1 << 15;

type Chunk = [MaybeUninit<Magazine>; CHUNK_LEN];

/// Id -> its magazine, by chunks; chunk 0 is never used, so that id 0 means 'none'.
static CHUNKS: [AtomicPtr<Chunk>; CHUNKS_MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS_MAX];
/// Magazines made so far, as the id of the next one.
static NEXT_ID: AtomicUsize = AtomicUsize::new(CHUNK_LEN);
/// Magazines without slots, which serve any type.
static EMPTY: Stack = Stack::new();

/// See the [module](self).
#[repr(C, align(64))]
pub(super) struct Magazine {
    /// The id of the one below in the stack that this one is in.
    below: AtomicU32,
    id: u32,
    count: Cell<u32>,
    rounds: [Cell<*mut Node>; ROUNDS_MAX],
}

const _: () = assert!(size_of::<Magazine>() == 512);

// SAFETY: a magazine that is in a stack is read through its atomic fields alone; one that was popped is its popper's.
unsafe impl Sync for Magazine {}

impl Magazine {
    /// How many slots there are in it, as its last owner has said.
    pub(super) fn count(&self) -> u32 {
        self.count.get()
    }

    pub(super) fn set_count(&self, count: u32) {
        self.count.set(count);
    }

    #[inline]
    pub(super) fn get(&self, round: u32) -> *mut Node {
        debug_assert!((round as usize) < ROUNDS_MAX);
        // SAFETY: callers stay below the count, which is at most that of the array.
        unsafe { self.rounds.get_unchecked(round as usize) }.get()
    }

    #[inline]
    pub(super) fn put(&self, round: u32, slot: *mut Node) {
        debug_assert!((round as usize) < ROUNDS_MAX);
        // SAFETY: callers have looked whether there is room.
        unsafe { self.rounds.get_unchecked(round as usize) }.set(slot);
    }
}

/// The magazine with this id; `None` for 0.
fn magazine(id: u32) -> Option<&'static Magazine> {
    if id == 0 {
        return None;
    }
    // ORDERING: Acquire pairs with the Release in `make`.
    let chunk = CHUNKS[(id >> INDEX_BITS) as usize & (CHUNKS_MAX - 1)].load(Ordering::Acquire);
    // SAFETY: ids come from `make`, which has made the chunk and the magazine before; both live for ever.
    Some(unsafe { (*chunk)[id as usize & (CHUNK_LEN - 1)].assume_init_ref() })
}

/// A magazine without slots, for the caller alone.
pub(super) fn take_empty() -> &'static Magazine {
    EMPTY.pop().unwrap_or_else(make)
}

/// Nobody needs this magazine, which is empty.
pub(super) fn drop_empty(magazine: &'static Magazine) {
    debug_assert_eq!(magazine.count(), 0);
    EMPTY.push(magazine);
}

#[cold]
fn make() -> &'static Magazine {
    let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
    assert!(id < CHUNKS_MAX * CHUNK_LEN, "ramie: too many free jobs or fibers");
    let entry = &CHUNKS[id >> INDEX_BITS];
    // ORDERING: Acquire pairs with the Release below.
    let mut chunk = entry.load(Ordering::Acquire);
    if chunk.is_null() {
        // Whoever needs a place in a chunk makes it; of two that do so at once, the second gives its own back.
        let made: *mut Chunk = Box::into_raw(Box::<Chunk>::new_uninit()).cast();
        let other = entry.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire);
        chunk = match other {
            Ok(_) => made,
            Err(other) => {
                // SAFETY: made above, and nobody knows it.
                drop(unsafe { Box::from_raw(made.cast::<MaybeUninit<Chunk>>()) });
                other
            }
        };
    }
    let magazine = Magazine {
        below: AtomicU32::new(0),
        id: id as u32,
        count: Cell::new(0),
        rounds: [const { Cell::new(ptr::null_mut()) }; ROUNDS_MAX],
    };
    // SAFETY: the chunk lives for ever, and this place of it has been handed out to this thread alone. Its id goes to others by
    // the Release of a `push`.
    unsafe {
        let place = &raw mut (*chunk)[id & (CHUNK_LEN - 1)];
        place.write(MaybeUninit::new(magazine));
        (*place).assume_init_ref()
    }
}

/// See the [module](self).
#[repr(align(128))]
pub(super) struct Stack(AtomicU64);

impl Stack {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Adds a magazine, which is the caller's.
    pub(super) fn push(&self, magazine: &'static Magazine) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            magazine.below.store(word as u32, Ordering::Relaxed);
            let next = word & !0xffff_ffff | u64::from(magazine.id);
            // ORDERING: Release publishes the magazine, and what was done to its slots, to the Acquire in `pop`.
            match self.0.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Takes the topmost magazine, which is the caller's from then on.
    pub(super) fn pop(&self) -> Option<&'static Magazine> {
        // ORDERING: Acquire pairs with the Release in `push`.
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let top = magazine(word as u32)?;
            let below = top.below.load(Ordering::Relaxed);
            let next = (word >> 32).wrapping_add(1) << 32 | u64::from(below);
            match self.0.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(top),
                Err(now) => word = now,
            }
        }
    }
}
