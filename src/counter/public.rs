//! `Counter`, the user's side.

#![expect(unsafe_code, reason = "a constructor that takes over a reference")]

use super::cell::CounterCell;
use super::word::COUNT_MAX;
use crate::error::{Cancelled, TimedOut, fiber_limit};
use crate::fiber::claim::Reason;
use crate::sched::wait::Bounds;
use crate::sync::CancelToken;
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Outstanding work: a number that jobs take down, and that fibers and threads wait for.
///
/// A counter belongs to no system. Any thread may signal it, and any fiber or thread may wait for it; a fiber
/// that waits suspends and costs no thread. Clones refer to the same counter. Its memory is
/// pooled: a new counter costs no heap allocation in the steady state.
///
/// # Memory ordering
///
/// Everything before a signal happens before the return of every wait that it ends.
///
/// # Dropping
///
/// When the last clone is dropped and the count is not zero, nobody can signal it any more. Jobs
/// that come [after](crate::JobBuilder::after) it are abandoned then: dropped without having run.
///
/// # Examples
///
/// ```
/// let system = ramie::JobSystem::builder().workers(2).build()?;
/// let done = ramie::Counter::new(3);
/// for _ in 0..3 {
///     let done = done.clone();
///     system.spawn(move || done.signal());
/// }
/// done.wait();
/// assert!(done.is_zero());
/// # Ok::<(), ramie::BuildError>(())
/// ```
///
/// The counters are Naughty Dog's (Gyrling, "Parallelizing the Naughty Dog Engine Using Fibers", GDC 2015).
pub struct Counter {
    cell: &'static CounterCell,
}

impl Counter {
    /// The greatest value: 4,294,967,295.
    pub const MAX: usize = COUNT_MAX;

    /// A counter with the value `n`.
    ///
    /// # Panics
    ///
    /// If `n` is greater than [`Counter::MAX`].
    #[track_caller]
    pub fn new(n: usize) -> Self {
        let Ok(count) = u32::try_from(n) else {
            panic!("Counter::new({n}): a counter holds at most {COUNT_MAX}")
        };
        Self { cell: CounterCell::take(count) }
    }

    #[inline]
    pub(crate) fn cell(&self) -> &'static CounterCell {
        self.cell
    }

    /// The cell, and with it this handle's reference.
    pub(crate) fn into_cell(self) -> &'static CounterCell {
        let cell = self.cell;
        std::mem::forget(self);
        cell
    }

    /// A handle for a reference that is there already.
    ///
    /// # Safety
    ///
    /// `cell` came from [`into_cell`](Self::into_cell), and each call of that is followed by at most one of this.
    pub(crate) unsafe fn from_cell(cell: &'static CounterCell) -> Self {
        Self { cell }
    }

    /// Adds `n`. What is added does not hold back a wait that was satisfied before.
    ///
    /// # Panics
    ///
    /// If the value would exceed [`Counter::MAX`]; it is unchanged then.
    #[track_caller]
    pub fn add(&self, n: usize) {
        if let Err(count) = self.cell.word().add(n) {
            panic!("Counter::add({n}): the value is {count}, and a counter holds at most {COUNT_MAX}")
        }
    }

    /// Takes 1 off; at zero, all that wait for it go on.
    ///
    /// # Panics
    ///
    /// If the value is 0 already, which means that something was signalled twice; the counter is unharmed.
    #[inline]
    #[track_caller]
    pub fn signal(&self) {
        self.signal_n(1);
    }

    /// Takes `n` off at once.
    ///
    /// # Panics
    ///
    /// If the value is lower than `n`; it is unchanged then.
    #[inline]
    #[track_caller]
    pub fn signal_n(&self, n: usize) {
        if let Err(count) = self.cell.signal(n) {
            below_zero(n, count);
        }
    }

    /// Adds 1, which the guard takes off again when it is dropped, also by a panic.
    #[track_caller]
    pub fn guard(&self) -> CounterGuard {
        self.add(1);
        CounterGuard { counter: self.clone() }
    }

    /// Waits until the value is 0: returns once it was at some moment since the call.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless the value is 0. Elsewhere, and while the thread unwinds, it blocks the thread.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    #[inline]
    #[track_caller]
    pub fn wait(&self) {
        if self.cell.wait_zero(Location::caller()).is_err() {
            fiber_limit("Counter::wait");
        }
    }

    /// Waits until the value is at most `target`, at some moment since the call.
    ///
    /// # Suspends
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_until(&self, target: usize) {
        self.wait_until_from(target, Location::caller(), "Counter::wait_until");
    }

    /// As [`wait_until`](Self::wait_until), in the name of another wait.
    #[track_caller]
    pub(crate) fn wait_until_from(&self, target: usize, site: &'static Location<'static>, what: &str) {
        let done = match target {
            0 => self.cell.wait_zero(site),
            _ => self.cell.wait_target(target, Bounds::default(), site).map(|_| ()),
        };
        if done.is_err() {
            fiber_limit(what);
        }
    }

    /// Waits until the value is 0, for at most `limit`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if it was not 0 at any moment in that time.
    ///
    /// # Suspends
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<(), TimedOut> {
        // A limit beyond what the clock can express is none.
        match self.cell.wait_target(0, Bounds::time(Some(limit)), Location::caller()) {
            Ok(Reason::Signalled) => Ok(()),
            Ok(_) => Err(TimedOut::new()),
            Err(_) => fiber_limit("Counter::wait_timeout"),
        }
    }

    /// Waits until the value is 0, or `token` is cancelled.
    ///
    /// # Errors
    ///
    /// [`Cancelled`] if the token was cancelled before the value was 0.
    ///
    /// # Suspends
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    #[track_caller]
    pub fn wait_cancellable(&self, token: &CancelToken) -> Result<(), Cancelled> {
        let bounds = Bounds { limit: None, token: Some(token) };
        match self.cell.wait_target(0, bounds, Location::caller()) {
            Ok(Reason::Signalled) => Ok(()),
            Ok(_) => Err(Cancelled::new()),
            Err(_) => fiber_limit("Counter::wait_cancellable"),
        }
    }

    /// The value, which others may change at any time.
    #[inline]
    pub fn value(&self) -> usize {
        self.cell.word().count()
    }

    /// Whether the value is 0. If so, everything before the signals that made it so has happened.
    #[inline]
    pub fn is_zero(&self) -> bool {
        self.value() == 0
    }
}

#[cold]
#[track_caller]
fn below_zero(n: usize, count: usize) -> ! {
    panic!("Counter::signal_n({n}): the value is {count}; more was signalled than was added")
}

impl Clone for Counter {
    fn clone(&self) -> Self {
        self.cell.add_reference();
        Self { cell: self.cell }
    }
}

impl Drop for Counter {
    fn drop(&mut self) {
        self.cell.drop_reference();
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counter").field("id", &self.cell.id()).field("value", &self.value()).finish()
    }
}

impl std::panic::UnwindSafe for Counter {}
impl std::panic::RefUnwindSafe for Counter {}

/// Signals its counter when it is dropped. Made by [`Counter::guard`].
#[derive(Debug)]
#[must_use = "dropping the guard signals the counter"]
pub struct CounterGuard {
    counter: Counter,
}

impl CounterGuard {
    /// The counter that will be signalled.
    pub fn counter(&self) -> &Counter {
        &self.counter
    }
}

impl Drop for CounterGuard {
    fn drop(&mut self) {
        // Somebody else may have signalled what this guard added. That is a fault of theirs, and a
        // destructor is no place to panic: the value is 0 already.
        let _ = self.counter.cell.signal(1);
    }
}
