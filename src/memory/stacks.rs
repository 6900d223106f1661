//! Stacks of one size: where they lie, which are free, and how deep they were used.
//!
//! ```text
//!   slab: one reservation                                     a stack of a slab, low addresses left
//!   +---------+---------+---------+-- ... --+                 +-------+------------------------+-----------+
//!   | stack 0 | stack 1 | stack 2 |         |                 | guard |  stack_bytes, or more  | colour... |
//!   +---------+---------+---------+-- ... --+                 +-------+------------------------+-----------+
//!                                                             limit                          base      (end of stack)
//! ```
//!
//! Slabs double in size up to 1 GiB of address space, are never given back, and cost nothing until their pages are touched.
//! A stack's **base** is moved down from the end by its colour, up to 960 bytes: bases that all lie at the end of a page
//! would share a few sets of the first-level cache.
//!
//! ```text
//!   worker's cache <──take── warm, cold <──────────────── nobody's, guarded, in order
//!        │                     ^   ^                              cursor
//!        └──────────give───────┘   └ memory was given back
//! ```
//!
//! Growing stops nobody: a thread takes the next indices by one compare-exchange and installs their guards by itself; a slab is
//! made by whoever needs it, and if two make the same one, the second gives its own back. The free lists are Treiber stacks of
//! indices with a tag against reuse; the links lie beside the slab and not in the stacks, whose pages may be gone.
//!
//! Stacks belong to the process: systems that end leave them to the next.

#![expect(unsafe_code, reason = "reserves address space and follows pointers to what is never freed")]
#![cfg_attr(shuttle, allow(dead_code, reason = "fibers are threads"))]

use crate::sys::unix;
use std::io;
use std::ptr;
// Stacks are no part of what model checkers explore: their fibers are threads.
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bases are spread over this many offsets of [`COLOUR_STEP_BYTES`] each.
const COLOUR_COUNT: usize = 16;
/// PERF: see bench `switch_many`, whose second figure has page-aligned bases.
const COLOUR_STEP_BYTES: usize = 64;
const COLOUR_BYTES: usize = COLOUR_COUNT * COLOUR_STEP_BYTES;
/// Stacks of the first slab.
const FIRST_SLAB_COUNT: usize = 16;
/// Address space of a slab, unless a single stack needs more.
const SLAB_BYTES_MAX: usize = 1 << 30;
/// Address space that making a slab leaves to the rest of the process, where it is limited: without it the next allocation of
/// anybody would be the process's end.
const HEADROOM_BYTES: usize = 32 << 20;
/// Used stacks that are taken at a time, at most: others may need them.
const USED_BATCH: usize = 8;
/// Slabs of a class.
const SLABS_MAX: usize = 4094;
/// The index of a stack in its slab, in its id.
const INDEX_BITS: u32 = 20;
/// Free stacks of a class that keep their memory, at most: what is more is given back.
const WARM_MAX: usize = 256;
/// The same in bytes, should all of them have been used to their full depth.
const WARM_BYTES_MAX: usize = 64 << 20;
/// Guards that are installed at a time, at most.
const GUARD_BATCH: usize = 64;
/// Pages that one look at the memory in use covers.
const LOOK_PAGES: usize = 16 * 1024;
/// The same where there may be little stack.
const LOOK_PAGES_FEW: usize = 2048;

/// The first of all classes; each points to the next. Classes are never freed.
static CLASSES: AtomicPtr<StackClass> = AtomicPtr::new(ptr::null_mut());

/// All stacks of one size. See the [module](self).
pub(crate) struct StackClass {
    /// What each stack has at least, a multiple of pages.
    stack_bytes: usize,
    /// From one stack to the next: guard, stack, colours.
    stride_bytes: usize,
    slabs: Box<[AtomicPtr<Slab>]>,
    /// `slab << 32 | index` of the first stack that was never handed out.
    cursor: AtomicU64,
    warm: FreeList,
    cold: FreeList,
    /// Stacks in `warm`, about.
    warm_count: AtomicUsize,
    /// Stacks that were ever handed out.
    made_count: AtomicUsize,
    /// Ids whose guards could not be installed yet.
    unguarded: Mutex<Vec<u32>>,
    high_water_bytes: AtomicUsize,
    next: *const StackClass,
}

// SAFETY: `next` is written before the class is published and points to a class, which is never freed.
unsafe impl Send for StackClass {}
// SAFETY: as above.
unsafe impl Sync for StackClass {}

struct Slab {
    base: usize,
    count: usize,
    /// For each stack the id of the next one in its free list.
    links: Box<[AtomicU32]>,
}

/// A stack that the holder may use.
#[derive(Debug)]
pub(crate) struct StackMemory {
    id: u32,
    /// See the module: the end less the colour.
    base: usize,
}

impl StackMemory {
    /// Where the stack begins; it grows downwards.
    #[inline]
    pub(crate) fn base(&self) -> usize {
        self.base
    }
}

/// What is known of the stacks of a class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) stack_bytes: usize,
    pub(crate) made_count: usize,
    pub(crate) high_water_bytes: usize,
}

impl StackClass {
    /// The class of stacks of at least this many bytes.
    pub(crate) fn of(stack_bytes: usize) -> &'static Self {
        let stack_bytes = stack_bytes.next_multiple_of(unix::page_bytes());
        let mut fresh: Option<Box<Self>> = None;
        loop {
            // ORDERING: Acquire pairs with the Release below.
            let head = CLASSES.load(Ordering::Acquire);
            if let Some(found) = classes_from(head).find(|class| class.stack_bytes == stack_bytes) {
                return found;
            }
            let mut class = fresh.take().unwrap_or_else(|| Box::new(Self::new(stack_bytes)));
            class.next = head;
            let class = Box::into_raw(class);
            match CLASSES.compare_exchange(head, class, Ordering::Release, Ordering::Relaxed) {
                // SAFETY: published, and so never freed or changed but through its atomics.
                Ok(_) => return unsafe { &*class },
                // SAFETY: made above and not published.
                Err(_) => fresh = Some(unsafe { Box::from_raw(class) }),
            }
        }
    }

    fn new(stack_bytes: usize) -> Self {
        let page = unix::page_bytes();
        Self {
            stack_bytes,
            stride_bytes: page + stack_bytes + COLOUR_BYTES.next_multiple_of(page),
            slabs: (0..SLABS_MAX).map(|_| AtomicPtr::new(ptr::null_mut())).collect(),
            cursor: AtomicU64::new(0),
            warm: FreeList::new(),
            cold: FreeList::new(),
            warm_count: AtomicUsize::new(0),
            made_count: AtomicUsize::new(0),
            unguarded: Mutex::new(Vec::new()),
            high_water_bytes: AtomicUsize::new(0),
            next: ptr::null(),
        }
    }

    /// How many stacks a worker should ask for that needs one: the more there are, the more.
    pub(crate) fn batch(&self) -> usize {
        (self.made_count.load(Ordering::Relaxed) / 4).clamp(1, GUARD_BATCH)
    }

    /// Adds up to `wanted` stacks to `into`, and at least one.
    pub(crate) fn take(&self, wanted: usize, into: &mut Vec<StackMemory>) -> io::Result<()> {
        let before = into.len();
        while into.len() < before + wanted.min(USED_BATCH) {
            let id = match self.warm.pop(self) {
                0 => self.cold.pop(self),
                id => {
                    self.warm_count.fetch_sub(1, Ordering::Relaxed);
                    id
                }
            };
            if id == 0 {
                break;
            }
            into.push(self.memory(id));
        }
        if into.len() > before { Ok(()) } else { self.make(wanted, into) }
    }

    /// Takes stacks back. Those that `keeps_memory` says so about, and that are not too many, stay as they are; the memory
    /// of the others is given back.
    pub(crate) fn give(&self, stacks: impl Iterator<Item = StackMemory>, keeps_memory: bool) {
        let mut ranges = [(0, 0); GUARD_BATCH];
        let mut ids = [0; GUARD_BATCH];
        let mut count = 0;
        let flush = |ranges: &[(usize, usize)], ids: &mut [u32]| {
            self.look_at_some(ids);
            // SAFETY: the stacks were given to this call, so nobody uses them.
            unsafe { unix::discard(ranges) };
            ids.iter().for_each(|&id| self.cold.push(self, id));
        };
        for stack in stacks {
            if keeps_memory && self.warm_count.load(Ordering::Relaxed) < self.warm_max() {
                self.warm_count.fetch_add(1, Ordering::Relaxed);
                self.warm.push(self, stack.id);
                continue;
            }
            let (low, end) = self.extent(stack.id);
            ranges[count] = (low, end - low);
            ids[count] = stack.id;
            count += 1;
            if count == GUARD_BATCH {
                flush(&ranges, &mut ids);
                count = 0;
            }
        }
        flush(&ranges[..count], &mut ids[..count]);
    }

    fn warm_max(&self) -> usize {
        WARM_MAX.min(WARM_BYTES_MAX / self.stack_bytes)
    }

    // --- growth ----------------------------------------------------------------------------

    /// Adds stacks that were never used, up to `wanted` and at least one.
    #[cold]
    fn make(&self, wanted: usize, into: &mut Vec<StackMemory>) -> io::Result<()> {
        let mut ids = [0; GUARD_BATCH];
        let count = self.take_ids(&mut ids[..wanted.clamp(1, GUARD_BATCH)])?;
        let mut guards = [0; GUARD_BATCH];
        for (guard, &id) in guards.iter_mut().zip(&ids[..count]) {
            *guard = self.low(id);
        }
        // SAFETY: a guard is the lowest page of a stack that nobody uses yet.
        let (guarded_count, result) = unsafe { unix::guard(&guards[..count]) };
        if guarded_count < count {
            // The operating system has no guards for now: this thread is about to fail.
            let mut unguarded = self.unguarded.lock().unwrap_or_else(PoisonError::into_inner);
            unguarded.extend_from_slice(&ids[guarded_count..count]);
        }
        into.extend(ids[..guarded_count].iter().map(|&id| self.memory(id)));
        self.made_count.fetch_add(guarded_count, Ordering::Relaxed);
        if guarded_count > 0 { Ok(()) } else { result }
    }

    /// Takes ids that were never handed out; how many.
    fn take_ids(&self, ids: &mut [u32]) -> io::Result<usize> {
        // Whoever is stopped with the lock stops nobody.
        if let Ok(mut unguarded) = self.unguarded.try_lock() {
            let count = unguarded.len().min(ids.len());
            if count > 0 {
                let from = unguarded.len() - count;
                ids[..count].copy_from_slice(&unguarded[from..]);
                unguarded.truncate(from);
                return Ok(count);
            }
        }
        let mut cursor = self.cursor.load(Ordering::Relaxed);
        loop {
            let (slab_index, first) = ((cursor >> 32) as usize, cursor as u32 as usize);
            let slab = self.slab_or_make(slab_index)?;
            let count = ids.len().min(slab.count - first);
            let next = if count == 0 { ((slab_index as u64) + 1) << 32 } else { cursor + count as u64 };
            match self.cursor.compare_exchange_weak(cursor, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) if count > 0 => {
                    for (id, index) in ids.iter_mut().zip(first..first + count) {
                        *id = (slab_index as u32 + 1) << INDEX_BITS | index as u32;
                    }
                    return Ok(count);
                }
                Ok(_) => cursor = next,
                Err(now) => cursor = now,
            }
        }
    }

    fn slab_or_make(&self, slab_index: usize) -> io::Result<&Slab> {
        let Some(place) = self.slabs.get(slab_index) else {
            return Err(io::Error::new(
                io::ErrorKind::OutOfMemory,
                "there are as many stacks of this size as are supported",
            ));
        };
        // ORDERING: Acquire pairs with the Release below.
        // SAFETY: null or a slab, which is never freed.
        if let Some(slab) = unsafe { place.load(Ordering::Acquire).as_ref() } {
            return Ok(slab);
        }
        let made = self.new_slab(slab_index)?;
        let made = Box::into_raw(Box::new(made));
        match place.compare_exchange(ptr::null_mut(), made, Ordering::AcqRel, Ordering::Acquire) {
            // SAFETY: published, and so never freed.
            Ok(_) => Ok(unsafe { &*made }),
            // SAFETY: ours was not published, and the other was.
            Err(theirs) => unsafe {
                let ours = Box::from_raw(made);
                unix::release(ours.base, ours.count * self.stride_bytes);
                Ok(&*theirs)
            },
        }
    }

    fn new_slab(&self, slab_index: usize) -> io::Result<Slab> {
        let most = (SLAB_BYTES_MAX / self.stride_bytes).clamp(1, 1 << INDEX_BITS);
        let mut count = (FIRST_SLAB_COUNT << slab_index.min(INDEX_BITS as usize)).min(most);
        loop {
            let bytes = count * self.stride_bytes;
            let room = unix::address_space_left().is_none_or(|left| left >= bytes + HEADROOM_BYTES);
            let reserved = if room { unix::reserve(bytes) } else { Err(io::ErrorKind::OutOfMemory.into()) };
            match reserved {
                Ok(base) => {
                    let links = (0..count).map(|_| AtomicU32::new(0)).collect();
                    return Ok(Slab { base, count, links });
                }
                // Address space is short: less may do.
                Err(_) if count > 1 => count /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    // --- places ----------------------------------------------------------------------------

    fn slab_of(&self, id: u32) -> &Slab {
        let slab = self.slabs[(id >> INDEX_BITS) as usize - 1].load(Ordering::Acquire);
        // SAFETY: an id is made after its slab was published, and slabs are never freed.
        unsafe { &*slab }
    }

    fn link_of(&self, id: u32) -> &AtomicU32 {
        &self.slab_of(id).links[id as usize & ((1 << INDEX_BITS) - 1)]
    }

    /// The lowest address, which is the guard's.
    fn low(&self, id: u32) -> usize {
        self.slab_of(id).base + (id as usize & ((1 << INDEX_BITS) - 1)) * self.stride_bytes
    }

    /// From above the guard to the end.
    fn extent(&self, id: u32) -> (usize, usize) {
        let low = self.low(id);
        (low + unix::page_bytes(), low + self.stride_bytes)
    }

    fn memory(&self, id: u32) -> StackMemory {
        let colour_bytes = id as usize % COLOUR_COUNT * COLOUR_STEP_BYTES;
        StackMemory { id, base: self.extent(id).1 - colour_bytes }
    }

    /// The lowest address of this stack, guard included.
    pub(crate) fn limit(&self, stack: &StackMemory) -> usize {
        self.low(stack.id)
    }

    // --- what is known ---------------------------------------------------------------------

    /// Looks how deep the stacks are used that were ever handed out; costs some nanoseconds for each page of their address
    /// space.
    fn look_at_all(&self) {
        let cursor = self.cursor.load(Ordering::Relaxed);
        let (slab_index, next) = ((cursor >> 32) as usize, cursor as u32 as usize);
        let mut in_memory = vec![0; LOOK_PAGES];
        for (index, place) in self.slabs.iter().enumerate().take(slab_index + 1) {
            // SAFETY: null or a slab, which is never freed.
            let Some(slab) = (unsafe { place.load(Ordering::Acquire).as_ref() }) else { return };
            let count = if index == slab_index { next } else { slab.count };
            self.look_at(slab.base, count, &mut in_memory);
        }
    }

    /// Looks how deep these stacks were used, before their memory is given back. Sorts them.
    fn look_at_some(&self, ids: &mut [u32]) {
        ids.sort_unstable();
        let mut in_memory = [0; LOOK_PAGES_FEW];
        // Neighbours at once.
        for run in ids.chunk_by(|before, after| before + 1 == *after) {
            self.look_at(self.low(run[0]), run.len(), &mut in_memory);
        }
    }

    /// Looks at `count` stacks in a row, as many pages at a time as there is room in `in_memory`.
    fn look_at(&self, low: usize, count: usize, in_memory: &mut [u8]) {
        let page = unix::page_bytes();
        let stack_pages = self.stride_bytes / page;
        let page_count = count * stack_pages;
        let mut deepest_pages = 0;
        for first in (0..page_count).step_by(in_memory.len()) {
            let here = (page_count - first).min(in_memory.len());
            if !unix::resident(low + first * page, here * page, in_memory) {
                return;
            }
            for (index, _) in in_memory[..here].iter().enumerate().filter(|(_, byte)| **byte & 1 == 1) {
                let page_of_stack = (first + index) % stack_pages;
                // The guard is a mark in the page table, and some kernels take it for a page.
                if page_of_stack > 0 {
                    deepest_pages = deepest_pages.max(stack_pages - page_of_stack);
                }
            }
        }
        if deepest_pages * page > self.high_water_bytes.load(Ordering::Relaxed) {
            self.high_water_bytes.fetch_max(deepest_pages * page, Ordering::Relaxed);
        }
    }

    /// What is known, after a [look](Self::look_at_all).
    pub(crate) fn usage(&self) -> Usage {
        self.look_at_all();
        Usage {
            stack_bytes: self.stack_bytes,
            made_count: self.made_count.load(Ordering::Relaxed),
            high_water_bytes: self.high_water_bytes.load(Ordering::Relaxed).min(self.stack_bytes),
        }
    }
}

fn classes_from(head: *const StackClass) -> impl Iterator<Item = &'static StackClass> {
    // SAFETY: the list holds classes, which are never freed.
    std::iter::successors(unsafe { head.as_ref() }, |class| unsafe { class.next.as_ref() })
}

/// What the classes of the process are used for.
pub(crate) fn usages() -> Vec<Usage> {
    classes_from(CLASSES.load(Ordering::Acquire)).map(StackClass::usage).collect()
}

/// A stack, as seen from an address in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) stack_bytes: usize,
    /// The guard's first byte.
    pub(crate) low: usize,
    /// Where the stack ends, and the next one's guard begins.
    pub(crate) end: usize,
}

/// The stack, guard included, that this address is in, if any. Safe to call in a signal handler.
pub(crate) fn stack_at(address: usize) -> Option<Place> {
    for class in classes_from(CLASSES.load(Ordering::Acquire)) {
        for place in &class.slabs {
            // SAFETY: null or a slab, which is never freed.
            let Some(slab) = (unsafe { place.load(Ordering::Acquire).as_ref() }) else { break };
            let Some(offset) = address.checked_sub(slab.base) else { continue };
            if offset < slab.count * class.stride_bytes {
                let low = address - offset % class.stride_bytes;
                return Some(Place { stack_bytes: class.stack_bytes, low, end: low + class.stride_bytes });
            }
        }
    }
    None
}

/// A Treiber stack of stacks: `tag << 32 | id of the first`; the tag is incremented by every change.
struct FreeList(AtomicU64);

impl FreeList {
    fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn push(&self, class: &StackClass, id: u32) {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            class.link_of(id).store(word as u32, Ordering::Relaxed);
            let next = (word >> 32).wrapping_add(1) << 32 | u64::from(id);
            // ORDERING: Release publishes the link, and that the stack is unused, to the Acquire in `pop`.
            match self.0.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// The id of a stack that is now the caller's; 0 if there is none.
    fn pop(&self, class: &StackClass) -> u32 {
        // ORDERING: Acquire pairs with the Release in `push`.
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let id = word as u32;
            if id == 0 {
                return 0;
            }
            // Links are never freed, so this may be stale but is there; then the tag has changed.
            let below = class.link_of(id).load(Ordering::Relaxed);
            let next = (word >> 32).wrapping_add(1) << 32 | u64::from(below);
            match self.0.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return id,
                Err(now) => word = now,
            }
        }
    }
}

#[cfg(test)]
mod tests;
