//! `OnceLock` and `Once`: something is made, or done, once.

#![expect(unsafe_code, reason = "shares a value after it was written once")]

use super::queue::{List, Queue, Woken};
use super::wait::{self, Enter, Terms};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::primitives::{AtomicU32, Ordering};
use std::cell::UnsafeCell;
use std::fmt;
use std::mem::MaybeUninit;
use std::panic::Location;

const NOT_BEGUN: u32 = 0;
const RUNNING: u32 = 1;
const DONE: u32 = 2;

/// Does something once; whoever comes meanwhile waits for its end.
///
/// As with [`OnceLock`], a panic leaves it as if nobody had begun: the next one who comes, or who waits, does it.
///
/// # Examples
///
/// ```
/// use ramie::sync::Once;
///
/// static SETUP: Once = Once::new();
/// ramie::par(0..10).for_each(|_| SETUP.call_once(|| println!("once")));
/// assert!(SETUP.is_done());
/// ```
pub struct Once {
    state: AtomicU32,
    queue: Queue,
}

impl Once {
    /// Nothing was done yet.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(NOT_BEGUN), queue: Queue::new() }
    }

    #[cfg(any(loom, shuttle))]
    #[allow(missing_docs, reason = "for model checkers")]
    pub fn new() -> Self {
        Self { state: AtomicU32::new(NOT_BEGUN), queue: Queue::new() }
    }

    /// Whether it was done.
    #[inline]
    pub fn is_done(&self) -> bool {
        // ORDERING: Acquire pairs with the Release in `end`.
        self.state.load(Ordering::Acquire) == DONE
    }

    /// Calls `f` if nobody has, or waits for the one who does. `f` may wait; if it calls this very `Once`, it waits for itself, for ever.
    ///
    /// # Panics
    ///
    /// With a panic of `f`. Also with `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, while somebody else does it. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn call_once(&self, f: impl FnOnce()) {
        if !self.is_done() && self.begin(Location::caller()) {
            let running = Running(self);
            f();
            std::mem::forget(running);
            self.end(DONE);
        }
    }

    /// Whether the caller is the one to do it; otherwise it was done.
    #[cold]
    fn begin(&self, site: &'static Location<'static>) -> bool {
        let begun = || self.state.compare_exchange(NOT_BEGUN, RUNNING, Ordering::Acquire, Ordering::Acquire);
        loop {
            match begun() {
                Ok(_) => return true,
                Err(DONE) => return false,
                Err(_) => {}
            }
            let terms = Terms { kind: WaitKind::Once, wants: 0, limit: None, site };
            // What ends it is done under the lock.
            let enter = |_: &mut List, _: &mut Woken| {
                if self.state.load(Ordering::Relaxed) == RUNNING { Enter::Back } else { Enter::Not }
            };
            if wait::wait_in(&self.queue, terms, enter, || {}, |_, _| {}).is_err() {
                fiber_limit("waiting for what is done once");
            }
        }
    }

    fn end(&self, state: u32) {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        // ORDERING: Release publishes what was done.
        self.state.store(state, Ordering::Release);
        list.claim_all(&mut woken);
        drop(list);
        wait::wake_all(woken);
    }
}

/// Somebody does it; if that is dropped, it has panicked.
struct Running<'a>(&'a Once);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.end(NOT_BEGUN);
    }
}

impl Default for Once {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").field("done", &self.is_done()).finish()
    }
}

impl std::panic::UnwindSafe for Once {}
impl std::panic::RefUnwindSafe for Once {}

/// A value that is made once, by the first who asks; whoever asks meanwhile waits, without blocking a worker.
///
/// Unlike a `std::sync::OnceLock`, it may be used where the one who makes the value waits for other jobs. (A thread-local, or a lazy
/// static of the standard library, whose initialiser waits may be entered again by another job of the same thread, or block it.)
///
/// # Examples
///
/// ```
/// use ramie::sync::OnceLock;
///
/// static TABLE: OnceLock<Vec<u64>> = OnceLock::new();
/// let squares = || TABLE.get_or_init(|| ramie::par(0..100_u64).map_reduce(Vec::new(), |n| vec![n * n], |mut a, b| {
///     a.extend(b);
///     a
/// }));
/// let (a, b) = ramie::join(|| squares()[7], || squares()[9]);
/// assert_eq!((a, b), (49, 81));
/// ```
pub struct OnceLock<T> {
    once: Once,
    /// Written by the one whom `once` lets make it; initialised if that is done.
    value: UnsafeCell<MaybeUninit<T>>,
}

// SAFETY: the value is written by one, and shared after that was published; whoever drops it may be another thread than the one that has made it.
unsafe impl<T: Send + Sync> Sync for OnceLock<T> {}

impl<T> OnceLock<T> {
    /// There is no value yet.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new() -> Self {
        Self { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    #[cfg(any(loom, shuttle))]
    #[allow(missing_docs, reason = "for model checkers")]
    pub fn new() -> Self {
        Self { once: Once::new(), value: UnsafeCell::new(MaybeUninit::uninit()) }
    }

    /// The value, if there is one.
    #[inline]
    pub fn get(&self) -> Option<&T> {
        // SAFETY: it is done, so the value was written, and is only shared from then on.
        self.once.is_done().then(|| unsafe { (*self.value.get()).assume_init_ref() })
    }

    /// The value, if there is one.
    pub fn get_mut(&mut self) -> Option<&mut T> {
        // SAFETY: as above, and the caller has the only reference.
        self.once.is_done().then(|| unsafe { self.value.get_mut().assume_init_mut() })
    }

    /// The value, which `f` makes if there is none.
    ///
    /// # Panics
    ///
    /// As [`Once::call_once`].
    ///
    /// # Suspends
    ///
    /// Inside a job, while somebody else makes it. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn get_or_init(&self, f: impl FnOnce() -> T) -> &T {
        // SAFETY: only the one whom `once` lets run writes, before anybody reads.
        self.once.call_once(|| unsafe {
            (*self.value.get()).write(f());
        });
        self.get().expect("it was made")
    }

    /// Gives it this value.
    ///
    /// # Errors
    ///
    /// The value, if there is one already.
    ///
    /// # Panics
    ///
    /// As [`Once::call_once`], which it is.
    #[track_caller]
    pub fn set(&self, value: T) -> Result<(), T> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("called once"));
        value.map_or(Ok(()), Err)
    }

    /// The value, if there is one.
    pub fn into_inner(mut self) -> Option<T> {
        self.take()
    }

    /// Takes the value out, if there is one, and leaves none.
    pub fn take(&mut self) -> Option<T> {
        if !self.once.is_done() {
            return None;
        }
        self.once = Once::new();
        // SAFETY: it was done, and is not any more, so this is the only use of the value.
        Some(unsafe { self.value.get_mut().assume_init_read() })
    }
}

impl<T> Drop for OnceLock<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> From<T> for OnceLock<T> {
    fn from(value: T) -> Self {
        let once = Once::new();
        once.end(DONE);
        Self { once, value: UnsafeCell::new(MaybeUninit::new(value)) }
    }
}

impl<T: fmt::Debug> fmt::Debug for OnceLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnceLock").field(&self.get()).finish()
    }
}

impl<T: std::panic::RefUnwindSafe + std::panic::UnwindSafe> std::panic::RefUnwindSafe for OnceLock<T> {}
impl<T: std::panic::UnwindSafe> std::panic::UnwindSafe for OnceLock<T> {}
