//! Time limits of fibers: one thread, started on first use, that wakes fibers whose time has come.
//!
//! A timer is a deadline and a ticket for one wait of one fiber (`fiber/claim.rs`). When it fires too
//! late, the ticket is void and nothing happens.

mod deadlines;

use crate::fiber::Fiber;
use crate::fiber::claim::{Reason, Ticket};
use crate::memory::node::Node;
use crate::sched::wake;
use deadlines::{Deadlines, Key};
use std::ptr;
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

/// How many fibers are woken at a time.
const BATCH_MAX: usize = 256;

struct Pending {
    fiber: &'static Fiber,
    ticket: Ticket,
}

type Call = Box<dyn FnOnce() + Send>;

struct Timers {
    deadlines: Deadlines<Pending>,
    /// What the clock's thread was asked to do.
    calls: Vec<Call>,
}

impl Timers {
    /// Takes timers out whose time has come, up to [`BATCH_MAX`]; gives the chain of fibers that are to be woken, the last one first.
    fn take_due(&mut self, now: Instant) -> *mut Node {
        let mut chain: *mut Node = ptr::null_mut();
        for _ in 0..BATCH_MAX {
            let due = self.deadlines.first().filter(|(at, _)| *at <= now);
            let Some(Pending { fiber, ticket }) = due.and_then(|(_, key)| self.deadlines.remove(key)) else {
                break;
            };
            if fiber.claim.claim(ticket, Reason::TimedOut) {
                fiber.node().set_link(chain);
                chain = fiber.node_ptr();
            }
        }
        chain
    }
}

struct Clock {
    timers: Mutex<Timers>,
    changed: Condvar,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Timers> {
        self.timers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The clock thread: sleeps until the next deadline.
    fn run(&self) -> ! {
        let mut timers = self.lock();
        loop {
            let calls = std::mem::take(&mut timers.calls);
            let now = Instant::now();
            let due = timers.take_due(now);
            if !calls.is_empty() || !due.is_null() {
                drop(timers);
                wake::wake_chain(due);
                calls.into_iter().for_each(|call| call());
                timers = self.lock();
                continue;
            }
            timers = match timers.deadlines.first() {
                None => self.changed.wait(timers).unwrap_or_else(PoisonError::into_inner),
                Some((next, _)) => {
                    let left = next.saturating_duration_since(now);
                    self.changed.wait_timeout(timers, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

static CLOCK: Clock = Clock {
    timers: Mutex::new(Timers { deadlines: Deadlines::new(), calls: Vec::new() }),
    changed: Condvar::new(),
};

/// Has the clock's thread call something, which does not panic and does not take long.
///
/// # Panics
///
/// If the operating system gives no thread for the clock.
#[cfg(all(feature = "blocking", not(shuttle)))]
pub(crate) fn call_on_clock_thread(call: Call) {
    ensure_started();
    CLOCK.lock().calls.push(call);
    CLOCK.changed.notify_one();
}

/// Starts the clock's thread if there is none yet.
///
/// # Errors
///
/// If the operating system gives no thread. The next call tries again.
pub(crate) fn try_start() -> std::io::Result<()> {
    static STARTED: OnceLock<()> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if STARTED.get().is_some() {
        return Ok(());
    }
    let _only = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if STARTED.get().is_none() {
        std::thread::Builder::new().name("ramie-clock".into()).spawn(|| CLOCK.run())?;
        STARTED.get_or_init(|| ());
    }
    Ok(())
}

/// As [`try_start`].
///
/// # Panics
///
/// If the operating system gives no thread.
pub(crate) fn ensure_started() {
    try_start().expect("ramie: no thread for the clock that waits with a time limit need");
}

/// A timer that has been started.
pub(crate) struct Timer {
    key: Key,
}

/// Wakes `fiber` at `deadline`, if nobody has used the ticket by then. The caller has seen to it that the clock's
/// thread runs.
pub(crate) fn start(deadline: Instant, fiber: &'static Fiber, ticket: Ticket) -> Timer {
    let mut timers = CLOCK.lock();
    let key = timers.deadlines.insert(deadline, Pending { fiber, ticket });
    if timers.deadlines.first().is_some_and(|(_, first)| first == key) {
        // Under the lock: others rely on the clock knowing of this one, and a Background worker may be stopped after it.
        CLOCK.changed.notify_one();
    }
    drop(timers);
    Timer { key }
}

impl Timer {
    /// Takes the timer back, if it has not fired.
    pub(crate) fn cancel(self) {
        CLOCK.lock().deadlines.remove(self.key);
    }
}

/// How many timers have been started and have neither fired nor been taken back.
pub(crate) fn pending_count() -> usize {
    CLOCK.lock().deadlines.len()
}
