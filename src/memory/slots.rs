//! Typed slots that are recycled but never given back.
//!
//! A waker may touch a fiber's words after the fiber has moved on, a handle may outlive its
//! system, an unpark may arrive late. All of these are harmless when the memory behind them stays what it is: a
//! slot that was made as a fiber is a fiber for the rest of the process, so a late access sees at
//! worst a generation that it does not know. The price is stated: slots of the highest number in use at once
//! stay resident.
//!
//! ```text
//! thread caches ──refill, a batch at a time──> depot of the type ──grow──> chunk (up to 1 MiB) in the table
//!      ^ alloc, free: no atomics                Treiber stack of batches          id = chunk << 13 | index
//! ```
//!
//! A slot that one thread takes and another frees goes into the cache of the one that frees it, and comes back by the
//! depot, a batch at a time. New slots are made only when both the cache and the depot are empty, so however slots wander
//! there are never more of a type than the most that were in use at once, and fewer than two batches for each thread that
//! has a cache, and one batch for each thread that made some at that moment. A batch is 64 slots, or as many as fit
//! into 32 KiB: an idle thread holds back less than 64 KiB of a type.
//!
//! A depot's stack holds *batches* (a head and the nodes linked behind it). Its word is `tag << 32 |
//! id of the first batch`; the tag is incremented by every pop, and since slots never go away, reading the
//! `aux` link of a batch that somebody else has just popped is a stale read and not a fault.

#![expect(unsafe_code, reason = "hands out references into chunks that live for ever")]

pub(crate) use super::caches::Caches;
use super::node::{ID_BITS, Node};
// Slots are not part of what the model checkers explore: their atomics always come from std, so that
// slots may be used outside of a model's execution.
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

const INDEX_BITS: u32 = 13;
const CHUNK_SLOTS_MAX: usize = 1 << INDEX_BITS;
const CHUNK_BYTES_MAX: usize = 1 << 20;
const CHUNKS_MAX: usize = 1 << (ID_BITS - INDEX_BITS);
/// Slots of type `T` that move between a cache and its depot at once: as many as it takes to make the depot's atomics
/// cheap, and few enough that what lies in caches is little memory. A cache that holds twice as many gives a batch back.
const fn batch_of<T>() -> u32 {
    const SLOTS_MAX: usize = if cfg!(shuttle) { 8 } else { 64 };
    const BYTES_MAX: usize = 32 << 10;
    let fitting = BYTES_MAX / size_of::<T>();
    assert!(fitting > 0, "a slot is larger than a batch");
    if fitting < SLOTS_MAX { fitting as u32 } else { SLOTS_MAX as u32 }
}

/// Index in [`CHUNKS`] -> its first slot; chunk 0 is never used, so that id 0 means 'none'.
static CHUNKS: [AtomicPtr<Chunk>; CHUNKS_MAX] = [const { AtomicPtr::new(ptr::null_mut()) }; CHUNKS_MAX];
/// The number of chunks made so far; changes only under this lock.
static CHUNK_COUNT: Mutex<usize> = Mutex::new(0);

/// Describes one chunk; lives for ever.
struct Chunk {
    base: *mut u8,
    stride_bytes: usize,
    slot_count: usize,
    /// How many slots are initialised. Written under the depot's `growth` lock; Release pairs with
    /// the Acquire in [`for_each`].
    ready_count: AtomicU32,
    depot: *const Depot,
}

/// A type that lives in slots.
///
/// # Safety
///
/// 1. The type is `#[repr(C)]` with a [`Node`] as its first field.
/// 2. Its bytes stay a valid value for ever: no owner frees or moves what is in a slot.
/// 3. `depot` always returns the same depot, used by this type alone.
/// 4. `write_vacant`, where it is defined anew, leaves a valid value in place.
pub(crate) unsafe trait Slot: Sized + Sync + 'static {
    /// How many slots move between a cache and its depot at once.
    const BATCH: u32 = batch_of::<Self>();

    /// The value of a slot that has never been used.
    fn vacant(id: u32) -> Self;

    /// Writes that value. For types that are large and mostly not initialised, so that the rest stays untouched.
    ///
    /// # Safety
    ///
    /// `place` is aligned, and the caller's to write to.
    unsafe fn write_vacant(place: *mut Self, id: u32) {
        // SAFETY: promised by the caller.
        unsafe { place.write(Self::vacant(id)) };
    }

    fn depot() -> &'static Depot;
    /// Which cache of a thread serves this type.
    fn cache(caches: &Caches) -> &Cache;
}

/// The shared store of free slots of one type.
pub(crate) struct Depot {
    /// `tag << 32 | id`, see the module.
    batches: AtomicU64,
    growth: Mutex<Growth>,
}

struct Growth {
    chunk: *const Chunk,
    chunk_index: usize,
}

// SAFETY: the chunk behind the pointer lives for ever and is shared by design.
unsafe impl Send for Growth {}

impl Depot {
    pub(crate) const fn new() -> Self {
        Self { batches: AtomicU64::new(0), growth: Mutex::new(Growth { chunk: ptr::null(), chunk_index: 0 }) }
    }

    /// Adds a list of free nodes that starts at `head`.
    fn give(&self, head: &Node) {
        let mut word = self.batches.load(Ordering::Relaxed);
        loop {
            head.aux.store(word as u32, Ordering::Relaxed);
            let next = word & !0xffff_ffff | u64::from(head.id());
            // ORDERING: Release publishes the batch to the Acquire in `take`.
            match self.batches.compare_exchange_weak(word, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => word = now,
            }
        }
    }

    /// Takes a list of free nodes.
    fn take(&self) -> Option<&'static Node> {
        // ORDERING: Acquire pairs with the Release in `give`.
        let mut word = self.batches.load(Ordering::Acquire);
        loop {
            // SAFETY: null for an empty depot, else a slot, which lives for ever.
            let head = unsafe { node(word as u32).as_ref() }?;
            let below = head.aux.load(Ordering::Relaxed);
            let next = (word >> 32).wrapping_add(1) << 32 | u64::from(below);
            match self.batches.compare_exchange_weak(word, next, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return Some(head),
                Err(now) => word = now,
            }
        }
    }

    /// Makes up to a batch of new slots.
    #[cold]
    fn grow<T: Slot>(&'static self) -> (&'static Node, u32) {
        let mut growth = self.growth.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // SAFETY: chunks live for ever.
        let mut chunk = unsafe { growth.chunk.as_ref() };
        if chunk.is_none_or(|c| c.ready_count.load(Ordering::Relaxed) as usize == c.slot_count) {
            let (made, index) = new_chunk::<T>(self);
            *growth = Growth { chunk: made, chunk_index: index };
            chunk = Some(made);
        }
        let chunk = chunk.expect("a chunk was just made");
        let first = chunk.ready_count.load(Ordering::Relaxed) as usize;
        let last = (first + T::BATCH as usize).min(chunk.slot_count);
        let mut head: *mut Node = ptr::null_mut();
        for index in (first..last).rev() {
            let id = (growth.chunk_index << INDEX_BITS | index) as u32;
            // SAFETY: the index is inside the chunk, whose memory has the type's size and alignment;
            // the slot has not been handed out, since `ready_count` has not reached it.
            let slot = unsafe {
                let slot = chunk.base.add(index * chunk.stride_bytes).cast::<T>();
                T::write_vacant(slot, id);
                &*slot.cast::<Node>()
            };
            slot.set_link(head);
            head = slot.as_ptr();
        }
        // ORDERING: Release publishes the slots' contents to `for_each`.
        chunk.ready_count.store(last as u32, Ordering::Release);
        // SAFETY: a chunk has room for at least one slot, so `head` points to one made above.
        (unsafe { &*head }, (last - first) as u32)
    }
}

#[cold]
fn new_chunk<T: Slot>(depot: &'static Depot) -> (&'static Chunk, usize) {
    let mut count = CHUNK_COUNT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let index = *count + 1;
    assert!(
        index < CHUNKS_MAX,
        "ramie: more than {CHUNKS_MAX} chunks of slots: too many jobs or fibers at once"
    );
    let stride_bytes = size_of::<T>();
    let slot_count = (CHUNK_BYTES_MAX / stride_bytes).min(CHUNK_SLOTS_MAX);
    let layout = Layout::array::<T>(slot_count).expect("a chunk is about a mebibyte");
    // SAFETY: the layout is not empty.
    let base = unsafe { std::alloc::alloc(layout) };
    if base.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    let chunk: &'static Chunk =
        Box::leak(Box::new(Chunk { base, stride_bytes, slot_count, ready_count: AtomicU32::new(0), depot }));
    // ORDERING: Release publishes the descriptor to `node`.
    CHUNKS[index].store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
    *count = index;
    (chunk, index)
}

/// The node with this id; null for 0. The pointer reaches over the whole slot.
#[inline]
pub(crate) fn node(id: u32) -> *mut Node {
    if id == 0 {
        return ptr::null_mut();
    }
    // ORDERING: Acquire pairs with the Release in `new_chunk`.
    let chunk = CHUNKS[(id >> INDEX_BITS) as usize & (CHUNKS_MAX - 1)].load(Ordering::Acquire);
    let index = id as usize & (CHUNK_SLOTS_MAX - 1);
    // SAFETY: ids come from `grow`, which made the chunk and wrote the slot before it gave the id away; both
    // live for ever, and every slot begins with a node.
    unsafe {
        let chunk = &*chunk;
        chunk.base.add(index * chunk.stride_bytes).cast::<Node>()
    }
}

/// Calls `f` with every slot of this type that was ever in use.
pub(crate) fn for_each<T: Slot>(mut f: impl FnMut(&'static T)) {
    let count = *CHUNK_COUNT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    for entry in &CHUNKS[1..=count] {
        // SAFETY: entries up to the count were published and live for ever.
        let chunk = unsafe { &*entry.load(Ordering::Acquire) };
        if !ptr::eq(chunk.depot, T::depot()) {
            continue;
        }
        // ORDERING: Acquire pairs with the Release in `grow`.
        let ready = chunk.ready_count.load(Ordering::Acquire) as usize;
        for index in 0..ready {
            // SAFETY: slots below `ready_count` hold a valid `T` for ever; the depot says that the
            // chunk's type is `T`.
            f(unsafe { &*chunk.base.add(index * chunk.stride_bytes).cast::<T>() });
        }
    }
}

/// How much there is of the slots that `wanted` says yes to, by their depot; whether in use or not.
pub(crate) fn made(wanted: impl Fn(&Depot) -> bool) -> Made {
    let count = *CHUNK_COUNT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut made = Made { slots: 0, bytes: 0 };
    for entry in &CHUNKS[1..=count] {
        // SAFETY: entries up to the count were published and live for ever, and so do depots, which are statics.
        let (chunk, depot) = unsafe {
            let chunk = &*entry.load(Ordering::Acquire);
            (chunk, &*chunk.depot)
        };
        if wanted(depot) {
            let slots = u64::from(chunk.ready_count.load(Ordering::Relaxed));
            made.slots += slots;
            made.bytes += slots * chunk.stride_bytes as u64;
        }
    }
    made
}

/// What [`made`] has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) slots: u64,
    pub(crate) bytes: u64,
}

/// One thread's free slots of one type.
#[derive(Default)]
pub(crate) struct Cache {
    head: Cell<*mut Node>,
    count: Cell<u32>,
}

impl Cache {
    #[inline]
    pub(crate) fn alloc<T: Slot>(&self) -> &'static T {
        let head = self.head.get();
        if head.is_null() {
            return self.refill::<T>();
        }
        // SAFETY: nodes in the cache are free slots of this type, owned by this thread.
        let node = unsafe { &*head };
        self.head.set(node.link());
        self.count.set(self.count.get() - 1);
        // SAFETY: as above; a node is the first field of its slot.
        unsafe { &*head.cast::<T>() }
    }

    #[cold]
    fn refill<T: Slot>(&self) -> &'static T {
        let (head, count) = match T::depot().take() {
            Some(head) => {
                let mut count = 1;
                let mut last = head;
                // SAFETY: a batch is a list of free slots that now belongs to this thread.
                while let Some(next) = unsafe { last.link().as_ref() } {
                    last = next;
                    count += 1;
                }
                (head, count)
            }
            None => T::depot().grow::<T>(),
        };
        self.head.set(head.link());
        self.count.set(count - 1);
        // SAFETY: a node is the first field of its slot, whose type the depot fixes. Slots are not
        // behind a unique reference anywhere.
        unsafe { &*head.as_ptr().cast::<T>() }
    }

    /// Takes `slot` back.
    ///
    /// # Safety
    ///
    /// 1. `slot` came from [`alloc`](Self::alloc) of a cache of this type and has not been freed since.
    /// 2. No list contains it, and whoever may still touch it copes with whatever it becomes.
    #[inline]
    pub(crate) unsafe fn free<T: Slot>(&self, slot: &'static T) {
        // SAFETY: the node is the slot's first field.
        let node = unsafe { &*ptr::from_ref(slot).cast::<Node>() };
        node.set_link(self.head.get());
        self.head.set(node.as_ptr());
        let count = self.count.get() + 1;
        self.count.set(count);
        if count >= 2 * T::BATCH {
            self.give_back(T::depot(), T::BATCH);
        }
    }

    /// Gives `count` slots back to the depot.
    #[cold]
    fn give_back(&self, depot: &'static Depot, count: u32) {
        let head = self.head.get();
        let mut last = head;
        for _ in 1..count {
            // SAFETY: the cache holds at least `count` nodes, all owned by this thread.
            last = unsafe { &*last }.link();
        }
        // SAFETY: as above.
        let (head, last) = unsafe { (&*head, &*last) };
        self.head.set(last.link());
        last.set_link(ptr::null_mut());
        self.count.set(self.count.get() - count);
        depot.give(head);
    }

    /// For a thread that ends.
    pub(super) fn give_all_back(&self, depot: &'static Depot) {
        if self.count.get() > 0 {
            self.give_back(depot, self.count.get());
        }
    }
}
