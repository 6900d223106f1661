//! `Once`: something is done once.

use super::once_word::{For, OnceWord};
use super::wait::{self, Deadline, Enter, Terms, Waited};
use crate::TimedOut;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Does something once; whoever comes meanwhile waits for its end.
///
/// As with [`OnceLock`](super::OnceLock), a panic leaves it as if nobody had begun: the next one who comes, or who waits, does it.
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
    word: OnceWord,
}

impl Once {
    /// Nothing was done yet.
    pub const fn new() -> Self {
        Self { word: OnceWord::new() }
    }

    /// Whether it was done.
    #[inline]
    pub fn is_done(&self) -> bool {
        self.word.is_done()
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
        let Ok(()) = self.try_call_once(|| {
            f();
            Ok::<(), std::convert::Infallible>(())
        });
    }

    /// As [`call_once`](Self::call_once); an error of `f` leaves it as if nobody had begun.
    #[inline]
    #[track_caller]
    pub(super) fn try_call_once<E>(&self, f: impl FnOnce() -> Result<(), E>) -> Result<(), E> {
        if !self.is_done() && self.begin(Location::caller()) {
            let running = Running(self);
            f()?;
            std::mem::forget(running);
            self.end(true);
        }
        Ok(())
    }

    /// Waits until it was done, by somebody else.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless it was done. Elsewhere the thread blocks.
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::sync::Once;
    ///
    /// static SETUP: Once = Once::new();
    /// let waiter = ramie::spawn(|| SETUP.wait());
    /// SETUP.call_once(|| println!("now"));
    /// waiter.join().unwrap();
    /// ```
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.is_done() {
            let waited = self.wait_for(For::TheEnd, None, Location::caller());
            debug_assert!(waited.is_ok());
        }
    }

    /// As [`wait`](Self::wait), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if it was not done in time.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Suspends
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), TimedOut> {
        if self.is_done() {
            return Ok(());
        }
        self.wait_for(For::TheEnd, Some(limit), Location::caller())
    }

    /// Whether the caller is the one to do it; otherwise it was done.
    #[cold]
    fn begin(&self, site: &'static Location<'static>) -> bool {
        loop {
            if self.word.begin() {
                return true;
            }
            if self.is_done() {
                return false;
            }
            let waited = self.wait_for(For::ItsTurn, None, site);
            debug_assert!(waited.is_ok());
        }
    }

    /// Waits until it was done, or it is the caller's turn.
    #[cold]
    fn wait_for(
        &self,
        what: For,
        limit: Option<Duration>,
        site: &'static Location<'static>,
    ) -> Result<(), TimedOut> {
        let (deadline, mut left) = (Deadline::after(limit), limit);
        loop {
            let terms = Terms { kind: WaitKind::Once, wants: 0, limit: left, site };
            let enter =
                |_: &mut _, _: &mut _| if self.word.must_wait(what) { Enter::Back } else { Enter::Not };
            match wait::wait_in(&self.word.queue, terms, enter, || {}, |_, _| {}) {
                Ok(Waited::TimedOut) if !self.is_done() => return Err(TimedOut),
                Ok(_) if what == For::ItsTurn || self.is_done() => return Ok(()),
                // Whoever did it has failed.
                Ok(_) => left = deadline.left(),
                Err(_) => fiber_limit("waiting for what is done once"),
            }
        }
    }

    pub(super) fn end(&self, done: bool) {
        wait::wake_all(self.word.end(done));
    }
}

/// Somebody does it; if that is dropped, it has failed.
struct Running<'a>(&'a Once);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.end(false);
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
