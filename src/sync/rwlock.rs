//! `RwLock`: lock_api's, on our waits.

#![expect(unsafe_code, reason = "implements lock_api's traits")]

use super::held;
use super::rwlock_word::{RwLockWord, WANTS_TO_READ, WANTS_TO_WRITE};
use super::wait::{self, Deadline, Enter, Terms, Waited};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::sched::wait::{FiberLimit, WaitFor};
use crate::trace::deadlock::{self, Target};
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::time::{Duration, Instant};

/// A reader-writer lock whose waiters suspend their fiber rather than block a worker; outside of jobs they park the thread.
///
/// The interface is that of [`lock_api::RwLock`] and its guards, among it `downgrade` and `bump`. Guards are not `Send`. They may be held across waits. Fibers of any system, and other
/// threads, may use the same one.
///
/// # Fairness
///
/// First in, first out: while anybody waits, readers and writers alike join the queue, and readers that wait in a row are let in together. So a job
/// that reads and locks the same lock once more to read waits for ever, if a writer waits in between: lock once, and hand the reference on.
///
/// # Panics of a holder
///
/// As with [`Mutex`](super::Mutex): there is no poisoning.
///
/// # Panics
///
/// The functions with a time limit panic with `FiberLimit` if they had to suspend the last fiber of a worker and no other can be made; the others go
/// on to look then.
///
/// Instants in a deterministic system: as with [`Mutex`](super::Mutex).
///
/// # Suspends
///
/// All functions that lock and do not just try, if they must wait.
///
/// # Examples
///
/// ```
/// use ramie::sync::RwLock;
///
/// let names = RwLock::new(vec!["a"]);
/// ramie::join(|| names.write().push("b"), || assert!(!names.read().is_empty()));
/// assert_eq!(names.into_inner(), ["a", "b"]);
/// ```
pub type RwLock<T> = lock_api::RwLock<RawRwLock, T>;

/// What a [`RwLock`] gives to those who read.
pub type RwLockReadGuard<'a, T> = lock_api::RwLockReadGuard<'a, RawRwLock, T>;

/// What a guard is that was narrowed down to a part of the data.
pub type MappedRwLockReadGuard<'a, T> = lock_api::MappedRwLockReadGuard<'a, RawRwLock, T>;

/// What a guard is that was narrowed down to a part of the data.
pub type MappedRwLockWriteGuard<'a, T> = lock_api::MappedRwLockWriteGuard<'a, RawRwLock, T>;

/// What a [`RwLock`] gives to the one who writes.
pub type RwLockWriteGuard<'a, T> = lock_api::RwLockWriteGuard<'a, RawRwLock, T>;

/// The lock behind a [`RwLock`], without data.
pub struct RawRwLock {
    word: RwLockWord,
}

// SAFETY: `RwLockWord` lets in one writer and nobody else, or readers only.
unsafe impl lock_api::RawRwLock for RawRwLock {
    const INIT: Self = Self { word: RwLockWord::new() };

    type GuardMarker = lock_api::GuardNoSend;

    #[inline]
    #[track_caller]
    fn lock_shared(&self) {
        self.lock(WANTS_TO_READ);
    }

    #[inline]
    #[track_caller]
    fn try_lock_shared(&self) -> bool {
        held::noted(self.word.try_take(WANTS_TO_READ), self, false, Location::caller())
    }

    #[inline]
    unsafe fn unlock_shared(&self) {
        self.unlock(WANTS_TO_READ);
    }

    #[inline]
    #[track_caller]
    fn lock_exclusive(&self) {
        self.lock(WANTS_TO_WRITE);
    }

    #[inline]
    #[track_caller]
    fn try_lock_exclusive(&self) -> bool {
        held::noted(self.word.try_take(WANTS_TO_WRITE), self, true, Location::caller())
    }

    #[inline]
    unsafe fn unlock_exclusive(&self) {
        self.unlock(WANTS_TO_WRITE);
    }

    fn is_locked(&self) -> bool {
        self.word.is_locked()
    }

    fn is_locked_exclusive(&self) -> bool {
        self.word.is_locked_exclusive()
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawRwLockTimed for RawRwLock {
    type Duration = Duration;
    type Instant = Instant;

    #[track_caller]
    fn try_lock_shared_for(&self, timeout: Duration) -> bool {
        self.try_lock_for(WANTS_TO_READ, Some(timeout), Location::caller())
    }

    #[track_caller]
    fn try_lock_shared_until(&self, timeout: Instant) -> bool {
        let left = Deadline::At(timeout).left();
        self.try_lock_for(WANTS_TO_READ, left, Location::caller())
    }

    #[track_caller]
    fn try_lock_exclusive_for(&self, timeout: Duration) -> bool {
        self.try_lock_for(WANTS_TO_WRITE, Some(timeout), Location::caller())
    }

    #[track_caller]
    fn try_lock_exclusive_until(&self, timeout: Instant) -> bool {
        let left = Deadline::At(timeout).left();
        self.try_lock_for(WANTS_TO_WRITE, left, Location::caller())
    }
}

// SAFETY: the writer becomes one of the readers in one step.
unsafe impl lock_api::RawRwLockDowngrade for RawRwLock {
    unsafe fn downgrade(&self) {
        // Before others can have it.
        held::note_downgraded(self);
        wait::wake_all(self.word.downgrade());
    }
}

// SAFETY: as above: whoever waits is admitted in turn, by each unlock.
unsafe impl lock_api::RawRwLockFair for RawRwLock {
    unsafe fn unlock_shared_fair(&self) {
        self.unlock(WANTS_TO_READ);
    }

    unsafe fn unlock_exclusive_fair(&self) {
        self.unlock(WANTS_TO_WRITE);
    }

    #[track_caller]
    unsafe fn bump_shared(&self) {
        self.bump(WANTS_TO_READ);
    }

    #[track_caller]
    unsafe fn bump_exclusive(&self) {
        self.bump(WANTS_TO_WRITE);
    }
}

impl RawRwLock {
    /// Lets those have it who wait, if anybody does, and takes it back after them.
    #[track_caller]
    fn bump(&self, wants: u32) {
        if self.word.is_wanted() {
            self.unlock(wants);
            self.lock(wants);
        }
    }

    #[inline]
    #[track_caller]
    fn lock(&self, wants: u32) {
        if !self.word.try_take(wants) {
            self.lock_unfailing(wants, Location::caller());
        }
        held::note_locked(self, wants == WANTS_TO_WRITE, Location::caller());
    }

    fn try_lock_for(&self, wants: u32, limit: Option<Duration>, site: &'static Location<'static>) -> bool {
        let was_had = self.word.try_take(wants)
            || self
                .lock_slow(wants, limit, site)
                .unwrap_or_else(|_| fiber_limit("locking a reader-writer lock"));
        held::noted(was_had, self, wants == WANTS_TO_WRITE, site)
    }

    /// Locks, and never unwinds: `unlocked` of a guard takes the lock back while the guard is alive. Where no fiber is left to go on
    /// with, it looks again and again.
    fn lock_unfailing(&self, wants: u32, site: &'static Location<'static>) {
        if self.lock_slow(wants, None, site).is_err() {
            let what = WaitFor { kind: kind_of(wants), object: 0, site };
            crate::sched::wait::poll_at_limit(what, || self.word.try_take(wants), |_| false);
        }
    }

    #[cold]
    #[inline(never)]
    fn lock_slow(
        &self,
        wants: u32,
        limit: Option<Duration>,
        site: &'static Location<'static>,
    ) -> Result<bool, FiberLimit> {
        let kind = kind_of(wants);
        let lock = ptr::from_ref(self).addr();
        let target = if wants == WANTS_TO_WRITE { Target::Lock(lock) } else { Target::Read(lock) };
        let _waiting = limit.is_none().then(|| deadlock::waiting(|| target));
        let waited = wait::wait_in(
            &self.word.queue,
            Terms { kind, wants, limit, site },
            |_, _| if self.word.announce(wants) { Enter::Back } else { Enter::Not },
            || {},
            // Those behind a writer that has left may be admitted now.
            |list, woken| self.word.admit(list, woken),
        );
        waited.map(|waited| waited != Waited::TimedOut)
    }

    #[inline]
    fn unlock(&self, wants: u32) {
        held::note_unlocked(self);
        if self.word.release(wants) {
            self.unlock_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self) {
        wait::wake_all(self.word.admit_next());
    }
}

fn kind_of(wants: u32) -> WaitKind {
    if wants == WANTS_TO_WRITE { WaitKind::Write } else { WaitKind::Read }
}

impl fmt::Debug for RawRwLock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawRwLock").field("locked", &self.word.is_locked()).finish()
    }
}
