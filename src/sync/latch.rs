//! `Latch`: opens once.

use super::cancel::CancelToken;
use super::latch_word::{self, LatchWord};
use super::wait::{self, Enter, Terms, Waited};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::{Cancelled, TimedOut};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Counts down to zero once, and lets all through from then on.
///
/// A [`Counter`](crate::Counter) can do that too, and be counted up again; a latch may stand in a `static`.
///
/// # Examples
///
/// ```
/// use ramie::sync::Latch;
///
/// let ready = Latch::new(2);
/// ramie::scope(|s| {
///     for _ in 0..2 {
///         s.spawn(|| ready.count_down());
///     }
///     ready.wait();
/// });
/// assert!(ready.is_open());
/// ```
pub struct Latch {
    word: LatchWord,
}

impl Latch {
    /// The greatest number of count-downs: 2^63 - 1.
    pub const COUNT_MAX: usize = latch_word::COUNT_MAX;

    /// A latch that opens after so many count-downs; open from the beginning for 0.
    ///
    /// # Panics
    ///
    /// If there are more than [`COUNT_MAX`](Self::COUNT_MAX).
    pub const fn new(count: usize) -> Self {
        assert!(count <= Self::COUNT_MAX, "a latch counts at most from Latch::COUNT_MAX");
        Self { word: LatchWord::new(count) }
    }

    /// Counts down by one.
    ///
    /// # Panics
    ///
    /// If it is open: somebody counts down more often than was said.
    #[track_caller]
    pub fn count_down(&self) {
        match self.word.count_down() {
            None => panic!("Latch::count_down: it is open; it was counted down more often than was said"),
            Some(true) => wait::wake_all(self.word.open()),
            Some(false) => {}
        }
    }

    /// Whether it has been counted down to zero.
    #[inline]
    pub fn is_open(&self) -> bool {
        self.word.count() == 0
    }

    /// Waits until it is open.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless it is open. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.is_open() {
            let waited = self.wait_slow(None, None, Location::caller());
            debug_assert_ne!(waited, Waited::TimedOut);
        }
    }

    /// As [`wait`](Self::wait), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if it was not open in time.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), TimedOut> {
        if self.is_open() || self.wait_slow(Some(limit), None, Location::caller()) != Waited::TimedOut {
            Ok(())
        } else {
            Err(TimedOut)
        }
    }

    /// As [`wait`](Self::wait), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the token was cancelled before it was open.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_cancellable(&self, token: &CancelToken) -> Result<(), Cancelled> {
        if self.is_open() || self.wait_slow(None, Some(token), Location::caller()) != Waited::Cancelled {
            Ok(())
        } else {
            Err(Cancelled::new())
        }
    }

    /// Counts down by one and waits.
    ///
    /// # Panics
    ///
    /// As [`count_down`](Self::count_down) and [`wait`](Self::wait).
    #[track_caller]
    pub fn count_down_and_wait(&self) {
        self.count_down();
        self.wait();
    }

    #[inline(always)]
    fn wait_slow(
        &self,
        limit: Option<Duration>,
        token: Option<&CancelToken>,
        site: &'static Location<'static>,
    ) -> Waited {
        let terms = Terms { kind: WaitKind::Latch, wants: 0, limit, site };
        let waited = wait::wait_in_with(
            &self.word.queue,
            terms,
            token,
            |_, _| if self.word.announce() { Enter::Back } else { Enter::Not },
            || {},
            |_, _| {},
        );
        match waited {
            Ok(waited) => waited,
            Err(_) => fiber_limit("waiting for a latch"),
        }
    }
}

impl fmt::Debug for Latch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latch").field("count", &self.word.count()).finish()
    }
}

impl std::panic::UnwindSafe for Latch {}
impl std::panic::RefUnwindSafe for Latch {}
