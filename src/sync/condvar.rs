//! `Condvar`: waits for a condition of what a mutex protects.

#![expect(unsafe_code, reason = "gives up a mutex of which the caller has the guard, and takes it back")]

use super::cancel::CancelToken;
use super::condvar_word::CondvarWord;
use super::mutex::{MutexGuard, RawMutex};
use super::wait::{self, Deadline, Enter, Terms, Waited};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::{Cancelled, TimedOut};
use lock_api::RawMutex as _;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// A condition variable for a [`Mutex`](super::Mutex): jobs that wait for a condition suspend, and other threads park.
///
/// Those who wait are woken in the order in which they came, and there are no spurious wakes: `wait` returns because of a notification. But by
/// then somebody else may have had the mutex, so the condition is asked again ([`wait_while`](Self::wait_while) does). One
/// `Condvar` may be used with several mutexes.
///
/// # Examples
///
/// ```
/// use ramie::sync::{Condvar, Mutex};
///
/// static QUEUE: Mutex<Vec<u32>> = Mutex::new(Vec::new());
/// static FILLED: Condvar = Condvar::new();
///
/// let taker = ramie::spawn(|| {
///     let mut queue = QUEUE.lock();
///     FILLED.wait_while(&mut queue, |queue| queue.is_empty());
///     queue.pop()
/// });
/// QUEUE.lock().push(7);
/// FILLED.notify_one();
/// assert_eq!(taker.join().unwrap(), Some(7));
/// ```
pub struct Condvar {
    word: CondvarWord,
}

impl Condvar {
    /// A condition variable for which nobody waits.
    pub const fn new() -> Self {
        Self { word: CondvarWord::new() }
    }

    /// Gives up the mutex, waits for a notification, and takes the mutex back. Between the two nothing is missed: whoever notifies with the mutex
    /// locked, or after it had it, finds this waiter.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made; the mutex is still locked then.
    ///
    /// # Suspends
    ///
    /// Inside a job. Elsewhere the thread blocks.
    #[track_caller]
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        let waited = self.wait_on(guard, None, None, Location::caller());
        debug_assert_ne!(waited, Waited::TimedOut);
    }

    /// Waits until `condition` says no.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait), and with a panic of `condition`.
    #[track_caller]
    pub fn wait_while<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        mut condition: impl FnMut(&mut T) -> bool,
    ) {
        while condition(guard) {
            self.wait(guard);
        }
    }

    /// As [`wait`](Self::wait), for at most this long; the mutex is locked again in either case, which may take longer.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there was no notification in time.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Duration,
    ) -> Result<(), TimedOut> {
        match self.wait_on(guard, Some(limit), None, Location::caller()) {
            Waited::TimedOut => Err(TimedOut),
            _ => Ok(()),
        }
    }

    /// Waits until `condition` says no, for at most this long in all.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if the condition still held when the time was over.
    ///
    /// # Panics
    ///
    /// As [`wait_while`](Self::wait_while).
    #[track_caller]
    pub fn wait_while_timeout<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Duration,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(), TimedOut> {
        let (deadline, mut left) = (Deadline::after(Some(limit)), Some(limit));
        while condition(guard) {
            if left.is_some_and(|left| left.is_zero()) {
                return Err(TimedOut);
            }
            if self.wait_on(guard, left, None, Location::caller()) == Waited::TimedOut {
                return if condition(guard) { Err(TimedOut) } else { Ok(()) };
            }
            left = deadline.left();
        }
        Ok(())
    }

    /// As [`wait_while`](Self::wait_while), until a token is cancelled; the mutex is locked again in either case.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the token was cancelled while the condition held.
    ///
    /// # Panics
    ///
    /// As [`wait_while`](Self::wait_while).
    #[track_caller]
    pub fn wait_while_cancellable<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        token: &CancelToken,
        mut condition: impl FnMut(&mut T) -> bool,
    ) -> Result<(), Cancelled> {
        while condition(guard) {
            token.check()?;
            self.wait_on(guard, None, Some(token), Location::caller());
        }
        Ok(())
    }

    /// Wakes the one who has waited longest, if anybody waits; whether somebody did.
    pub fn notify_one(&self) -> bool {
        self.notify(1) > 0
    }

    /// Wakes all who wait now; how many.
    pub fn notify_all(&self) -> usize {
        self.notify(usize::MAX)
    }

    fn notify(&self, most: usize) -> usize {
        if self.word.is_waited_for() { self.notify_slow(most) } else { 0 }
    }

    #[cold]
    #[inline(never)]
    fn notify_slow(&self, most: usize) -> usize {
        let (woken, count) = self.word.notify(most);
        wait::wake_all(woken);
        count
    }

    fn wait_on<T: ?Sized>(
        &self,
        guard: &mut MutexGuard<'_, T>,
        limit: Option<Duration>,
        token: Option<&CancelToken>,
        site: &'static Location<'static>,
    ) -> Waited {
        // SAFETY: the mutex is given up and taken back in here, as long as the guard is borrowed.
        let mutex: &RawMutex = unsafe { MutexGuard::mutex(guard).raw() };
        let waited = wait::wait_in_with(
            &self.word.queue,
            Terms { kind: WaitKind::Condvar, wants: 0, limit, site },
            token,
            |_, _| {
                self.word.announce();
                Enter::Back
            },
            // SAFETY: the caller has the guard.
            || unsafe { mutex.unlock() },
            |list, _| self.word.note_left(list),
        );
        match waited {
            Ok(waited) => {
                mutex.lock_again(site);
                waited
            }
            Err(_) => fiber_limit("waiting for a condition variable"),
        }
    }
}

impl Default for Condvar {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for Condvar {}
impl std::panic::RefUnwindSafe for Condvar {}
