//! `Event`: set and reset by hand, or by the one that it lets through.

use super::cancel::CancelToken;
use super::event_word::EventWord;
use super::wait::{self, Enter, Terms, Waited};
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::{Cancelled, TimedOut};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// A flag that can be waited for.
///
/// - A [manual](Self::manual) one stays set until [`reset`](Self::reset), and lets everybody through who waits or comes by meanwhile. A `set`
///   that is followed by a `reset` at once still lets all through who waited when it was set.
/// - An [auto](Self::auto) one lets one waiter through for each `set`, the one that has waited longest, and is reset by that. If nobody waits it stays
///   set for the next who comes by; setting it again meanwhile changes nothing.
///
/// What happened before `set` is visible to whoever it lets through.
///
/// # Examples
///
/// ```
/// use ramie::sync::Event;
///
/// static LOADED: Event = Event::manual();
/// let waiter = ramie::spawn(|| LOADED.wait());
/// LOADED.set();
/// waiter.join().unwrap();
/// assert!(LOADED.is_set());
/// ```
pub struct Event {
    word: EventWord,
}

impl Event {
    /// An event that stays set until it is reset; not set.
    pub const fn manual() -> Self {
        Self { word: EventWord::new(false) }
    }

    /// An event that each `set` lets one waiter through; not set.
    pub const fn auto() -> Self {
        Self { word: EventWord::new(true) }
    }

    /// Whether it is set now.
    pub fn is_set(&self) -> bool {
        self.word.is_set()
    }

    /// Sets it, or lets one waiter through.
    #[inline]
    pub fn set(&self) {
        if !self.word.try_set() {
            self.set_slow();
        }
    }

    pub(super) fn word(&self) -> &EventWord {
        &self.word
    }

    #[inline(never)]
    fn set_slow(&self) {
        wait::wake_all(self.word.let_through());
    }

    /// Takes back what [`set`](Self::set) has done, as far as nobody has used it.
    pub fn reset(&self) {
        self.word.reset();
    }

    /// Waits until it is set.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless it is set. Elsewhere the thread blocks.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if !self.try_pass() {
            let waited = self.wait_slow(None, None, Location::caller());
            debug_assert_ne!(waited, Waited::TimedOut);
        }
    }

    /// As [`wait`](Self::wait), for at most this long.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if it was not set in time.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), TimedOut> {
        if self.try_pass() || self.wait_slow(Some(limit), None, Location::caller()) != Waited::TimedOut {
            Ok(())
        } else {
            Err(TimedOut)
        }
    }

    /// As [`wait`](Self::wait), until a token is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the token was cancelled before the event was set.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_cancellable(&self, token: &CancelToken) -> Result<(), Cancelled> {
        if self.try_pass() || self.wait_slow(None, Some(token), Location::caller()) != Waited::Cancelled {
            Ok(())
        } else {
            Err(Cancelled::new())
        }
    }

    /// Goes through if it is set now; whether it was.
    #[inline]
    pub fn try_pass(&self) -> bool {
        self.word.try_pass()
    }

    // PERF: a waiter returns through the stack frames below its switch, each at the price of a misprediction (see `sched::wait::wait`): inlined, a
    // ping-pong of two fibers takes a third less.
    #[inline(always)]
    fn wait_slow(
        &self,
        limit: Option<Duration>,
        token: Option<&CancelToken>,
        site: &'static Location<'static>,
    ) -> Waited {
        let terms = Terms { kind: WaitKind::Event, wants: 0, limit, site };
        let waited = wait::wait_in_with(
            &self.word.queue,
            terms,
            token,
            |_, _| if self.word.announce() { Enter::Back } else { Enter::Not },
            || {},
            |list, _| self.word.note_left(list),
        );
        match waited {
            Ok(waited) => waited,
            Err(_) => fiber_limit("waiting for an event"),
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).field("auto", &self.word.is_auto()).finish()
    }
}

impl std::panic::UnwindSafe for Event {}
impl std::panic::RefUnwindSafe for Event {}
