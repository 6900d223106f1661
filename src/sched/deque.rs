//! A work-stealing deque of pointers: the owner pushes and pops at the bottom, thieves steal from the top, several at a time.
//!
//! From Chase and Lev, "Dynamic Circular Work-Stealing Deque" (SPAA 2005), with the orderings of Lê, Pop,
//! Cohen and Zappa Nardelli, "Correct and Efficient Work-Stealing for Weak Memory Models" (PPoPP 2013). What differs is that
//! thieves announce what they are after: a *claim*.
//!
//! ```text
//!        top      end = top + claim             bottom (owner)
//!         v           v                           v
//!   ... | a | b | c | d | e | f | g | h | i | j |   ...      top only grows; ring position = index & mask
//!         \_________/
//!           claimed: a thief is about to take these        word: end (32 bits) | epoch (27) | claim (5)
//! ```
//!
//! - An item is in the deque while `top <= its index < bottom`. All of it is visible to thieves at all times.
//! - A thief **claims** the oldest items by a compare-exchange of the word, executes a full fence, and reads `bottom`. What of the
//!   claim lies below that it reads from the ring, and **takes** by a second compare-exchange, which raises `top` past it.
//! - The owner lowers `bottom`, executes a full fence, and reads the word. If the item is not claimed, it has it. Otherwise it first
//!   takes it out of the claim by a compare-exchange, or finds that it was stolen.
//! - So of an owner and a thief that go for the same item at least one sees the other (the fences): either the thief reads a `bottom`
//!   that excludes the item, or the owner sees the claim, and then one of two compare-exchanges of the same word wins.
//!   For an item that nobody claims the owner needs none, even if it is the last.
//! - The epoch changes with every change of the word, so a thief that takes its claim knows that the owner has taken
//!   nothing out of it since, and that what it has read from the ring is what is there.
//! - A claim holds up nobody: a thief that finds one goes on with it as if it were its own, and only one of them will take it.
//! - The ring doubles when it is full. Old rings are kept, because a thief may still read from one; it then reads
//!   what was there when the ring was current, and its compare-exchange decides whether that counts.
//!   They are freed in `reset`, when there are no thieves, or with the deque.
//!
//! - A ring that is full is first looked through for entries that are [stale](Stale), so that an owner that pushes for
//!   ever, and whose items are used up elsewhere, does not need ever more memory. The owner steals its items one by one and
//!   pushes those again that are of use, which leaves their order as it was. It does so only if a sample says that it is
//!   worth it: each time at least about a quarter of the ring is free afterwards, so an item costs a few steps more.
//!
//! loom holds this in `deque/model.rs`.

#![expect(unsafe_code, reason = "owner-only operations on shared memory")]

use crate::primitives::{AtomicPtr, AtomicU64, LoadOwn, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::ptr;

/// Slots of the first ring; loom wants it tiny so that it meets growth.
const FIRST_CAPACITY: usize = if cfg!(loom) { 2 } else { 256 };

/// What a thief got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Steal<T = *mut ()> {
    Empty,
    /// Somebody else has claimed something, or taken it, or taken it back; there may be more.
    Retry,
    Item(T),
}

/// How an item leaves the deque when a thief comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaves {
    /// Not at all.
    #[cfg_attr(loom, allow(dead_code, reason = "only thieves of `steal_if` say so"))]
    Not,
    Alone,
    /// With others that do.
    Together,
}

/// The thieves' word; see the [module](self).
#[derive(Clone, Copy, PartialEq, Eq)]
struct Word(u64);

const CLAIM_BITS: u32 = 5;
/// The word would have to change 2^27 times between a thief's two compare-exchanges for its epoch to come round: for seconds,
/// with `top` where it was. That the thief wakes in that very instant is what this leaves to chance.
const EPOCH_BITS: u32 = 27;
const END_SHIFT: u32 = CLAIM_BITS + EPOCH_BITS;
/// The most that can be claimed at once.
pub(crate) const CLAIM_MAX: usize = (1 << CLAIM_BITS) - 1;
/// A deque must hold fewer items than this, so that differences of indices keep their sign in the word. There are no more job
/// blocks.
const ITEMS_MAX: u64 = 1 << (63 - END_SHIFT);
const END_MASK: u64 = !0 << END_SHIFT;

impl Word {
    const fn new(end: u64, epoch: u64, claim: u64) -> Self {
        Self(end << END_SHIFT | (epoch << CLAIM_BITS & !END_MASK) | claim)
    }

    fn claim(self) -> u64 {
        self.0 & CLAIM_MAX as u64
    }

    fn epoch(self) -> u64 {
        self.0 >> CLAIM_BITS
    }

    /// How far `index` is above the end of the claim: right although the word does not hold all bits of the end.
    #[inline(always)]
    fn above_end(self, index: u64) -> i64 {
        let end = (self.0 >> END_SHIFT) as u32;
        i64::from((index as u32).wrapping_sub(end) as i32)
    }

    /// How far `index` is above the oldest item: the number of items, if it is `bottom`.
    fn above_top(self, index: u64) -> i64 {
        self.above_end(index) + self.claim() as i64
    }

    /// The oldest item's index, all bits of it. Any index nearby will do.
    fn top(self, nearby: u64) -> u64 {
        nearby.wrapping_sub(self.above_top(nearby) as u64)
    }

    /// The same with the first `count` items claimed.
    fn with_claim(self, count: u64) -> Self {
        let end = (self.0 >> END_SHIFT).wrapping_sub(self.claim()).wrapping_add(count);
        Self::new(end, self.epoch().wrapping_add(1), count)
    }

    /// The same without the first `count` items, and without a claim.
    fn without(self, count: u64) -> Self {
        let end = (self.0 >> END_SHIFT).wrapping_sub(self.claim()).wrapping_add(count);
        Self::new(end, self.epoch().wrapping_add(1), 0)
    }
}

/// Where an item was pushed, for whoever will want that very item back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    /// One above the item's index: what `bottom` is when the item is the newest.
    above: u64,
}

/// What a thief sees before it goes for an item.
#[cfg(not(loom))]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Oldest {
    pub(crate) item: *mut (),
    pub(crate) count: usize,
}

/// How to tell, and get rid of, items that nobody needs any more: entries of jobs that were claimed without them.
pub(crate) struct Stale {
    /// Whether an item is of no use any more. Its answer is acted upon only if the item was still in the deque.
    ///
    /// # Safety
    ///
    /// The item was in the deque at some time.
    pub(crate) is: unsafe fn(*mut ()) -> bool,
    /// Lets go of a stale item.
    ///
    /// # Safety
    ///
    /// `is` has said so, and the caller has taken the item out.
    pub(crate) drop: unsafe fn(*mut ()),
}

/// Items that are looked at in a full ring, and how many of them must be stale for all to be looked at.
const SAMPLE: usize = 64;
const SAMPLE_STALE_MIN: usize = if cfg!(loom) { 1 } else { SAMPLE / 4 };

struct Ring {
    slots: Box<[AtomicPtr<()>]>,
    /// The ring that this one replaced. Owned.
    older: *mut Ring,
}

impl Ring {
    fn leak(capacity: usize, older: *mut Ring) -> *mut Ring {
        assert!(capacity.is_power_of_two());
        let slots = (0..capacity).map(|_| AtomicPtr::new(ptr::null_mut())).collect();
        Box::into_raw(Box::new(Ring { slots, older }))
    }

    #[inline]
    fn at(&self, index: u64) -> &AtomicPtr<()> {
        let mask = self.slots.len() - 1;
        // SAFETY: the capacity is a power of two, so the masked index is below it.
        unsafe { self.slots.get_unchecked(index as usize & mask) }
    }

    fn capacity(&self) -> u64 {
        self.slots.len() as u64
    }
}

/// Frees `ring` and all that it replaced.
///
/// # Safety
///
/// 1. `ring` is null or came from [`Ring::leak`], and nobody else will free it.
/// 2. Nobody reads from these rings any more.
unsafe fn free_rings(mut ring: *mut Ring) {
    while !ring.is_null() {
        // SAFETY: by 1 this is the only owner, by 2 the last user.
        ring = unsafe { Box::from_raw(ring) }.older;
    }
}

/// The index of the first item. The owner looks one below it when the deque is empty.
const FIRST_INDEX: u64 = 1;

/// What the owner reads and writes at every operation.
struct OwnerSide {
    /// One above the newest item. Written by the owner, read by thieves.
    bottom: AtomicU64,
    /// The ring is not full below this value of `bottom`: a value that `top` had once, plus the capacity. Owner only, like
    /// the rest.
    full_at: Cell<u64>,
    /// The current ring's first slot, and its capacity less one.
    slots: Cell<*const AtomicPtr<()>>,
    mask: Cell<usize>,
}

impl OwnerSide {
    fn new(ring: &Ring, top: u64) -> Self {
        let side = Self {
            bottom: AtomicU64::new(top),
            full_at: Cell::new(0),
            slots: Cell::new(ptr::null()),
            mask: Cell::new(0),
        };
        side.adopt(ring, top);
        side
    }

    /// Works on this ring from now on; `top` is a value that the deque's had.
    fn adopt(&self, ring: &Ring, top: u64) {
        self.slots.set(ring.slots.as_ptr());
        self.mask.set(ring.slots.len() - 1);
        self.full_at.set(top + ring.capacity());
    }

    /// The slot of this index. For the owner.
    #[inline]
    fn at(&self, index: u64) -> &AtomicPtr<()> {
        // SAFETY: the capacity is a power of two, so the masked index is below it; the ring is freed only by `reset`,
        // which adopts another, and `drop`.
        unsafe { &*self.slots.get().add(index as usize & self.mask.get()) }
    }
}

/// See the [module](self).
pub(crate) struct Deque {
    owner: CachePadded<OwnerSide>,
    /// What is claimed, and so which item is the oldest: a [`Word`].
    word: CachePadded<AtomicU64>,
    /// Written by the owner when the ring grows, read by all.
    ring: CachePadded<AtomicPtr<Ring>>,
    stale: Option<&'static Stale>,
}

// SAFETY: the `Cell` and the owner's operations are reached through unsafe functions alone, whose
// contract is that one thread at a time is the owner. Items are plain pointers to this type.
unsafe impl Sync for Deque {}
// SAFETY: as above; a new owner is established by a happens-before edge (see `push`).
unsafe impl Send for Deque {}

impl Deque {
    /// A deque none of whose items is ever stale.
    #[cfg(test)]
    pub(crate) fn new() -> Self {
        Self::with(None)
    }

    pub(crate) fn with_stale(stale: &'static Stale) -> Self {
        Self::with(Some(stale))
    }

    fn with(stale: Option<&'static Stale>) -> Self {
        Self::starting_at(FIRST_INDEX, stale)
    }

    fn starting_at(index: u64, stale: Option<&'static Stale>) -> Self {
        let ring = Ring::leak(FIRST_CAPACITY, ptr::null_mut());
        Self {
            stale,
            // SAFETY: just made.
            owner: CachePadded::new(OwnerSide::new(unsafe { &*ring }, index)),
            word: CachePadded::new(AtomicU64::new(Word::new(index, 0, 0).0)),
            ring: CachePadded::new(AtomicPtr::new(ring)),
        }
    }

    /// Adds `item` at the bottom.
    ///
    /// # Safety
    ///
    /// The caller is the owner: calls to `push`, `pop` and `reset` happen one after another, each
    /// before the next.
    #[inline]
    pub(crate) unsafe fn push(&self, item: *mut ()) -> Place {
        // SAFETY: promised by the caller.
        unsafe { self.try_push(item).unwrap_or_else(|| self.push_into_full(item)) }
    }

    /// The same, if there is plainly room: otherwise it is up to [`push_into_full`](Self::push_into_full).
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[inline(always)]
    pub(crate) unsafe fn try_push(&self, item: *mut ()) -> Option<Place> {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        (bottom < self.owner.full_at.get()).then(|| self.push_at(bottom, item))
    }

    /// The rest of a push, if there is room.
    #[inline]
    fn push_at(&self, bottom: u64, item: *mut ()) -> Place {
        self.owner.at(bottom).store(item, Ordering::Relaxed);
        let place = Place { above: bottom + 1 };
        // ORDERING: Release publishes the item to the Acquire of `bottom` in `steal`.
        self.owner.bottom.store(place.above, Ordering::Release);
        place
    }

    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn push_into_full(&self, item: *mut ()) -> Place {
        // SAFETY: the ring is freed only by `reset` and `drop`.
        let ring = unsafe { &*self.ring.load(Ordering::Relaxed) };
        if self.free_count(ring) == 0 {
            // SAFETY: promised by the caller.
            unsafe { self.drop_stale(ring) };
            if self.free_count(ring) <= ring.capacity() / 8 {
                self.grow(ring);
            }
        }
        // Thieves can only have made more room.
        self.push_at(self.owner.bottom.load(Ordering::Relaxed), item)
    }

    /// How many items the ring has room for.
    fn free_count(&self, ring: &Ring) -> u64 {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        // ORDERING: Acquire pairs with the compare-exchange in `take`: the thief has read its items before this owner
        // writes others to the same places.
        let top = self.word(Ordering::Acquire).top(bottom);
        self.owner.full_at.set(top + ring.capacity());
        ring.capacity() - (bottom - top)
    }

    #[inline]
    fn word(&self, ordering: Ordering) -> Word {
        Word(self.word.load(ordering))
    }

    /// Gets rid of stale items if there seem to be many. The others keep their order.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push); `ring` is the current one.
    unsafe fn drop_stale(&self, ring: &Ring) {
        let Some(stale) = self.stale else { return };
        let end = self.owner.bottom.load(Ordering::Relaxed);
        let begin = self.word(Ordering::Relaxed).top(end);
        // Odd steps, which meet all patterns that repeat every few items.
        let step = ((end - begin) as usize / SAMPLE) | 1;
        let sample = (begin..end).step_by(step).take(SAMPLE);
        // SAFETY: all these were in the ring; some may have been stolen meanwhile.
        let stale_count =
            sample.filter(|index| unsafe { (stale.is)(ring.at(*index).load(Ordering::Relaxed)) }).count();
        if stale_count < SAMPLE_STALE_MIN {
            return;
        }
        let mut left = end - begin;
        while left > 0 {
            match self.steal() {
                // SAFETY: the item was just taken out, which has also made room for one.
                Steal::Item(item) => unsafe {
                    if (stale.is)(item) {
                        (stale.drop)(item);
                    } else {
                        _ = self.push_at(self.owner.bottom.load(Ordering::Relaxed), item);
                    }
                },
                Steal::Retry => {}
                Steal::Empty => return,
            }
            // Others may have taken some, and this owner has pushed some above `end`.
            let top = self.word(Ordering::Relaxed).top(end);
            left = end.saturating_sub(top);
        }
    }

    /// Replaces the ring by one of twice the size.
    fn grow(&self, ring: &Ring) {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        let top = self.word(Ordering::Relaxed).top(bottom);
        assert!(2 * ring.capacity() < ITEMS_MAX, "ramie: too many jobs at once");
        let wider = Ring::leak(ring.slots.len() * 2, ptr::from_ref(ring).cast_mut());
        // SAFETY: just made.
        let wide = unsafe { &*wider };
        for index in top..bottom {
            wide.at(index).store(ring.at(index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // ORDERING: Release publishes the copied items to the Acquire of `ring` in `steal`.
        self.ring.store(wider, Ordering::Release);
        self.owner.adopt(wide, top);
    }

    /// Takes the newest item.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[inline]
    pub(crate) unsafe fn pop(&self) -> Option<*mut ()> {
        let (bottom, word) = self.lower_bottom();
        if word.above_end(bottom) >= 0 || self.take_back(bottom, word) {
            return Some(self.owner.at(bottom).load(Ordering::Relaxed));
        }
        None
    }

    /// Takes the newest item, and says whether it is this one, which was pushed at `place` and is still there, or was stolen, or
    /// popped. If the newest is another one, that is given, and must be pushed again.
    ///
    /// PERF: the usual case compares `bottom` and does not compute with it. Otherwise each pop would wait for the store of the one
    /// before to be forwarded, and each push for that: a chain through all joins of a thread, which took 9.3 ns a join where 6 are
    /// needed (bench `fib`).
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[inline]
    pub(crate) unsafe fn pop_exactly(&self, wanted: *mut (), place: Place) -> Result<(), Option<*mut ()>> {
        // SAFETY: only the owner writes `bottom`, and the ring.
        if unsafe { self.owner.bottom.load_own() } == place.above {
            let bottom = place.above - 1;
            let word = self.lower_bottom_to(bottom);
            // SAFETY: as above.
            if word.above_end(bottom) >= 0 && unsafe { self.owner.at(bottom).load_own() } == wanted {
                return Ok(());
            }
            return self.pop_another(wanted, bottom);
        }
        // SAFETY: promised by the caller.
        unsafe { self.pop_wherever(wanted) }
    }

    /// As [`pop_exactly`](Self::pop_exactly), wherever the item was pushed.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn pop_wherever(&self, wanted: *mut ()) -> Result<(), Option<*mut ()>> {
        let (bottom, _) = self.lower_bottom();
        self.pop_another(wanted, bottom)
    }

    /// `bottom` has been lowered to this.
    #[cold]
    #[inline(never)]
    fn pop_another(&self, wanted: *mut (), bottom: u64) -> Result<(), Option<*mut ()>> {
        // Any value since `bottom` was lowered will do.
        let word = self.word(Ordering::Relaxed);
        if word.above_end(bottom) >= 0 || self.take_back(bottom, word) {
            let item = self.owner.at(bottom).load(Ordering::Relaxed);
            return if item == wanted { Ok(()) } else { Err(Some(item)) };
        }
        Err(None)
    }

    /// The first half of a pop: the lowered `bottom`, and a word that was read after that.
    #[inline]
    fn lower_bottom(&self) -> (u64, Word) {
        let bottom = self.owner.bottom.load(Ordering::Relaxed) - 1;
        (bottom, self.lower_bottom_to(bottom))
    }

    #[inline]
    fn lower_bottom_to(&self, bottom: u64) -> Word {
        // ORDERING: Release, because a thief may read this value of `bottom` and needs the items below it.
        self.owner.bottom.store(bottom, Ordering::Release);
        // ORDERING: pairs with the fence in `take`: either the thief sees the lowered `bottom`, or
        // this owner the claim.
        fence(Ordering::SeqCst);
        self.word(Ordering::Relaxed)
    }

    /// The item at the lowered `bottom` is claimed by a thief, or is none: takes it back from the thief; if that cannot be,
    /// `bottom` is raised again.
    #[cold]
    #[inline(never)]
    fn take_back(&self, bottom: u64, mut word: Word) -> bool {
        loop {
            if word.above_end(bottom) >= 0 {
                return true;
            }
            let below = word.above_top(bottom);
            if below < 0 {
                // ORDERING: Release, as in `lower_bottom`.
                self.owner.bottom.store(bottom + 1, Ordering::Release);
                return false;
            }
            let next = word.with_claim(below as u64);
            // ORDERING: SeqCst, like all changes of the word: they compete.
            match self.word.compare_exchange(word.0, next.0, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = Word(now),
            }
        }
    }

    /// The newest item, which a thief may be about to take.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[cfg(not(loom))]
    pub(crate) unsafe fn newest(&self) -> Option<*mut ()> {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        if self.word(Ordering::Relaxed).above_top(bottom) <= 0 {
            return None;
        }
        Some(self.owner.at(bottom - 1).load(Ordering::Relaxed))
    }

    /// Takes the oldest item. Any thread may call this, the owner too.
    pub(crate) fn steal(&self) -> Steal {
        let mut item = [ptr::null_mut()];
        match self.steal_some(&mut item, |_| Leaves::Alone) {
            Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
            Steal::Item(_) => Steal::Item(item[0]),
        }
    }

    /// Takes the oldest item if it is `wanted`, and says that the deque is empty otherwise. Any thread may call this.
    #[cfg(not(loom))]
    pub(crate) fn steal_if(&self, wanted: impl Fn(*mut ()) -> bool) -> Steal {
        let mut item = [ptr::null_mut()];
        let leaves = |item| if wanted(item) { Leaves::Alone } else { Leaves::Not };
        match self.steal_some(&mut item, leaves) {
            Steal::Empty => Steal::Empty,
            Steal::Retry => Steal::Retry,
            Steal::Item(_) => Steal::Item(item[0]),
        }
    }

    /// Takes the oldest items, the oldest first: half of them, rounded up, but no more than there is room for, and only those that
    /// `leave` as they do. Gives their number, at least 1. Any thread may call this.
    ///
    /// The question is asked before it is certain that this thread gets the items: what it is asked about may be gone since long,
    /// or null, and the answer does not count then.
    pub(crate) fn steal_some(
        &self,
        items: &mut [*mut ()],
        leaves: impl Fn(*mut ()) -> Leaves,
    ) -> Steal<usize> {
        debug_assert!((1..=CLAIM_MAX).contains(&items.len()));
        // ORDERING: Acquire: what is seen in `bottom` next is no older than this word.
        let mut word = self.word(Ordering::Acquire);
        if word.claim() == 0 {
            let count = word.above_top(self.owner.bottom.load(Ordering::Relaxed));
            if count <= 0 {
                return Steal::Empty;
            }
            let wanted = (count as u64).div_ceil(2).min(items.len() as u64);
            let claimed = word.with_claim(wanted);
            // ORDERING: SeqCst, like all changes of the word: they compete.
            if self.word.compare_exchange(word.0, claimed.0, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                return Steal::Retry;
            }
            word = claimed;
        }
        self.take(word, items, leaves)
    }

    /// The second half of a steal: takes what this word, which was read from the deque or written to it, has claimed.
    fn take(&self, word: Word, items: &mut [*mut ()], leaves: impl Fn(*mut ()) -> Leaves) -> Steal<usize> {
        // ORDERING: pairs with the fence in `lower_bottom`.
        fence(Ordering::SeqCst);
        // ORDERING: Acquire pairs with the Release in `push_at`.
        let bottom = self.owner.bottom.load(Ordering::Acquire);
        let there = word.above_top(bottom).min(word.claim() as i64).min(items.len() as i64);
        let mut count = 0;
        if there > 0 {
            let top = word.top(bottom);
            // ORDERING: Acquire pairs with the Release in `grow`.
            // SAFETY: rings are kept while there are thieves.
            let ring = unsafe { &*self.ring.load(Ordering::Acquire) };
            for (index, place) in (top..).zip(&mut items[..there as usize]) {
                *place = ring.at(index).load(Ordering::Relaxed);
                let leaves = leaves(*place);
                if leaves == Leaves::Not || (leaves == Leaves::Alone && count > 0) {
                    break;
                }
                count += 1;
                if leaves == Leaves::Alone {
                    break;
                }
            }
        }
        let next = word.without(count as u64);
        // ORDERING: SeqCst, like all changes of the word. Release is part of it: the items were read before, see
        // `free_count`.
        match self.word.compare_exchange(word.0, next.0, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) if count > 0 => Steal::Item(count),
            // The owner has taken all of them.
            Ok(_) => Steal::Empty,
            Err(_) => Steal::Retry,
        }
    }

    /// The oldest item, and how many there are, as far as a thief can tell. Somebody else may have taken the item
    /// meanwhile, and it may be null.
    #[cfg(not(loom))]
    pub(crate) fn oldest(&self) -> Option<Oldest> {
        // ORDERING: Acquire, as in `steal_some`. A look needs no fence: what is acted upon is what `steal` says.
        let word = self.word(Ordering::Acquire);
        let bottom = self.owner.bottom.load(Ordering::Acquire);
        let count = word.above_top(bottom);
        if count <= 0 {
            return None;
        }
        let top = word.top(bottom);
        // SAFETY: rings are kept while there are thieves.
        let ring = unsafe { &*self.ring.load(Ordering::Acquire) };
        Some(Oldest { item: ring.at(top).load(Ordering::Relaxed), count: count as usize })
    }

    /// Whether there seems to be nothing in it. Exact for the owner when no thief is at work.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        let word = self.word(Ordering::Relaxed);
        word.above_top(self.owner.bottom.load(Ordering::Relaxed)).max(0) as usize
    }

    /// Frees the rings that were outgrown, and the current one if it is large.
    ///
    /// # Safety
    ///
    /// 1. As for [`push`](Self::push).
    /// 2. There are no thieves until the next push, and the deque is empty.
    #[cfg(not(loom))]
    pub(crate) unsafe fn reset(&self) {
        debug_assert!(self.is_empty());
        let ring = self.ring.load(Ordering::Relaxed);
        // SAFETY: the ring is live until freed below.
        if unsafe { &*ring }.slots.len() > FIRST_CAPACITY {
            let first = Ring::leak(FIRST_CAPACITY, ptr::null_mut());
            self.ring.store(first, Ordering::Relaxed);
            // SAFETY: just made.
            self.owner.adopt(unsafe { &*first }, self.owner.bottom.load(Ordering::Relaxed));
            // SAFETY: nobody else reads from the rings, by the caller's second promise.
            unsafe { free_rings(ring) };
        }
    }
}

impl Drop for Deque {
    fn drop(&mut self) {
        // SAFETY: `&mut self` says that there are neither owners nor thieves.
        unsafe { free_rings(self.ring.load(Ordering::Relaxed)) };
    }
}

#[cfg(test)]
mod tests;

#[cfg(all(test, loom))]
mod model;
