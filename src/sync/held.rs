//! On request, counts waits during which a lock of ours is held.
//!
//! They are correct, but whoever wants the lock waits for what the holder waits for. How many locks a fiber holds is kept by its worker while it
//! runs, and on its own stack while it is suspended; so nothing is counted, and next to nothing paid, unless somebody asks.

use crate::sched::current;
use crate::sched::worker::Worker;
use std::cell::Cell;
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

static IS_COUNTING: AtomicBool = AtomicBool::new(false);
static COUNTED: Mutex<Vec<WaitsWithLock>> = Mutex::new(Vec::new());

// Not the model checkers': it is no part of what they explore.
fn counted() -> MutexGuard<'static, Vec<WaitsWithLock>> {
    COUNTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// How often jobs have waited at a place while they held a lock that they had taken at another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WaitsWithLock {
    /// Where the lock was taken; of several, the one that was taken last.
    pub locked_at: &'static Location<'static>,
    /// Where the job waited.
    pub waited_at: &'static Location<'static>,
    /// How often.
    pub count: u64,
}

/// Counts, from now on or no longer, the waits of jobs that hold a [`Mutex`](super::Mutex) or a [`RwLock`](super::RwLock) meanwhile, by place; to begin with,
/// all counts are zero. For the whole process. A lock that was taken before is not known.
///
/// Such waits are correct, but make everybody wait who wants the lock.
///
/// # Examples
///
/// ```
/// use ramie::sync::{self, Mutex};
///
/// sync::count_waits_with_locks(true);
/// let state = Mutex::new(0);
/// ramie::scope(|s| {
///     s.detach(|| {
///         let mut state = state.lock();
///         ramie::yield_now();
///         *state += 1;
///     });
/// });
/// sync::count_waits_with_locks(false);
/// assert_eq!(sync::waits_with_locks()[0].count, 1);
/// ```
pub fn count_waits_with_locks(enabled: bool) {
    if enabled {
        counted().clear();
    }
    IS_COUNTING.store(enabled, Ordering::Relaxed);
}

/// What was counted since [`count_waits_with_locks`] was called; the most frequent first.
pub fn waits_with_locks() -> Vec<WaitsWithLock> {
    let mut waits = counted().clone();
    waits.sort_by_key(|waits| std::cmp::Reverse(waits.count));
    waits
}

/// The locks that the running fiber of a worker holds.
#[derive(Clone, Copy, Default)]
pub(crate) struct Held {
    count: u32,
    /// Where the last one was taken.
    last: Option<&'static Location<'static>>,
}

fn with_held(f: impl FnOnce(&Cell<Held>)) {
    if let Some(worker) = current::worker().filter(|worker| worker.in_fiber()) {
        f(worker.held_locks());
    }
}

/// The caller has got a lock.
#[inline(always)]
pub(super) fn note_locked(site: &'static Location<'static>) {
    if are_counted() {
        note_locked_slow(site);
    }
}

/// Notes a lock that was had, if it was.
#[inline(always)]
pub(super) fn noted(was_had: bool, site: &'static Location<'static>) -> bool {
    if was_had {
        note_locked(site);
    }
    was_had
}

#[cold]
#[inline(never)]
fn note_locked_slow(site: &'static Location<'static>) {
    with_held(|held| held.set(Held { count: held.get().count + 1, last: Some(site) }));
}

/// The caller gives a lock up.
#[inline(always)]
pub(super) fn note_unlocked() {
    if are_counted() {
        note_unlocked_slow();
    }
}

#[cold]
#[inline(never)]
fn note_unlocked_slow() {
    with_held(|held| {
        let Held { count, last } = held.get();
        // It may have been taken before counting began.
        let count = count.saturating_sub(1);
        held.set(Held { count, last: last.filter(|_| count > 0) });
    });
}

/// What a fiber that suspends takes with it.
pub(crate) struct Kept(Option<Held>);

/// Whether locks are counted now.
#[inline(always)]
pub(crate) fn are_counted() -> bool {
    IS_COUNTING.load(Ordering::Relaxed)
}

/// The fiber of `worker` is about to suspend.
pub(crate) fn keep(worker: &Worker) -> Kept {
    Kept(are_counted().then(|| take(worker)))
}

fn take(worker: &Worker) -> Held {
    let held = worker.held_locks().take();
    let (_, _, waited_at, _) = worker.current_fiber().wait();
    if let (Some(locked_at), Some(waited_at)) = (held.last, waited_at) {
        let mut counted = counted();
        let known = counted.iter_mut().find(|waits| {
            std::ptr::eq(waits.locked_at, locked_at) && std::ptr::eq(waits.waited_at, waited_at)
        });
        match known {
            Some(waits) => waits.count += 1,
            None => counted.push(WaitsWithLock { locked_at, waited_at, count: 1 }),
        }
    }
    held
}

impl Kept {
    /// The fiber goes on, on the worker that this is.
    pub(crate) fn restore(self) {
        if let Some(held) = self.0 {
            with_held(|now| now.set(held));
        }
    }
}
