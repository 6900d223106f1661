//! `Barrier` and `Latch`.

use super::queue::{List, Queue, Woken};
use super::wait::{self, Enter, Terms, Waited};
use crate::Counter;
use crate::TimedOut;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use crate::primitives::{AtomicUsize, Ordering};
use std::fmt;
use std::panic::Location;
use std::time::Duration;

/// Lets jobs, or threads, go on when so many of them have arrived; again and again.
///
/// All of them must be started for the last to arrive: a barrier of 100 jobs needs 100 fibers. Between stages of independent work a
/// [`scope`](crate::scope()) needs one.
///
/// # Examples
///
/// ```
/// use ramie::sync::Barrier;
/// use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
///
/// let (barrier, arrived) = (Barrier::new(3), AtomicUsize::new(0));
/// ramie::scope(|s| {
///     for _ in 0..3 {
///         s.spawn(|| {
///             arrived.fetch_add(1, SeqCst);
///             barrier.wait();
///             assert_eq!(arrived.load(SeqCst), 3);
///         });
///     }
/// });
/// ```
pub struct Barrier {
    size: usize,
    /// How many have arrived. Changed under the queue's lock only.
    arrived: AtomicUsize,
    queue: Queue,
}

impl Barrier {
    /// A barrier for so many; for 0 it is one for 1, which nobody waits at.
    #[cfg(not(any(loom, shuttle)))]
    pub const fn new(size: usize) -> Self {
        Self { size, arrived: AtomicUsize::new(0), queue: Queue::new() }
    }

    #[cfg(any(loom, shuttle))]
    #[allow(missing_docs, reason = "for model checkers")]
    pub fn new(size: usize) -> Self {
        Self { size, arrived: AtomicUsize::new(0), queue: Queue::new() }
    }

    /// Waits until all have arrived; true for one of them, which was the last.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made; it has not arrived then.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless it is the last. Elsewhere the thread blocks.
    #[track_caller]
    pub fn wait(&self) -> bool {
        // The last one need not be able to suspend.
        let mut list = self.queue.lock();
        if self.arrived.load(Ordering::Relaxed) + 1 >= self.size {
            let woken = self.open(&mut list);
            drop(list);
            wait::wake_all(woken);
            return true;
        }
        drop(list);
        let enter = |list: &mut List, woken: &mut Woken| {
            let arrived = self.arrived.load(Ordering::Relaxed) + 1;
            if arrived >= self.size {
                *woken = self.open(list);
                return Enter::Not;
            }
            self.arrived.store(arrived, Ordering::Relaxed);
            Enter::Back
        };
        let terms = Terms { kind: WaitKind::Barrier, wants: 0, limit: None, site: Location::caller() };
        match wait::wait_in(&self.queue, terms, enter, || {}, |_, _| {}) {
            Ok(waited) => waited == Waited::NotNeeded,
            Err(_) => fiber_limit("waiting at a barrier"),
        }
    }

    /// Under the queue's lock: all have arrived.
    fn open(&self, list: &mut List) -> Woken {
        let mut woken = Woken::none();
        self.arrived.store(0, Ordering::Relaxed);
        list.claim_all(&mut woken);
        woken
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("size", &self.size).finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for Barrier {}
impl std::panic::RefUnwindSafe for Barrier {}

/// Counts down to zero once, and lets all through from then on.
///
/// A [`Counter`] can do that too; a latch cannot be counted up again.
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
#[derive(Debug)]
pub struct Latch {
    counter: Counter,
}

impl Latch {
    /// A latch that opens after so many count-downs; open from the beginning for 0.
    pub fn new(count: usize) -> Self {
        Self { counter: Counter::new(count) }
    }

    /// Counts down by one.
    ///
    /// # Panics
    ///
    /// If it is open: somebody counts down more often than was said.
    #[track_caller]
    pub fn count_down(&self) {
        self.counter.signal();
    }

    /// Whether it has been counted down to zero.
    pub fn is_open(&self) -> bool {
        self.counter.is_zero()
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
    #[track_caller]
    pub fn wait(&self) {
        self.counter.wait();
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
        self.counter.wait_timeout(limit)
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
}
