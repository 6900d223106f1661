//! A Chase-Lev deque of pointers: the owner pushes and pops at the bottom, thieves steal from the top.
//!
//! Chase and Lev, "Dynamic Circular Work-Stealing Deque" (SPAA 2005), with the orderings of Lê, Pop,
//! Cohen and Zappa Nardelli, "Correct and Efficient Work-Stealing for Weak Memory Models" (PPoPP 2013).
//!
//! ```text
//!        top (thieves: CAS +1)                  bottom (owner)
//!         v                                       v
//!   ... | a | b | c | d | e | f | g | h | i | j |   ...      indices only grow; ring position = index & mask
//! ```
//!
//! - An item is in the deque while `top <= its index < bottom`. All of it is visible to thieves at all times.
//! - `pop` lowers `bottom`, then looks at `top`; `steal` looks at `top`, then at `bottom`. A full fence on
//!   each side means that of an owner and a thief that go for the same item at least one sees the
//!   other; both then go for it by a compare-exchange of `top`, which one of them wins.
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

use crate::primitives::{AtomicPtr, AtomicUsize, Ordering, fence};
use crossbeam_utils::CachePadded;
use std::cell::Cell;
use std::ptr;

/// Slots of the first ring; loom wants it tiny so that it meets growth.
const FIRST_CAPACITY: usize = if cfg!(loom) { 2 } else { 256 };

/// What a thief got.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Steal {
    Empty,
    /// Somebody else took the item; there may be more.
    Retry,
    Item(*mut ()),
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
    fn at(&self, index: usize) -> &AtomicPtr<()> {
        let mask = self.slots.len() - 1;
        // SAFETY: the capacity is a power of two, so the masked index is below it.
        unsafe { self.slots.get_unchecked(index & mask) }
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

/// What the owner reads and writes at every operation.
struct OwnerSide {
    /// One above the newest item. Written by the owner, read by thieves.
    bottom: AtomicUsize,
    /// A value that `top` had once; the true one is no lower. Owner only.
    top_seen: Cell<usize>,
}

/// See the [module](self).
pub(crate) struct Deque {
    owner: CachePadded<OwnerSide>,
    /// The oldest item's index. Incremented by a compare-exchange of whoever takes that item.
    top: CachePadded<AtomicUsize>,
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
        Self {
            stale,
            owner: CachePadded::new(OwnerSide { bottom: AtomicUsize::new(1), top_seen: Cell::new(1) }),
            top: CachePadded::new(AtomicUsize::new(1)),
            ring: CachePadded::new(AtomicPtr::new(Ring::leak(FIRST_CAPACITY, ptr::null_mut()))),
        }
    }

    /// Adds `item` at the bottom.
    ///
    /// # Safety
    ///
    /// The caller is the owner: calls to `push`, `pop` and `reset` happen one after another, each
    /// before the next.
    #[inline]
    pub(crate) unsafe fn push(&self, item: *mut ()) {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        // SAFETY: the ring is freed only by `reset` and `drop`.
        let ring = unsafe { &*self.ring.load(Ordering::Relaxed) };
        if bottom - self.owner.top_seen.get() >= ring.slots.len() {
            // SAFETY: promised by the caller.
            return unsafe { self.push_into_full(item, ring) };
        }
        // SAFETY: promised by the caller; there is room.
        unsafe { self.push_into(ring, item) };
    }

    /// # Safety
    ///
    /// As for [`push`](Self::push); `ring` is the current one and has room.
    #[inline]
    unsafe fn push_into(&self, ring: &Ring, item: *mut ()) {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        ring.at(bottom).store(item, Ordering::Relaxed);
        // ORDERING: Release publishes the item to the Acquire of `bottom` in `steal`.
        self.owner.bottom.store(bottom + 1, Ordering::Release);
    }

    /// # Safety
    ///
    /// As for [`push`](Self::push); `ring` is the current one.
    #[cold]
    #[inline(never)]
    unsafe fn push_into_full<'a>(&'a self, item: *mut (), mut ring: &'a Ring) {
        if self.free_count(ring) == 0 {
            // SAFETY: promised by the caller.
            unsafe { self.drop_stale(ring) };
            if self.free_count(ring) <= ring.slots.len() / 8 {
                ring = self.grow(ring);
            }
        }
        // SAFETY: promised by the caller; thieves can only have made more room.
        unsafe { self.push_into(ring, item) };
    }

    /// How many items the ring has room for.
    fn free_count(&self, ring: &Ring) -> usize {
        // ORDERING: Acquire pairs with the compare-exchange in `steal`: the thief has read its item before this owner
        // writes another one to the same place.
        let top = self.top.load(Ordering::Acquire);
        self.owner.top_seen.set(top);
        ring.slots.len() - (self.owner.bottom.load(Ordering::Relaxed) - top)
    }

    /// Gets rid of stale items if there seem to be many. The others keep their order.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push); `ring` is the current one.
    unsafe fn drop_stale(&self, ring: &Ring) {
        let Some(stale) = self.stale else { return };
        let end = self.owner.bottom.load(Ordering::Relaxed);
        let begin = self.top.load(Ordering::Relaxed);
        // Odd steps, which meet all patterns that repeat every few items.
        let step = ((end - begin) / SAMPLE) | 1;
        let sample = (begin..end).step_by(step).take(SAMPLE);
        // SAFETY: all these were in the ring; some may have been stolen meanwhile.
        let stale_count =
            sample.filter(|index| unsafe { (stale.is)(ring.at(*index).load(Ordering::Relaxed)) }).count();
        if stale_count < SAMPLE_STALE_MIN {
            return;
        }
        loop {
            // ORDERING: Acquire, as in `free_count`.
            let top = self.top.load(Ordering::Acquire);
            if top >= end {
                return;
            }
            let item = ring.at(top).load(Ordering::Relaxed);
            // ORDERING: SeqCst, like the compare-exchange in `steal`, with which it competes.
            if self.top.compare_exchange(top, top + 1, Ordering::SeqCst, Ordering::Relaxed).is_err() {
                continue;
            }
            // SAFETY: the item was just taken out, which has also made room for one.
            unsafe {
                if (stale.is)(item) {
                    (stale.drop)(item);
                } else {
                    self.push_into(ring, item);
                }
            }
        }
    }

    /// Replaces the ring by one of twice the size.
    fn grow<'a>(&'a self, ring: &'a Ring) -> &'a Ring {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        let top = self.top.load(Ordering::Relaxed);
        let wider = Ring::leak(ring.slots.len() * 2, ptr::from_ref(ring).cast_mut());
        // SAFETY: just made.
        let wide = unsafe { &*wider };
        for index in top..bottom {
            wide.at(index).store(ring.at(index).load(Ordering::Relaxed), Ordering::Relaxed);
        }
        // ORDERING: Release publishes the copied items to the Acquire of `ring` in `steal`.
        self.ring.store(wider, Ordering::Release);
        wide
    }

    /// Takes the newest item.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[inline]
    pub(crate) unsafe fn pop(&self) -> Option<*mut ()> {
        let bottom = self.owner.bottom.load(Ordering::Relaxed) - 1;
        // ORDERING: Release, because a thief may read this value of `bottom` and needs the items below it.
        self.owner.bottom.store(bottom, Ordering::Release);
        // ORDERING: pairs with the fence in `steal`: either the thief sees the lowered `bottom`, or
        // this owner the raised `top`.
        fence(Ordering::SeqCst);
        let top = self.top.load(Ordering::Relaxed);
        if top < bottom {
            // SAFETY: as in `push`.
            return Some(unsafe { &*self.ring.load(Ordering::Relaxed) }.at(bottom).load(Ordering::Relaxed));
        }
        self.pop_last(bottom, top)
    }

    /// The newest item, which a thief may be about to take.
    ///
    /// # Safety
    ///
    /// As for [`push`](Self::push).
    #[cfg(not(loom))]
    pub(crate) unsafe fn newest(&self) -> Option<*mut ()> {
        let bottom = self.owner.bottom.load(Ordering::Relaxed);
        if self.top.load(Ordering::Relaxed) >= bottom {
            return None;
        }
        // SAFETY: as in `push`.
        Some(unsafe { &*self.ring.load(Ordering::Relaxed) }.at(bottom - 1).load(Ordering::Relaxed))
    }

    /// There is at most one item left, and thieves may be after it.
    #[inline(never)]
    fn pop_last(&self, bottom: usize, top: usize) -> Option<*mut ()> {
        let mut item = None;
        if top == bottom {
            // ORDERING: SeqCst, like the compare-exchange in `steal`, with which it competes.
            let won = self.top.compare_exchange(top, top + 1, Ordering::SeqCst, Ordering::Relaxed).is_ok();
            if won {
                // SAFETY: as in `push`.
                let ring = unsafe { &*self.ring.load(Ordering::Relaxed) };
                item = Some(ring.at(bottom).load(Ordering::Relaxed));
            }
        }
        // ORDERING: Release, as in `pop`.
        self.owner.bottom.store(bottom + 1, Ordering::Release);
        item
    }

    /// Takes the oldest item. Any thread may call this, the owner too.
    pub(crate) fn steal(&self) -> Steal {
        // ORDERING: Acquire orders this load before the one of `bottom`, with the fence.
        let top = self.top.load(Ordering::Acquire);
        // ORDERING: pairs with the fence in `pop`.
        fence(Ordering::SeqCst);
        // ORDERING: Acquire pairs with the Release in `push`.
        let bottom = self.owner.bottom.load(Ordering::Acquire);
        if top >= bottom {
            return Steal::Empty;
        }
        // ORDERING: Acquire pairs with the Release in `grow`.
        // SAFETY: rings are kept while there are thieves.
        let ring = unsafe { &*self.ring.load(Ordering::Acquire) };
        let item = ring.at(top).load(Ordering::Relaxed);
        match self.top.compare_exchange(top, top + 1, Ordering::SeqCst, Ordering::Relaxed) {
            Ok(_) => Steal::Item(item),
            Err(_) => Steal::Retry,
        }
    }

    /// Whether there seems to be nothing in it. Exact for the owner when no thief is at work.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn len(&self) -> usize {
        let top = self.top.load(Ordering::Relaxed);
        self.owner.bottom.load(Ordering::Relaxed).saturating_sub(top)
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
            self.ring.store(Ring::leak(FIRST_CAPACITY, ptr::null_mut()), Ordering::Relaxed);
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
