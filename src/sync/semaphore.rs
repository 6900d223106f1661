//! `Semaphore`: so many at a time.

use super::cancel::CancelToken;
use super::semaphore_word::{self, SemaphoreWord};
use super::wait::{self, Enter, Terms, Waited};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::{Cancelled, TimedOut};
use std::fmt;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

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
    word: SemaphoreWord,
}

/// Permits that were taken; gives them back when it is dropped.
#[must_use = "dropping it gives the permits back"]
pub struct Permits<'a> {
    semaphore: &'a Semaphore,
    count: u32,
}

/// [`Permits`] that keep their semaphore; gives them back when it is dropped.
#[must_use = "dropping it gives the permits back"]
pub struct OwnedPermits {
    semaphore: Arc<Semaphore>,
    count: u32,
}

impl Semaphore {
    /// The most permits: 2,147,483,647.
    pub const PERMITS_MAX: u32 = semaphore_word::PERMITS_MAX;

    /// A semaphore with so many permits.
    ///
    /// # Panics
    ///
    /// If there are more than [`PERMITS_MAX`](Self::PERMITS_MAX).
    pub const fn new(permits: u32) -> Self {
        assert!(permits <= Self::PERMITS_MAX, "a semaphore has at most Semaphore::PERMITS_MAX permits");
        Self { word: SemaphoreWord::new(permits) }
    }

    /// How many permits nobody has.
    pub fn available(&self) -> u32 {
        self.word.available()
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
    #[inline]
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
    #[inline]
    #[track_caller]
    pub fn acquire_many(&self, count: u32) -> Permits<'_> {
        self.take(count, Location::caller());
        Permits { semaphore: self, count }
    }

    /// As [`acquire`](Self::acquire), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there was none in time.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_timeout(&self, limit: Duration) -> Result<Permits<'_>, TimedOut> {
        self.acquire_many_timeout(1, limit)
    }

    /// As [`acquire_many`](Self::acquire_many), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there were not so many in time.
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
    #[track_caller]
    pub fn acquire_many_timeout(&self, count: u32, limit: Duration) -> Result<Permits<'_>, TimedOut> {
        self.take_timeout(count, limit, Location::caller())?;
        Ok(Permits { semaphore: self, count })
    }

    /// As [`acquire_many`](Self::acquire_many), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the token was cancelled before there were so many.
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
    #[track_caller]
    pub fn acquire_many_cancellable(
        &self,
        count: u32,
        token: &CancelToken,
    ) -> Result<Permits<'_>, Cancelled> {
        Self::check_count(count);
        let site = Location::caller();
        if self.word.take(count) || self.acquire_slow(count, None, Some(token), site) != Waited::Cancelled {
            Ok(Permits { semaphore: self, count })
        } else {
            Err(Cancelled::new())
        }
    }

    /// As [`acquire`](Self::acquire), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the token was cancelled before there was one.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_cancellable(&self, token: &CancelToken) -> Result<Permits<'_>, Cancelled> {
        self.acquire_many_cancellable(1, token)
    }

    /// Takes a permit if there is one and nobody waits.
    pub fn try_acquire(&self) -> Option<Permits<'_>> {
        self.try_acquire_many(1)
    }

    /// Takes so many permits if they are there and nobody waits.
    pub fn try_acquire_many(&self, count: u32) -> Option<Permits<'_>> {
        self.try_take(count).then(|| Permits { semaphore: self, count })
    }

    /// As [`acquire`](Self::acquire); the permit keeps the semaphore, and borrows nothing: for jobs that outlive their spawner.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Suspends
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::sync::Semaphore;
    /// use std::sync::Arc;
    ///
    /// let uploads = Arc::new(Semaphore::new(4));
    /// for _ in 0..10 {
    ///     // At most four jobs at a time are even begun.
    ///     let permit = uploads.acquire_owned();
    ///     ramie::spawn(move || drop(permit));
    /// }
    /// drop(uploads.acquire_many(4));
    /// ```
    #[track_caller]
    pub fn acquire_owned(self: &Arc<Self>) -> OwnedPermits {
        self.acquire_many_owned(1)
    }

    /// As [`acquire_many`](Self::acquire_many); the permits keep the semaphore.
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
    ///
    /// # Suspends
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_many_owned(self: &Arc<Self>, count: u32) -> OwnedPermits {
        self.take(count, Location::caller());
        OwnedPermits { semaphore: Arc::clone(self), count }
    }

    /// As [`acquire_timeout`](Self::acquire_timeout); the permit keeps the semaphore.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there was none in time.
    ///
    /// # Panics
    ///
    /// As [`acquire`](Self::acquire).
    #[track_caller]
    pub fn acquire_owned_timeout(self: &Arc<Self>, limit: Duration) -> Result<OwnedPermits, TimedOut> {
        self.acquire_many_owned_timeout(1, limit)
    }

    /// As [`acquire_many_timeout`](Self::acquire_many_timeout); the permits keep the semaphore.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if there were not so many in time.
    ///
    /// # Panics
    ///
    /// As [`acquire_many`](Self::acquire_many).
    #[track_caller]
    pub fn acquire_many_owned_timeout(
        self: &Arc<Self>,
        count: u32,
        limit: Duration,
    ) -> Result<OwnedPermits, TimedOut> {
        self.take_timeout(count, limit, Location::caller())?;
        Ok(OwnedPermits { semaphore: Arc::clone(self), count })
    }

    /// As [`try_acquire`](Self::try_acquire); the permit keeps the semaphore.
    pub fn try_acquire_owned(self: &Arc<Self>) -> Option<OwnedPermits> {
        self.try_acquire_many_owned(1)
    }

    /// As [`try_acquire_many`](Self::try_acquire_many); the permits keep the semaphore.
    pub fn try_acquire_many_owned(self: &Arc<Self>, count: u32) -> Option<OwnedPermits> {
        self.try_take(count).then(|| OwnedPermits { semaphore: Arc::clone(self), count })
    }

    /// Adds permits.
    ///
    /// # Panics
    ///
    /// If there would be more than [`PERMITS_MAX`](Self::PERMITS_MAX).
    #[track_caller]
    pub fn add_permits(&self, count: u32) {
        match self.word.add(count) {
            None => panic!("Semaphore: more permits than a semaphore can have"),
            Some(true) => self.admit(),
            Some(false) => {}
        }
    }

    #[inline(always)]
    #[track_caller]
    fn take(&self, count: u32, site: &'static Location<'static>) {
        Self::check_count(count);
        if !self.word.take(count) {
            let waited = self.acquire_slow(count, None, None, site);
            debug_assert_ne!(waited, Waited::TimedOut);
        }
    }

    #[track_caller]
    fn check_count(count: u32) {
        assert!(count <= Self::PERMITS_MAX, "Semaphore: {count} permits are more than a semaphore can have");
    }

    #[track_caller]
    fn take_timeout(
        &self,
        count: u32,
        limit: Duration,
        site: &'static Location<'static>,
    ) -> Result<(), TimedOut> {
        Self::check_count(count);
        if self.word.take(count) || self.acquire_slow(count, Some(limit), None, site) != Waited::TimedOut {
            Ok(())
        } else {
            Err(TimedOut)
        }
    }

    fn try_take(&self, count: u32) -> bool {
        count <= Self::PERMITS_MAX && self.word.take(count)
    }

    // PERF: inlined, as an event's wait is.
    #[inline(always)]
    fn acquire_slow(
        &self,
        count: u32,
        limit: Option<Duration>,
        token: Option<&CancelToken>,
        site: &'static Location<'static>,
    ) -> Waited {
        let terms = Terms { kind: WaitKind::Semaphore, wants: count, limit, site };
        let waited = wait::wait_in_with(
            &self.word.queue,
            terms,
            token,
            |_, _| if self.word.announce(count) { Enter::Back } else { Enter::Not },
            || {},
            |list, woken| self.word.admit(list, woken),
        );
        match waited {
            Ok(waited) => waited,
            Err(_) => fiber_limit("waiting for a permit of a semaphore"),
        }
    }

    #[inline(never)]
    fn admit(&self) {
        wait::wake_all(self.word.admit_next());
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

impl OwnedPermits {
    /// How many there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whose permits they are.
    pub fn semaphore(&self) -> &Arc<Semaphore> {
        &self.semaphore
    }

    /// Keeps the permits from ever being given back.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for OwnedPermits {
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

impl fmt::Debug for OwnedPermits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnedPermits").field("count", &self.count).finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for Semaphore {}
impl std::panic::RefUnwindSafe for Semaphore {}
