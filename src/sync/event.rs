//! `Event`: set and reset by hand, or by the one that it lets through.

use super::queue::{List, Queue, Woken};
use super::wait::{self, Enter, Terms, Waited};
use crate::TimedOut;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::primitives::{AtomicU32, Ordering};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

const SET: u32 = 1;
/// Somebody is in the queue. Changed under its lock only.
const WAITING: u32 = 2;

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
    state: AtomicU32,
    is_auto: bool,
    queue: Queue,
}

impl Event {
    /// An event that stays set until it is reset; not set.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn manual() -> Self {
        Self { state: AtomicU32::new(0), is_auto: false, queue: Queue::new() }
    }

    /// An event that each `set` lets one waiter through; not set.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn auto() -> Self {
        Self { state: AtomicU32::new(0), is_auto: true, queue: Queue::new() }
    }

    #[cfg(any(loom, shuttle))]
    #[allow(missing_docs, reason = "for model checkers")]
    pub fn manual() -> Self {
        Self { state: AtomicU32::new(0), is_auto: false, queue: Queue::new() }
    }

    #[cfg(any(loom, shuttle))]
    #[allow(missing_docs, reason = "for model checkers")]
    pub fn auto() -> Self {
        Self { state: AtomicU32::new(0), is_auto: true, queue: Queue::new() }
    }

    /// Whether it is set now.
    pub fn is_set(&self) -> bool {
        self.state.load(Ordering::Acquire) & SET != 0
    }

    /// Sets it, or lets one waiter through.
    pub fn set(&self) {
        let mut state = self.state.load(Ordering::Relaxed);
        while state & WAITING == 0 {
            // ORDERING: Release for those whom it lets through.
            match self.state.compare_exchange_weak(state, state | SET, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        self.set_slow();
    }

    #[cold]
    #[inline(never)]
    fn set_slow(&self) {
        let mut woken = Woken::none();
        let mut list = self.queue.lock();
        let lets_through = if self.is_auto {
            std::iter::from_fn(|| (!list.is_empty()).then(|| list.claim_first(0, &mut woken)))
                .any(|claimed| claimed)
        } else {
            while !list.is_empty() {
                list.claim_first(0, &mut woken);
            }
            false
        };
        if !lets_through {
            self.state.fetch_or(SET, Ordering::Release);
        }
        self.note_left(&list);
        drop(list);
        wait::wake_all(woken);
    }

    /// Takes back what [`set`](Self::set) has done, as far as nobody has used it.
    pub fn reset(&self) {
        self.state.fetch_and(!SET, Ordering::Relaxed);
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
    #[track_caller]
    pub fn wait(&self) {
        if !self.try_pass() {
            let waited = self.wait_slow(None, Location::caller());
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
        if self.try_pass() || self.wait_slow(Some(limit), Location::caller()) != Waited::TimedOut {
            Ok(())
        } else {
            Err(TimedOut)
        }
    }

    /// Goes through if it is set now; whether it was.
    #[inline]
    pub fn try_pass(&self) -> bool {
        if !self.is_auto {
            return self.is_set();
        }
        let mut state = self.state.load(Ordering::Relaxed);
        while state & SET != 0 {
            // ORDERING: Acquire pairs with the Release in `set`.
            match self.state.compare_exchange_weak(state, state & !SET, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => state = now,
            }
        }
        false
    }

    #[cold]
    #[inline(never)]
    fn wait_slow(&self, limit: Option<Duration>, site: &'static Location<'static>) -> Waited {
        let terms = Terms { kind: WaitKind::Event, wants: 0, limit, site };
        let enter = |_: &mut List, _: &mut Woken| {
            loop {
                if self.try_pass() {
                    return Enter::Not;
                }
                let state = self.state.load(Ordering::Relaxed);
                // Only from not set to waiting, so that nobody waits while it is set.
                let announced = self.state.compare_exchange(
                    state & !SET,
                    state & !SET | WAITING,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                if announced.is_ok() {
                    return Enter::Back;
                }
            }
        };
        match wait::wait_in(&self.queue, terms, enter, || {}, |list, _| self.note_left(list)) {
            Ok(waited) => waited,
            Err(_) => fiber_limit("waiting for an event"),
        }
    }

    fn note_left(&self, list: &List) {
        if list.is_empty() {
            self.state.fetch_and(!WAITING, Ordering::Relaxed);
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("set", &self.is_set()).field("auto", &self.is_auto).finish()
    }
}

impl std::panic::UnwindSafe for Event {}
impl std::panic::RefUnwindSafe for Event {}
