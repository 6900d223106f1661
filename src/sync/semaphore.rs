//! `Semaphore`: so many at a time.

use super::queue::{List, Queue, Woken};
use super::wait::{self, Enter, Terms, Waited};
use crate::TimedOut;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::primitives::{AtomicU32, Ordering};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Somebody is in the queue. Changed under its lock only.
const WAITING: u32 = 1;
const PERMIT: u32 = 2;

/// A number of permits, which are taken and given back: for as many jobs at a time as a device, a budget or a licence allows.
///
/// # Fairness
///
/// First in, first out, whatever number of permits somebody wants: whoever waits for many is not overtaken by those who want few. While
/// anybody waits, nobody else gets a permit.
///
/// # Examples
///
/// ```
/// use ramie::sync::Semaphore;
/// use std::sync::atomic::{AtomicUsize, Ordering};
///
/// let (decoders, now) = (Semaphore::new(2), AtomicUsize::new(0));
/// ramie::par(0..100).for_each(|_| {
///     let _permit = decoders.acquire();
///     assert!(now.fetch_add(1, Ordering::SeqCst) < 2);
///     ramie::yield_now();
///     now.fetch_sub(1, Ordering::SeqCst);
/// });
/// assert_eq!(decoders.available(), 2);
/// ```
pub struct Semaphore {
    /// The permits that are there, and whether somebody waits.
    state: AtomicU32,
    queue: Queue,
}

/// Permits that were taken; gives them back when it is dropped.
#[must_use = "dropping it gives the permits back"]
pub struct Permits<'a> {
    semaphore: &'a Semaphore,
    count: u32,
}

impl Semaphore {
    /// The most permits: 2,147,483,647.
    pub const PERMITS_MAX: u32 = u32::MAX / PERMIT;

    /// A semaphore with so many permits.
    ///
    /// # Panics
    ///
    /// If there are more than [`PERMITS_MAX`](Self::PERMITS_MAX).
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new(permits: u32) -> Self {
        assert!(permits <= Self::PERMITS_MAX, "a semaphore has at most Semaphore::PERMITS_MAX permits");
        Self { state: AtomicU32::new(permits * PERMIT), queue: Queue::new() }
    }

    #[cfg(any(loom, shuttle))]
    #[allow(missing_docs, reason = "for model checkers")]
    pub fn new(permits: u32) -> Self {
        Self { state: AtomicU32::new(permits * PERMIT), queue: Queue::new() }
    }

    /// How many permits nobody has.
    pub fn available(&self) -> u32 {
        self.state.load(Ordering::Relaxed) / PERMIT
    }

    /// Waits for a permit.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, if there is none. Elsewhere the thread blocks.
    #[track_caller]
    pub fn acquire(&self) -> Permits<'_> {
        self.acquire_many(1)
    }

    /// Waits for so many permits at once. Nobody gets more than there are: a number that the semaphore never had is waited for until somebody
    /// [adds](Self::add_permits) some.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire). Also if the number is greater than [`PERMITS_MAX`](Self::PERMITS_MAX).
    #[track_caller]
    pub fn acquire_many(&self, count: u32) -> Permits<'_> {
        assert!(count <= Self::PERMITS_MAX, "Semaphore: {count} permits are more than a semaphore can have");
        if !self.take(count) {
            let waited = self.acquire_slow(count, None, Location::caller());
            debug_assert_ne!(waited, Waited::TimedOut);
        }
        Permits { semaphore: self, count }
    }

    /// As [`acquire_many`](Self::acquire_many), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there were none in time.
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
    #[track_caller]
    pub fn acquire_timeout(&self, count: u32, limit: Duration) -> Result<Permits<'_>, TimedOut> {
        assert!(count <= Self::PERMITS_MAX, "Semaphore: {count} permits are more than a semaphore can have");
        if self.take(count) || self.acquire_slow(count, Some(limit), Location::caller()) != Waited::TimedOut {
            Ok(Permits { semaphore: self, count })
        } else {
            Err(TimedOut)
        }
    }

    /// Takes so many permits if they are there and nobody waits.
    pub fn try_acquire(&self, count: u32) -> Option<Permits<'_>> {
        (count <= Self::PERMITS_MAX && self.take(count)).then(|| Permits { semaphore: self, count })
    }

    /// Adds permits.
    ///
    /// # Panics
    ///
    /// If there would be more than [`PERMITS_MAX`](Self::PERMITS_MAX).
    #[track_caller]
    pub fn add_permits(&self, count: u32) {
        let mut state = self.state.load(Ordering::Relaxed);
        loop {
            let next = count.checked_mul(PERMIT).and_then(|added| state.checked_add(added));
            let Some(next) = next else { panic!("Semaphore: more permits than a semaphore can have") };
            // ORDERING: Release for whoever gets them.
            match self.state.compare_exchange_weak(state, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state & WAITING != 0 {
            self.admit();
        }
    }

    #[inline]
    fn take(&self, count: u32) -> bool {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 && state >= count * PERMIT {
            // ORDERING: Acquire pairs with the Release of whoever gave them back.
            let next = state - count * PERMIT;
            match self.state.compare_exchange_weak(state, next, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, count: u32, limit: Option<Duration>, site: &'static Location<'static>) -> Waited {
        let terms = Terms { kind: WaitKind::Semaphore, wants: count, limit, site };
        let enter = |_: &mut List, _: &mut Woken| {
            loop {
                if self.take(count) {
                    return Enter::Not;
                }
                let state = self.state.load(Ordering::Relaxed);
                let is_short = state & WAITING != 0 || state < count * PERMIT;
                let announced = is_short
                    && self
                        .state
                        .compare_exchange(state, state | WAITING, Ordering::Relaxed, Ordering::Relaxed)
                        .is_ok();
                if announced {
                    return Enter::Back;
                }
            }
        };
        match wait::wait_in(&self.queue, terms, enter, || {}, |list, woken| self.admit_from(list, woken)) {
            Ok(waited) => waited,
            Err(_) => fiber_limit("waiting for a permit of a semaphore"),
        }
    }

    #[cold]
    #[inline(never)]
    fn admit(&self) {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        self.admit_from(&mut list, &mut woken);
        drop(list);
        wait::wake_all(woken);
    }

    /// Under the queue's lock: gives the first waiters what they want as far as it is there. While anybody waits, nobody else takes permits, so
    /// the number can only grow meanwhile.
    fn admit_from(&self, list: &mut List, woken: &mut Woken) {
        while let Some(wants) = list.first_wants() {
            // ORDERING: Acquire: what was done before the permits were given back is handed on to the waiter.
            if self.state.load(Ordering::Acquire) < wants * PERMIT {
                return;
            }
            if list.claim_first(0, woken) {
                self.state.fetch_sub(wants * PERMIT, Ordering::Relaxed);
            }
        }
        self.state.fetch_and(!WAITING, Ordering::Relaxed);
    }
}

impl Permits<'_> {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Keeps the permits from ever being given back.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for Permits<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.add_permits(self.count);
        }
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore").field("available", &self.available()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Permits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permits").field("count", &self.count).finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for Semaphore {}
impl std::panic::RefUnwindSafe for Semaphore {}
