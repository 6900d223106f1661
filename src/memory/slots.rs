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
//!      ^ alloc, free: no atomics          stacks of magazines         id = chunk << 13 | index
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
//!
//! Growing stops nobody: a thread takes the next batch of a chunk by one compare-exchange and initialises it by itself, and a chunk is
//! made by whoever needs it. If two make one at the same time, the second is kept for the next time. So a thread that the operating
//! system has stopped (see `sched/background.rs`) holds nobody up, and slots are first touched by who uses them first.
//!
//! A depot has a stack of magazines for each NUMA node on which workers are pinned: what is freed on a node is used there again before
//! slots of other nodes are.

#![expect(unsafe_code, reason = "hands out references into chunks that live for ever")]

pub(crate) use super::caches::Caches;
use super::magazine::{self, Magazine, ROUNDS_MAX, Stack};
use super::node::{ID_BITS, Node};
use super::prefetch::prefetch_for_write;
// Slots are not part of what the model checkers explore: their atomics always come from std, so that
// slots may be used outside of a model's execution.
use std::alloc::Layout;
use std::cell::Cell;
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
use std::mem::offset_of;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

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
/// How many entries of the table were given to chunks; the last ones may not be there yet.
static CHUNK_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Words of [`Chunk::ready`].
const READY_WORDS: usize = (CHUNK_SLOTS_MAX / if cfg!(shuttle) { 8 } else { ROUNDS_MAX }).div_ceil(64) + 1;

/// Describes one chunk; lives for ever.
struct Chunk {
    base: *mut u8,
    stride_bytes: usize,
    slot_count: usize,
    /// Slots of a batch, which are initialised by one thread; the last batch may have fewer.
    batch_slots: usize,
    /// Its index in the table.
    index: usize,
    /// How many batches were taken by threads that initialise them.
    taken_count: AtomicUsize,
    /// A bit per batch that is initialised. Release pairs with the Acquire in [`for_each`].
    ready: [AtomicU64; READY_WORDS],
    depot: *const Depot,
    /// The next one among its depot's spare chunks.
    next_spare: AtomicPtr<Chunk>,
}

impl Chunk {
    fn batch_count(&self) -> usize {
        self.slot_count.div_ceil(self.batch_slots)
    }

    /// The number of a batch that the caller initialises; `None` if all are taken.
    fn take_batch(&self) -> Option<usize> {
        let mut taken = self.taken_count.load(Ordering::Relaxed);
        loop {
            if taken == self.batch_count() {
                return None;
            }
            match self.taken_count.compare_exchange_weak(
                taken,
                taken + 1,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Some(taken),
                Err(now) => taken = now,
            }
        }
    }

    fn slots_of(&self, batch: usize) -> std::ops::Range<usize> {
        let first = batch * self.batch_slots;
        first..(first + self.batch_slots).min(self.slot_count)
    }

    /// The slots of batches that are initialised.
    fn ready_slots(&self) -> impl Iterator<Item = std::ops::Range<usize>> + '_ {
        // ORDERING: Acquire pairs with the Release in `grow`.
        let is_ready = |batch: usize| self.ready[batch / 64].load(Ordering::Acquire) & 1 << (batch % 64) != 0;
        (0..self.batch_count()).filter(move |batch| is_ready(*batch)).map(|batch| self.slots_of(batch))
    }
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

/// How many nodes are told apart; those of higher numbers share with lower ones.
pub(super) const NODES_MAX: usize = 8;
/// One more than the highest node that a thread was ever on: no other node's stack has anything in it.
static NODE_COUNT: AtomicUsize = AtomicUsize::new(1);

/// The shared store of free slots of one type.
#[repr(align(128))]
pub(crate) struct Depot {
    /// Magazines with free slots of the type in them, by node.
    magazines: [Stack; NODES_MAX],
    /// The chunk that grows. Replaced, when it is full, by whoever needs a batch.
    growing: AtomicPtr<Chunk>,
    /// Chunks that were made at the same time as another one; taken as a whole.
    spare: AtomicPtr<Chunk>,
}

impl Depot {
    pub(crate) const fn new() -> Self {
        Self {
            magazines: [const { Stack::new() }; NODES_MAX],
            growing: AtomicPtr::new(ptr::null_mut()),
            spare: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn push(&self, magazine: &'static Magazine, node: usize) {
        self.magazines[node].push(magazine);
    }

    /// A magazine with slots in it, of this node if there is one.
    fn pop(&self, node: usize) -> Option<&'static Magazine> {
        self.magazines[node].pop().or_else(|| {
            let nodes = 0..NODE_COUNT.load(Ordering::Relaxed);
            nodes.filter(|other| *other != node).find_map(|other| self.magazines[other].pop())
        })
    }

    /// Fills an empty magazine with new slots; how many there are in it then.
    #[cold]
    fn grow<T: Slot>(&'static self, magazine: &Magazine) -> u32 {
        let (chunk, batch) = self.take_batch::<T>();
        let slots = chunk.slots_of(batch);
        let count = slots.len() as u32;
        // The first one is taken first: memory is used from the beginning on.
        for (round, index) in slots.rev().enumerate() {
            let id = (chunk.index << INDEX_BITS | index) as u32;
            // SAFETY: the index is inside the chunk, whose memory has the type's size and alignment;
            // the slot is this thread's, since nobody else has taken its batch.
            let slot = unsafe {
                let slot = chunk.base.add(index * chunk.stride_bytes).cast::<T>();
                T::write_vacant(slot, id);
                slot
            };
            magazine.put(round as u32, slot.cast());
        }
        // ORDERING: Release publishes the slots' contents to `for_each`.
        chunk.ready[batch / 64].fetch_or(1 << (batch % 64), Ordering::Release);
        count
    }

    /// A batch of slots that nobody has initialised, for the caller to do so.
    fn take_batch<T: Slot>(&'static self) -> (&'static Chunk, usize) {
        loop {
            // ORDERING: Acquire pairs with the Release below.
            let growing = self.growing.load(Ordering::Acquire);
            // SAFETY: null, or a chunk, which lives for ever.
            let chunk = unsafe { growing.as_ref() };
            if let Some((chunk, batch)) = chunk.and_then(|chunk| Some((chunk, chunk.take_batch()?))) {
                return (chunk, batch);
            }
            let next = self.take_spare().unwrap_or_else(|| new_chunk::<T>(self));
            let installed = self.growing.compare_exchange(
                growing,
                ptr::from_ref(next).cast_mut(),
                Ordering::Release,
                Ordering::Relaxed,
            );
            if installed.is_err() {
                self.put_spare(next);
            }
        }
    }

    fn take_spare(&self) -> Option<&'static Chunk> {
        // ORDERING: Acquire pairs with the Release in `put_spare`.
        let first = self.spare.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: null, or a chunk.
        let first = unsafe { first.as_ref() }?;
        let mut rest = first.next_spare.load(Ordering::Relaxed);
        // SAFETY: as above; the list is this thread's since it was swapped out.
        while let Some(chunk) = unsafe { rest.as_ref() } {
            rest = chunk.next_spare.load(Ordering::Relaxed);
            self.put_spare(chunk);
        }
        Some(first)
    }

    fn put_spare(&self, chunk: &'static Chunk) {
        let mut head = self.spare.load(Ordering::Relaxed);
        loop {
            chunk.next_spare.store(head, Ordering::Relaxed);
            let new = ptr::from_ref(chunk).cast_mut();
            // ORDERING: Release publishes the link.
            match self.spare.compare_exchange_weak(head, new, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }
}

#[cold]
fn new_chunk<T: Slot>(depot: &'static Depot) -> &'static Chunk {
    let index = CHUNK_COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    assert!(
        index < CHUNKS_MAX,
        "ramie: more than {CHUNKS_MAX} chunks of slots: too many jobs or fibers at once"
    );
    let stride_bytes = size_of::<T>();
    let slot_count = (CHUNK_BYTES_MAX / stride_bytes).min(CHUNK_SLOTS_MAX);
    const { assert!(CHUNK_SLOTS_MAX.div_ceil(batch_of::<[u8; 64]>() as usize) <= READY_WORDS * 64) };
    let layout = Layout::array::<T>(slot_count).expect("a chunk is about a mebibyte");
    // SAFETY: the layout is not empty.
    let base = unsafe { std::alloc::alloc(layout) };
    if base.is_null() {
        std::alloc::handle_alloc_error(layout);
    }
    let chunk: &'static Chunk = Box::leak(Box::new(Chunk {
        base,
        stride_bytes,
        slot_count,
        batch_slots: T::BATCH as usize,
        index,
        taken_count: AtomicUsize::new(0),
        ready: [const { AtomicU64::new(0) }; READY_WORDS],
        depot,
        next_spare: AtomicPtr::new(ptr::null_mut()),
    }));
    // ORDERING: Release publishes the descriptor to `node`.
    CHUNKS[index].store(ptr::from_ref(chunk).cast_mut(), Ordering::Release);
    chunk
}

/// All chunks made so far.
fn chunks() -> impl Iterator<Item = &'static Chunk> {
    let count = CHUNK_COUNT.load(Ordering::Relaxed).min(CHUNKS_MAX - 1);
    // SAFETY: null as long as the chunk is not made, and then it lives for ever.
    CHUNKS[1..=count].iter().filter_map(|entry| unsafe { entry.load(Ordering::Acquire).as_ref() })
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

/// Where debuggers find the slots; see `trace/debugger.rs`. Offsets are those of a chunk's descriptor.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(crate) struct SlotsLayout {
    pub(crate) index_bits: usize,
    pub(crate) base: usize,
    pub(crate) stride_bytes: usize,
    pub(crate) slot_count: usize,
    pub(crate) batch_slots: usize,
    pub(crate) ready: usize,
    pub(crate) depot: usize,
}

#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(crate) const LAYOUT: SlotsLayout = SlotsLayout {
    index_bits: INDEX_BITS as usize,
    base: offset_of!(Chunk, base),
    stride_bytes: offset_of!(Chunk, stride_bytes),
    slot_count: offset_of!(Chunk, slot_count),
    batch_slots: offset_of!(Chunk, batch_slots),
    ready: offset_of!(Chunk, ready),
    depot: offset_of!(Chunk, depot),
};

/// The table of chunks, and how many of its entries are in use; for debuggers.
#[cfg(all(target_os = "linux", target_arch = "x86_64", not(shuttle)))]
pub(crate) const fn tables() -> (*const (), *const ()) {
    ((&raw const CHUNKS).cast(), (&raw const CHUNK_COUNT).cast())
}

/// Calls `f` with every slot of this type that was ever in use.
pub(crate) fn for_each<T: Slot>(mut f: impl FnMut(&'static T)) {
    for chunk in chunks().filter(|chunk| ptr::eq(chunk.depot, T::depot())) {
        for index in chunk.ready_slots().flatten() {
            // SAFETY: slots of batches that are ready hold a valid `T` for ever; the depot says that the
            // chunk's type is `T`.
            f(unsafe { &*chunk.base.add(index * chunk.stride_bytes).cast::<T>() });
        }
    }
}

/// How much there is of the slots that `wanted` says yes to, by their depot; whether in use or not.
pub(crate) fn made(wanted: impl Fn(&Depot) -> bool) -> Made {
    let mut made = Made { slots: 0, bytes: 0 };
    // SAFETY: depots are statics.
    for chunk in chunks().filter(|chunk| wanted(unsafe { &*chunk.depot })) {
        let slots = chunk.ready_slots().map(|slots| slots.len() as u64).sum::<u64>();
        made.slots += slots;
        made.bytes += slots * chunk.stride_bytes as u64;
    }
    made
}

/// What [`made`] has counted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Made {
    pub(crate) slots: u64,
    pub(crate) bytes: u64,
}

/// The number by which depots know a node.
pub(super) fn node_index(node: usize) -> usize {
    let index = node % NODES_MAX;
    NODE_COUNT.fetch_max(index + 1, Ordering::Relaxed);
    index
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
    /// Where the thread is, among the depot's nodes.
    node: Cell<usize>,
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
        if let Some(full) = T::depot().pop(self.node.get()) {
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
        let (count, slot) = (self.count.get(), ptr::from_ref(slot).cast::<Node>().cast_mut());
        match self.loaded.get() {
            Some(loaded) if count != T::BATCH => {
                loaded.put(count, slot);
                self.count.set(count + 1);
            }
            _ => self.make_room_for(slot, T::depot()),
        }
    }

    /// The loaded magazine is full, or there is none: puts the slot into one that is empty.
    ///
    /// PERF: does all that is left to do, so that callers keep nothing across the call for it (`ramie-bench instructions`, path `detach`).
    #[cold]
    #[inline(never)]
    fn make_room_for(&self, slot: *mut Node, depot: &'static Depot) {
        self.make_room(depot);
        let count = self.count.get();
        self.loaded.get().expect("it was just loaded").put(count, slot);
        self.count.set(count + 1);
    }

    fn make_room(&self, depot: &'static Depot) {
        if self.loaded.get().is_none() {
            self.loaded.set(Some(magazine::take_empty()));
            return;
        }
        match self.spare.get() {
            Some(spare) if spare.count() > 0 => {
                self.spare.set(Some(magazine::take_empty()));
                depot.push(spare, self.node.get());
            }
            Some(_) => {}
            None => self.spare.set(Some(magazine::take_empty())),
        }
        self.swap();
    }

    /// The thread is on this node from now on; it has given back what it had from another one.
    pub(super) fn set_node(&self, node: usize) {
        self.node.set(node);
    }

    /// For a thread that ends, or goes to another node.
    pub(super) fn give_all_back(&self, depot: &'static Depot) {
        for _ in 0..2 {
            self.swap();
            match self.spare.take() {
                Some(magazine) if magazine.count() > 0 => depot.push(magazine, self.node.get()),
                Some(magazine) => magazine::drop_empty(magazine),
                None => {}
            }
        }
    }
}
