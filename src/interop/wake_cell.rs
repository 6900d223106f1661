//! What wakers of `block_on` refer to: whether the future wants to be polled again, and who waits for that.
//!
//! ```text
//!            wake                 poll begins
//!   Empty ─────────> Notified ─────────────────> Empty
//!     │ the waiter is about to suspend               ^
//!     └──────> Waiting ──wake, which wakes it──> Notified ──it goes on──┘
//! ```
//!
//! A cell belongs to one `block_on`, is taken from a pool, and counts its wakers; so a waker may be called, or dropped, whenever and
//! wherever it likes: after the future has ended it meets a cell for which nobody waits.
//!
//! loom holds this in `wake_cell/model.rs`.

#![cfg_attr(not(loom), expect(unsafe_code, reason = "wakers are made of pointers to slots"))]

use crate::primitives::{AtomicPtr, AtomicU32, Ordering};
use std::ptr;

use crate::memory::node::Node;

const EMPTY: u32 = 0;
const WAITING: u32 = 1;
const NOTIFIED: u32 = 2;

/// The protocol; see the [module](self).
pub(crate) struct WakeWord {
    state: AtomicU32,
    /// Who waits. Written by the waiter before it says WAITING, read by whoever takes that away.
    waiter: AtomicPtr<Node>,
}

impl WakeWord {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU32::new(EMPTY), waiter: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Somebody wants the future to be polled; gives the waiter that is to be woken for it.
    pub(crate) fn notify(&self) -> Option<*mut Node> {
        // ORDERING: Release: the poll that follows sees what was done before the wake. Acquire for the waiter's node.
        match self.state.swap(NOTIFIED, Ordering::AcqRel) {
            WAITING => Some(self.waiter.load(Ordering::Relaxed)),
            _ => None,
        }
    }

    /// Takes a notification that is there; whether there was one.
    pub(crate) fn take(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `notify`. Not a store: a notification that comes meanwhile would be lost.
        self.state.compare_exchange(NOTIFIED, EMPTY, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// The waiter behind `node` is about to suspend; false if there is a notification.
    #[must_use]
    pub(crate) fn wait(&self, node: *mut Node) -> bool {
        self.waiter.store(node, Ordering::Relaxed);
        // ORDERING: Release publishes the node.
        self.state.compare_exchange(EMPTY, WAITING, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

#[cfg(not(loom))]
pub(crate) use cell::WakeCell;

#[cfg(not(loom))]
mod cell {
    use super::{WakeWord, ptr};
    use crate::memory::slots::{Cache, Caches, Depot, Slot};
    use crate::primitives::{AtomicUsize, Ordering, fence};
    use crate::sched::{current, wake};
    use std::mem::ManuallyDrop;
    use std::task::{RawWaker, RawWakerVTable, Waker};

    static WAKERS: Depot = Depot::new();

    /// A cell in its slot.
    #[repr(C, align(64))]
    pub(crate) struct WakeCell {
        pub(crate) word: WakeWord,
        /// The `block_on`, and its wakers.
        references: AtomicUsize,
    }

    // SAFETY: 1. No id of a cell is given to anybody. 2. Slots are not moved or freed. 3. `WAKERS` serves this type alone.
    unsafe impl Slot for WakeCell {
        fn vacant(_: u32) -> Self {
            Self { word: WakeWord::new(), references: AtomicUsize::new(0) }
        }

        fn depot() -> &'static Depot {
            &WAKERS
        }

        fn cache(caches: &Caches) -> &Cache {
            &caches.wakers
        }
    }

    impl WakeCell {
        /// A cell to which the caller has the only reference.
        pub(crate) fn take() -> &'static Self {
            let cell = current::with_caches(|caches| caches.wakers.alloc::<WakeCell>());
            // What the one before has left.
            cell.word.take();
            cell.references.store(1, Ordering::Relaxed);
            cell
        }

        fn add_reference(&self) {
            // ORDERING: Relaxed: a new reference comes from an old one.
            let before = self.references.fetch_add(1, Ordering::Relaxed);
            if before > usize::MAX / 2 {
                // As for `Arc`: only leaked wakers can be so many.
                std::process::abort();
            }
        }

        /// Lets go of one reference; the last frees the cell.
        pub(crate) fn drop_reference(&'static self) {
            // ORDERING: as for `CounterCell`.
            if self.references.fetch_sub(1, Ordering::Release) == 1 {
                fence(Ordering::Acquire);
                // SAFETY: 1. Allocated in `take`. 2. Nobody refers to it any more.
                current::with_caches(|caches| unsafe { caches.wakers.free(self) });
            }
        }

        fn notify(&self) {
            if let Some(node) = self.word.notify() {
                wake::wake_one(node);
            }
        }

        /// What a waker is made of that has a reference of its own.
        pub(crate) fn raw_waker(&'static self) -> RawWaker {
            self.add_reference();
            RawWaker::new(ptr::from_ref(self).cast(), &VTABLE)
        }

        /// A waker that uses the caller's reference.
        pub(crate) fn borrowed_waker(&'static self) -> ManuallyDrop<Waker> {
            // SAFETY: the functions below do what `RawWaker` asks for, on any thread; it is not dropped, so the reference stays the caller's.
            ManuallyDrop::new(unsafe { Waker::new(ptr::from_ref(self).cast(), &VTABLE) })
        }
    }

    static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

    /// # Safety
    ///
    /// `data` is a cell's address, and the caller has a reference to it.
    unsafe fn cell_of(data: *const ()) -> &'static WakeCell {
        // SAFETY: promised by the caller; slots live for ever.
        unsafe { &*data.cast::<WakeCell>() }
    }

    unsafe fn clone(data: *const ()) -> RawWaker {
        // SAFETY: this waker has a reference.
        unsafe { cell_of(data) }.raw_waker()
    }

    unsafe fn wake(data: *const ()) {
        // SAFETY: this waker has a reference, which is given up.
        let cell = unsafe { cell_of(data) };
        cell.notify();
        cell.drop_reference();
    }

    unsafe fn wake_by_ref(data: *const ()) {
        // SAFETY: this waker has a reference.
        unsafe { cell_of(data) }.notify();
    }

    unsafe fn drop_waker(data: *const ()) {
        // SAFETY: this waker has a reference, which is given up.
        unsafe { cell_of(data) }.drop_reference();
    }
}

#[cfg(all(test, loom))]
mod model;
