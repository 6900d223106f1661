//! `Mutex`: lock_api's, on our waits.

#![expect(unsafe_code, reason = "implements lock_api's traits")]

use super::held;
use super::mutex_word::{HANDED_OVER, LOSSES_MAX, MutexWord, WANTS_HANDOVER, WANTS_WAKE};
use super::wait::{self, Deadline, Enter, Terms, Waited};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::primitives::spin_loop;
use crate::sched::wait::{FiberLimit, WaitFor};
use crate::trace::deadlock::{self, Target};
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::time::{Duration, Instant};

/// A mutex whose waiters suspend their fiber rather than block a worker; outside of jobs they park the thread.
///
/// The interface is that of [`lock_api::Mutex`]: `lock`, `try_lock`, `try_lock_for`, `try_lock_until`, `get_mut`, `into_inner`; and that of its
/// guards, among it `map`, `unlocked`, `unlock_fair` and `bump`. A guard is not `Send`. It may be held across waits: only those who want the mutex wait for it. Fibers of any system, and other threads, may
/// use the same one.
///
/// # Fairness
///
/// Whoever comes by may take a mutex that is free, also while others wait (*barging*). The first who waits is woken when it becomes free; if it
/// finds it taken when it runs, it is the first again, and after eight such times the next to get it, by handover. All get it in the order in which they
/// came, but for that. One waiter at a time is woken. If its worker is busy with another job, it runs when that job ends or waits, and until then those
/// behind it wait as well, although the mutex is free; unless others come by, after 64 of whose unlocks the next one is woken. So what must not wait for
/// long jobs keeps its locks apart from theirs, or makes the long ones [Background](crate::Priority::Background) jobs, on threads of their own. A holder that gives it up by `unlock_fair`, or lends it by `bump`, hands it to the
/// first who waits at once.
///
/// While a thread unwinds, a lock blocks it in place; so a destructor that may run then, and locks what other jobs of the worker wait for, is better
/// avoided. A [Background](crate::Priority::Background) job that holds, or is handed, a mutex that others want keeps them waiting until its thread is
/// given a CPU again.
///
/// # Panics of a holder
///
/// There is no poisoning: a panic drops the guard like any return, and the next one sees what was left. Where that may be half done, say so in the
/// data.
///
/// # Panics
///
/// `try_lock_for` and `try_lock_until` panic with `FiberLimit` if they had to suspend the last fiber of a worker and no other can be made; `lock`
/// goes on to look then. A job that locks a mutex that it holds waits for ever; so does one whose holder never goes on. Both are in the dump.
///
/// # Suspends
///
/// `lock`, `try_lock_for` and `try_lock_until`, if somebody else has it.
///
/// # Time
///
/// The limits of jobs of a [deterministic](crate::Builder::deterministic) system pass on its own clock. But the instant of `try_lock_until` is one of the
/// real clock, and what is left until then is never twice the same: use `try_lock_for` there.
///
/// # Examples
///
/// ```
/// use ramie::sync::Mutex;
///
/// let sum = Mutex::new(0);
/// ramie::par(0..1000_u64).for_each(|n| *sum.lock() += n);
/// assert_eq!(sum.into_inner(), 499_500);
/// ```
pub type Mutex<T> = lock_api::Mutex<RawMutex, T>;

/// What a [`Mutex`] gives to the one who has it.
pub type MutexGuard<'a, T> = lock_api::MutexGuard<'a, RawMutex, T>;

/// What a guard is that was narrowed down to a part of the data.
pub type MappedMutexGuard<'a, T> = lock_api::MappedMutexGuard<'a, RawMutex, T>;

/// How often whoever finds a mutex taken looks again, with 1, 2, 4 and so on busy-wait instructions in between.
const SPIN_ROUNDS: u32 = 6;
/// The same while others wait.
const SPIN_ROUNDS_BESIDE: u32 = 3;
/// How long a thread that blocks in place sleeps between two looks.
const IN_PLACE_LOOK: Duration = Duration::from_millis(1);

/// The mutex behind a [`Mutex`], without data.
pub struct RawMutex {
    word: MutexWord,
}

// SAFETY: `MutexWord` lets one through at a time: it is locked by a compare-exchange from not LOCKED, or handed over by the one who had it.
unsafe impl lock_api::RawMutex for RawMutex {
    const INIT: Self = Self { word: MutexWord::new() };

    type GuardMarker = lock_api::GuardNoSend;

    // It does not unwind: `MutexGuard::unlocked` takes the mutex back while its guard is alive.
    #[inline]
    #[track_caller]
    fn lock(&self) {
        if !self.word.try_lock_uncontended() {
            self.lock_unfailing(Location::caller());
        }
        held::note_locked(self, true, Location::caller());
    }

    #[inline]
    #[track_caller]
    fn try_lock(&self) -> bool {
        held::noted(self.word.try_lock_uncontended() || self.word.try_lock(), self, true, Location::caller())
    }

    #[inline]
    unsafe fn unlock(&self) {
        held::note_unlocked(self);
        if !self.word.unlock_uncontended() {
            self.unlock_slow();
        }
    }

    fn is_locked(&self) -> bool {
        self.word.is_locked()
    }
}

// SAFETY: as above.
unsafe impl lock_api::RawMutexTimed for RawMutex {
    type Duration = Duration;
    type Instant = Instant;

    #[track_caller]
    fn try_lock_for(&self, timeout: Duration) -> bool {
        let site = Location::caller();
        held::noted(self.word.try_lock_uncontended() || self.timed(Some(timeout), site), self, true, site)
    }

    #[track_caller]
    fn try_lock_until(&self, timeout: Instant) -> bool {
        let site = Location::caller();
        held::noted(
            self.word.try_lock_uncontended() || self.timed(Deadline::At(timeout).left(), site),
            self,
            true,
            site,
        )
    }
}

// SAFETY: as above: a waiter that is handed the mutex is the one to have it.
unsafe impl lock_api::RawMutexFair for RawMutex {
    unsafe fn unlock_fair(&self) {
        held::note_unlocked(self);
        if !self.word.unlock_uncontended() {
            wait::wake_all(self.word.hand_over());
        }
    }

    #[track_caller]
    unsafe fn bump(&self) {
        if self.word.is_wanted() {
            held::note_unlocked(self);
            wait::wake_all(self.word.hand_over());
            self.lock_unfailing(Location::caller());
            held::note_locked(self, true, Location::caller());
        }
    }
}

impl RawMutex {
    fn timed(&self, limit: Option<Duration>, site: &'static Location<'static>) -> bool {
        match self.lock_slow(limit, site) {
            Ok(locked) => locked,
            Err(FiberLimit) => fiber_limit("locking a mutex"),
        }
    }

    /// Looks for a moment whether the mutex becomes free; whether it was had. Most are held for less than it takes to suspend.
    #[inline]
    fn spin(&self) -> bool {
        let rounds = match self.word.is_wanted() {
            // Time means nothing to a model checker; and who has it may be a fiber of the only worker.
            _ if cfg!(shuttle) || wait::is_alone() => 0,
            // Where others have given up already it is likely to be held for long.
            true => SPIN_ROUNDS_BESIDE,
            false => SPIN_ROUNDS,
        };
        for round in 0..rounds {
            (0..1 << round).for_each(|_| spin_loop());
            if !self.word.is_locked() && self.word.try_lock() {
                return true;
            }
        }
        false
    }

    /// As [`spin`](Self::spin), for somebody who was woken to try.
    fn spin_woken(&self) -> bool {
        if self.word.try_lock_woken() {
            return true;
        }
        let rounds = if cfg!(shuttle) || wait::is_alone() { 0 } else { SPIN_ROUNDS };
        for round in 0..rounds {
            (0..1 << round).for_each(|_| spin_loop());
            if !self.word.is_locked() && self.word.try_lock_woken() {
                return true;
            }
        }
        false
    }

    /// Whether the mutex was had in time.
    #[cold]
    #[inline(never)]
    fn lock_slow(
        &self,
        limit: Option<Duration>,
        site: &'static Location<'static>,
    ) -> Result<bool, FiberLimit> {
        if self.spin() {
            return Ok(true);
        }
        // One that has a limit is in no deadlock.
        let _waiting =
            limit.is_none().then(|| deadlock::waiting(|| Target::Lock(ptr::from_ref(self).addr())));
        let deadline = Deadline::after(limit);
        let in_place = wait::blocks_in_place();
        // Whether it was woken to try, and has not said yet what came of it; and how often nothing came of it.
        let is_woken = Cell::new(false);
        let mut losses = 0;
        loop {
            let was_had = if is_woken.get() { self.spin_woken() } else { self.word.try_lock() };
            if was_had {
                return Ok(true);
            }
            let left = if losses > 0 { deadline.left() } else { limit };
            let wants = if losses >= LOSSES_MAX { WANTS_HANDOVER } else { WANTS_WAKE };
            // Somebody of this very worker may have been woken in its place, and cannot run.
            let limit = if in_place { Some(left.unwrap_or(IN_PLACE_LOOK).min(IN_PLACE_LOOK)) } else { left };
            let terms = Terms { kind: WaitKind::Mutex, wants, limit, site };
            let place = if losses > 0 { Enter::Front } else { Enter::Back };
            let waited = wait::wait_in(
                &self.word.queue,
                terms,
                |_, _| if self.word.announce(is_woken.take()) { place } else { Enter::Not },
                || {},
                |list, _| self.word.note_left(list),
            );
            if is_woken.take() {
                // There was no time left, or no fiber, before it could say so.
                wait::wake_all(self.word.pass_on());
            }
            match waited? {
                Waited::NotNeeded | Waited::Given(HANDED_OVER) => return Ok(true),
                Waited::Given(_) => {
                    is_woken.set(true);
                    losses += 1;
                }
                Waited::TimedOut if in_place && left.is_none_or(|left| left > IN_PLACE_LOOK) => {
                    losses = LOSSES_MAX;
                }
                // It may be free: whoever was woken may not have come yet.
                Waited::TimedOut | Waited::Cancelled => return Ok(self.word.try_lock()),
            }
        }
    }

    /// Takes the mutex back for somebody whose guard is alive.
    pub(super) fn lock_again(&self, site: &'static Location<'static>) {
        if !self.word.try_lock_uncontended() && !self.word.try_lock() {
            self.lock_unfailing(site);
        }
        held::note_locked(self, true, site);
    }

    /// Locks, and never fails nor unwinds: where no fiber is left to go on with, it looks again and again.
    pub(super) fn lock_unfailing(&self, site: &'static Location<'static>) {
        if self.lock_slow(None, site).is_err() {
            let what = WaitFor { kind: WaitKind::Mutex, object: 0, site };
            crate::sched::wait::poll_at_limit(what, || self.word.try_lock(), |_| false);
        }
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self) {
        wait::wake_all(self.word.unlock());
    }
}

impl fmt::Debug for RawMutex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawMutex").field("locked", &self.word.is_locked()).finish()
    }
}
