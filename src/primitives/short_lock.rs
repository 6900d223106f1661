//! A mutex for critical sections of a few steps, which is cheaper to unlock than std's: by a store, where a read-modify-write takes as long as all
//! of the critical section.
//!
//! A store cannot tell whether somebody sleeps until the mutex is free. So sleepers are counted elsewhere: whoever is about to sleep adds itself to a
//! count and looks at the mutex once more; whoever unlocks looks at the count afterwards, and wakes one of those who sleep at this mutex if there are any.
//! Between the two steps of each there is the [asymmetric fence](super): nearly nothing for the one who unlocks.
//!
//! The counts are statics, several mutexes to a count, for after the store the mutex may be gone: whoever locks it next may own it. Of the mutex itself only the
//! address is used then, and a wake of somebody else who sleeps at that address now is one for no reason.
//!
//! LIVENESS: of a sleeper's look after its fence and an unlocker's look after its fence one sees what the other did. Whoever is woken and finds the mutex
//! taken sleeps on, still counted, and whoever has taken it wakes one when it unlocks.
//!
//! PERF: benches `event_ping_pong`, `mutex_ping_pong` and `channel_ping_pong`. loom holds this with full fences in `short_lock/model.rs`; that the barrier of all
//! threads stands in for one of them is an argument. `short_lock/tests.rs` sleeps for real.

#![cfg_attr(not(loom), expect(unsafe_code, reason = "hands out what is under the lock"))]

use super::{AtomicU32, Ordering, fence, heavy_fence, spin_loop};

const FREE: u32 = 0;
const HELD: u32 = 1;

/// In a count: whoever unlocks needs a full fence.
const FENCES: u32 = 1 << 31;

/// How often whoever finds it taken looks again before sleeping.
const SPINS: u32 = if cfg!(loom) { 0 } else { 100 };

/// The protocol; sleeping and waking are the caller's.
struct Word(AtomicU32);

impl Word {
    #[inline(always)]
    fn try_lock(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `unlock`.
        self.0.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }

    /// `sleep` returns when somebody was woken at this word, at once if it is not HELD, or for no reason.
    #[cold]
    #[inline(never)]
    fn lock_slow(&self, sleepers: &AtomicU32, sleep: impl Fn(&AtomicU32)) {
        for _ in 0..SPINS {
            spin_loop();
            if self.0.load(Ordering::Relaxed) == FREE && self.try_lock() {
                return;
            }
        }
        let before = sleepers.fetch_add(1, Ordering::Relaxed);
        // ORDERING: pairs with the fences in `unlock`. The flag is taken away once and before any other is relied upon: an unlocker that reads the count without it
        // reads a value after this addition, or is reached by the barrier.
        heavy_fence(before & FENCES == 0);
        while !self.try_lock() {
            sleep(&self.0);
        }
        sleepers.fetch_sub(1, Ordering::Relaxed);
    }

    /// `wake` wakes one who sleeps at this address; the word may be gone then.
    #[inline(always)]
    fn unlock(&self, sleepers: &AtomicU32, wake: impl Fn(*const AtomicU32)) {
        let word = &raw const self.0;
        self.0.store(FREE, Ordering::Release);
        // ORDERING: between the store and the load, with the heavy fence in `lock_slow`.
        #[cfg(not(loom))]
        super::light_fence();
        if sleepers.load(Ordering::Relaxed) != 0 {
            Self::wake_slow(sleepers, word, wake);
        }
    }

    #[cold]
    #[inline(never)]
    fn wake_slow(sleepers: &AtomicU32, word: *const AtomicU32, wake: impl Fn(*const AtomicU32)) {
        if sleepers.load(Ordering::Relaxed) & FENCES != 0 {
            fence(Ordering::SeqCst);
        }
        if sleepers.load(Ordering::Relaxed) & !FENCES != 0 {
            wake(word);
        }
    }
}

#[cfg(all(target_os = "linux", not(any(loom, shuttle))))]
mod imp {
    use super::{AtomicU32, FENCES, FREE, Ordering, Word};
    use crate::sys::futex;
    use crossbeam_utils::CachePadded;
    use std::cell::UnsafeCell;
    use std::marker::PhantomData;
    use std::ops::{Deref, DerefMut};
    use std::panic::{RefUnwindSafe, UnwindSafe};
    use std::ptr;

    const COUNTS: usize = 16;
    static SLEEPERS: [CachePadded<AtomicU32>; COUNTS] =
        [const { CachePadded::new(AtomicU32::new(FENCES)) }; COUNTS];

    /// Says that the barrier of all threads is to be had: from now on unlocking needs no fence.
    pub(in crate::primitives) fn rely_on_barriers() {
        for sleepers in &SLEEPERS {
            // Everybody reads these when unlocking.
            if sleepers.load(Ordering::Relaxed) & FENCES != 0 {
                sleepers.fetch_and(!FENCES, Ordering::Relaxed);
            }
        }
    }

    /// See the [module](super).
    pub(crate) struct ShortMutex<T> {
        word: Word,
        data: UnsafeCell<T>,
    }

    // SAFETY: as for every mutex: one thread at a time has the data.
    unsafe impl<T: Send> Send for ShortMutex<T> {}
    // SAFETY: as above.
    unsafe impl<T: Send> Sync for ShortMutex<T> {}
    // As std's.
    impl<T> UnwindSafe for ShortMutex<T> {}
    impl<T> RefUnwindSafe for ShortMutex<T> {}

    impl<T> ShortMutex<T> {
        pub(crate) const fn new(data: T) -> Self {
            Self { word: Word(AtomicU32::new(FREE)), data: UnsafeCell::new(data) }
        }

        /// Locks it, whether or not a holder panicked: see [`lock`](crate::primitives::lock).
        #[inline(always)]
        pub(crate) fn lock(&self) -> ShortGuard<'_, T> {
            if !self.word.try_lock() {
                self.word.lock_slow(self.sleepers(), |word| futex::wait(word, super::HELD, None));
            }
            ShortGuard { mutex: self, not_send: PhantomData }
        }

        #[inline(always)]
        fn sleepers(&self) -> &'static AtomicU32 {
            // By cache line: neighbours share a count, and wake for nobody while the other's sleep.
            &SLEEPERS[(ptr::from_ref(&self.word).addr() >> 6) % COUNTS]
        }
    }

    /// What [`ShortMutex::lock`] gives.
    pub(crate) struct ShortGuard<'a, T> {
        mutex: &'a ShortMutex<T>,
        not_send: PhantomData<*const ()>,
    }

    impl<T> Deref for ShortGuard<'_, T> {
        type Target = T;

        #[inline(always)]
        fn deref(&self) -> &T {
            // SAFETY: whoever has the guard has the data.
            unsafe { &*self.mutex.data.get() }
        }
    }

    impl<T> DerefMut for ShortGuard<'_, T> {
        #[inline(always)]
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: as above.
            unsafe { &mut *self.mutex.data.get() }
        }
    }

    impl<T> Drop for ShortGuard<'_, T> {
        #[inline(always)]
        fn drop(&mut self) {
            self.mutex.word.unlock(self.mutex.sleepers(), futex::wake_one_at);
        }
    }
}

#[cfg(any(not(target_os = "linux"), loom, shuttle))]
mod imp {
    use crate::primitives::{Mutex, MutexGuard, lock};

    pub(crate) type ShortGuard<'a, T> = MutexGuard<'a, T>;

    pub(in crate::primitives) fn rely_on_barriers() {}

    /// Where there is no futex, or a model checker watches: an ordinary one.
    pub(crate) struct ShortMutex<T>(Mutex<T>);

    impl<T> ShortMutex<T> {
        #[cfg(not(loom))]
        pub(crate) const fn new(data: T) -> Self {
            Self(Mutex::new(data))
        }

        #[cfg(loom)]
        pub(crate) fn new(data: T) -> Self {
            Self(Mutex::new(data))
        }

        pub(crate) fn lock(&self) -> ShortGuard<'_, T> {
            lock(&self.0)
        }
    }
}

pub(super) use imp::rely_on_barriers;
pub(crate) use imp::{ShortGuard, ShortMutex};

#[cfg(all(test, loom))]
mod model;

#[cfg(all(test, target_os = "linux", not(any(loom, shuttle))))]
mod tests;
