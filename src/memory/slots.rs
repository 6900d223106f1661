//! Typed slots that are recycled but never given back.
//!
//! A waker may touch a fiber's words after the fiber has moved on, a handle may outlive its
//! system, an unpark may arrive late. All of these are harmless when the memory behind them stays what it is: a
//! slot that was made as a fiber is a fiber for the rest of the process, so a late access sees at
//! worst a generation that it does not know. The price is stated: slots of the highest number in use at once
//! stay resident.
//!
//! ```text
//! thread caches ──a magazine at a time──> depot of the type ──grow──> chunk (up to 1 MiB) in the table
//!      ^ alloc, free: no atomics          stack of magazines          id = chunk << 13 | index
//! ```
//!
//! Free slots are kept in [magazines](super::magazine), arrays of pointers to them, so that neither taking nor giving back a
//! slot touches it: with lists through the slots, a thread that takes what another one has freed would wait for one cache
//! line after the other. As in Bonwick and Adams, "Magazines and Vmem" (USENIX 2001), a cache has two, of which one is full
//! or empty, so that a magazine is exchanged at most once for as many operations as it holds slots.
//!
//! A slot that one thread takes and another frees goes into the cache of the one that frees it, and comes back by the
//! depot. New slots are made only when both the cache and the depot are empty, so however slots wander
//! there are never more of a type than the most that were in use at once, and two magazines for each thread that
//! has a cache, and one for each thread that made some at that moment. A magazine holds 62 slots, or as many as fit
//! into 32 KiB: an idle thread holds back at most 64 KiB of a type.

#![expect(unsafe_code, reason = "hands out references into chunks that live for ever")]

pub(crate) use super::caches::Caches;
use super::magazine::{self, Magazine, ROUNDS_MAX, Stack};
use super::node::{ID_BITS, Node};
use super::prefetch::prefetch_for_write;
// Slots are not part of what the model checkers explore: their atomics always come from std, so that
// slots may be used outside of a model's execution.
use std::alloc::Layout;
use std::cell::Cell;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

const INDEX_BITS: u32 = 13;
const CHUNK_SLOTS_MAX: usize = 1 << INDEX_BITS;
const CHUNK_BYTES_MAX: usize = 1 << 20;
const CHUNKS_MAX: usize = 1 << (ID_BITS - INDEX_BITS);
/// Slots of type `T` in a full magazine: as many as it takes to make the depot's atomics cheap, and few enough that what lies
/// in caches is little memory.
const fn batch_of<T>() -> u32 {
    const SLOTS_MAX: usize = if cfg!(shuttle) { 8 } else { ROUNDS_MAX };
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
/// 1. The type is `#[repr(C)]` with a [`Node`] as its first field; or no id of such a slot is ever given to anybody.
/// 2. Its bytes stay a valid value for ever: no owner frees or moves what is in a slot.
/// 3. `depot` always returns the same depot, used by this type alone.
/// 4. `write_vacant`, where it is defined anew, leaves a valid value in place.
pub(crate) unsafe trait Slot: Sized + Sync + 'static {
    /// How many slots a magazine of this type holds.
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
#[repr(align(128))]
pub(crate) struct Depot {
    /// Magazines with free slots of the type in them.
    magazines: Stack,
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
        let growth = Growth { chunk: ptr::null(), chunk_index: 0 };
        Self { magazines: Stack::new(), growth: Mutex::new(growth) }
    }

    /// Fills an empty magazine with new slots; how many there are in it then.
    #[cold]
    fn grow<T: Slot>(&'static self, magazine: &Magazine) -> u32 {
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
        // The first one is taken first: memory is used from the beginning on.
        for (round, index) in (first..last).rev().enumerate() {
            let id = (growth.chunk_index << INDEX_BITS | index) as u32;
            // SAFETY: the index is inside the chunk, whose memory has the type's size and alignment;
            // the slot has not been handed out, since `ready_count` has not reached it.
            let slot = unsafe {
                let slot = chunk.base.add(index * chunk.stride_bytes).cast::<T>();
                T::write_vacant(slot, id);
                slot
            };
            magazine.put(round as u32, slot.cast());
        }
        // ORDERING: Release publishes the slots' contents to `for_each`.
        chunk.ready_count.store(last as u32, Ordering::Release);
        (last - first) as u32
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
    // live for ever, and every slot whose ids are given away begins with a node.
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
    /// The magazine that slots are taken from and put into. Null at first.
    loaded: Cell<Option<&'static Magazine>>,
    /// Slots in that. The magazine's own count is brought up to date when it is unloaded.
    count: Cell<u32>,
    /// Another one, which is full or empty.
    spare: Cell<Option<&'static Magazine>>,
}

impl Cache {
    #[inline]
    pub(crate) fn alloc<T: Slot>(&self) -> &'static T {
        if self.count.get() == 0 {
            self.load_some::<T>();
        }
        let count = self.count.get() - 1;
        self.count.set(count);
        // SAFETY: `load_some` leaves a magazine with slots in it, so there was one with `count + 1` of them. They are the
        // addresses of free slots of this type, owned by this thread, and slots are not behind a unique reference anywhere.
        unsafe { &*self.loaded.get().unwrap_unchecked().get(count).cast::<T>() }
    }

    /// The loaded magazine is empty, or there is none: loads one that is not.
    #[cold]
    #[inline(never)]
    fn load_some<T: Slot>(&self) {
        if self.spare.get().is_some_and(|spare| spare.count() > 0) {
            return self.swap();
        }
        if let Some(full) = T::depot().magazines.pop() {
            if let Some(empty) = self.loaded.replace(Some(full)) {
                self.keep_or_drop_empty(empty);
            }
            self.count.set(full.count());
            // Whoever has freed them is likely to have them in another cache than this processor's. They are fetched at once
            // rather than one after the other.
            (0..full.count()).for_each(|round| prefetch_for_write(full.get(round).addr()));
            return;
        }
        let magazine = self.loaded.get().unwrap_or_else(magazine::take_empty);
        self.loaded.set(Some(magazine));
        self.count.set(T::depot().grow::<T>(magazine));
    }

    fn keep_or_drop_empty(&self, empty: &'static Magazine) {
        empty.set_count(0);
        match self.spare.get() {
            None => self.spare.set(Some(empty)),
            Some(_) => magazine::drop_empty(empty),
        }
    }

    /// Exchanges the two magazines, of which the loaded one is full or empty.
    fn swap(&self) {
        let loaded = self.loaded.replace(self.spare.get());
        loaded.inspect(|loaded| loaded.set_count(self.count.get()));
        self.spare.set(loaded);
        self.count.set(self.loaded.get().map_or(0, Magazine::count));
    }

    /// Takes `slot` back.
    ///
    /// # Safety
    ///
    /// 1. `slot` came from [`alloc`](Self::alloc) of a cache of this type and has not been freed since.
    /// 2. No list contains it, and whoever may still touch it copes with whatever it becomes.
    #[inline]
    pub(crate) unsafe fn free<T: Slot>(&self, slot: &'static T) {
        if self.count.get() == T::BATCH || self.loaded.get().is_none() {
            self.make_room(T::depot());
        }
        let count = self.count.get();
        // SAFETY: `make_room` leaves a magazine that is not full, so there is one.
        unsafe { self.loaded.get().unwrap_unchecked() }
            .put(count, ptr::from_ref(slot).cast::<Node>().cast_mut());
        self.count.set(count + 1);
    }

    /// The loaded magazine is full, or there is none: loads one that is empty.
    #[cold]
    #[inline(never)]
    fn make_room(&self, depot: &'static Depot) {
        if self.loaded.get().is_none() {
            self.loaded.set(Some(magazine::take_empty()));
            return;
        }
        match self.spare.get() {
            Some(spare) if spare.count() > 0 => {
                self.spare.set(Some(magazine::take_empty()));
                depot.magazines.push(spare);
            }
            Some(_) => {}
            None => self.spare.set(Some(magazine::take_empty())),
        }
        self.swap();
    }

    /// For a thread that ends.
    pub(super) fn give_all_back(&self, depot: &'static Depot) {
        for _ in 0..2 {
            self.swap();
            match self.spare.take() {
                Some(magazine) if magazine.count() > 0 => depot.magazines.push(magazine),
                Some(magazine) => magazine::drop_empty(magazine),
                None => {}
            }
        }
    }
}
