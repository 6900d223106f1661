//! `Barrier`: so many meet.

use super::barrier_word::BarrierWord;
use super::queue::{List, Woken};
use super::wait::{self, Enter, Terms, Waited};
use crate::TimedOut;
use crate::error::fiber_limit;
use crate::fiber::WaitKind;
use std::cell::Cell;
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
    word: BarrierWord,
}

impl Barrier {
    /// A barrier for so many; for 0 it is one for 1, which nobody waits at.
    pub const fn new(size: usize) -> Self {
        Self { word: BarrierWord::new(size) }
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
        self.arrive(None, Location::caller()).expect("no limit")
    }

    /// As [`wait`](Self::wait), for at most this long. An arrival whose time is over is taken back, as if it had not come: the others go on to wait for one
    /// more. If the last one arrives at that very moment it counts, and this is `Ok(false)`.
    ///
    /// # Errors
    ///
    /// [`TimedOut`] if not all arrived in time; it has not arrived then.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Suspends
    ///
    /// As [`wait`](Self::wait).
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::sync::Barrier;
    /// use std::time::Duration;
    ///
    /// let barrier = Barrier::new(2);
    /// assert!(barrier.wait_timeout(Duration::from_millis(1)).is_err());
    /// // Two are needed all the same.
    /// ramie::join(|| barrier.wait(), || barrier.wait());
    /// ```
    #[track_caller]
    pub fn wait_timeout(&self, limit: Duration) -> Result<bool, TimedOut> {
        self.arrive(Some(limit), Location::caller())
    }

    /// Whether it was the last.
    // PERF: inlined, so that a waiter has one stack frame less to return through.
    #[inline(always)]
    fn arrive(&self, limit: Option<Duration>, site: &'static Location<'static>) -> Result<bool, TimedOut> {
        // The last one need not be able to suspend.
        let mut woken = Woken::none();
        let mut list = self.word.queue.lock();
        let opens = self.word.opens(&mut list, &mut woken);
        drop(list);
        wait::wake_all(woken);
        if opens {
            return Ok(true);
        }
        let (round, opened) = (Cell::new(None), Cell::new(false));
        let enter = |list: &mut List, woken: &mut Woken| {
            if self.word.opens(list, woken) {
                return Enter::Not;
            }
            round.set(Some(self.word.arrive()));
            Enter::Back
        };
        let left = |_: &mut List, _: &mut Woken| {
            let round = round.get().expect("it has arrived");
            opened.set(!self.word.take_back(round));
        };
        let terms = Terms { kind: WaitKind::Barrier, wants: 0, limit, site };
        match wait::wait_in(&self.word.queue, terms, enter, || {}, left) {
            Ok(Waited::TimedOut) if !opened.get() => Err(TimedOut),
            Ok(waited) => Ok(waited == Waited::NotNeeded),
            Err(_) => fiber_limit("waiting at a barrier"),
        }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier").field("size", &self.word.size()).finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for Barrier {}
impl std::panic::RefUnwindSafe for Barrier {}
