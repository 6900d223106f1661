//! On request, counts waits during which a lock of ours is held.
//!
//! They are correct, but whoever wants the lock waits for what the holder waits for. How many locks a fiber holds is kept by its worker while it
//! runs, and on its own stack while it is suspended; so nothing is counted, and next to nothing paid, unless somebody asks.

use crate::sched::current;
use crate::sched::worker::Worker;
use crate::trace::{deadlock, hooks};
use std::panic::Location;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Odd while somebody wants the counts; what was noted in another epoch is not believed.
static EPOCH: AtomicU32 = AtomicU32::new(0);
static COUNTED: Mutex<Vec<WaitsWithLock>> = Mutex::new(Vec::new());

// Not the model checkers': it is no part of what they explore.
fn counted() -> MutexGuard<'static, Vec<WaitsWithLock>> {
    COUNTED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who wants to know of locks.
const NOTED: u32 = hooks::COUNTS_LOCKS | hooks::FINDS_DEADLOCKS;

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
/// all counts are zero. For the whole process. A lock that was taken before is not known, and one whose guard was leaked is forgotten when the
/// job ends; of a job that runs inside of another one, like the half of a `join`, when that one does.
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
    static ONE_CALLER: Mutex<()> = Mutex::new(());
    let _one_caller = ONE_CALLER.lock().unwrap_or_else(PoisonError::into_inner);
    if enabled {
        counted().clear();
    }
    let epoch = EPOCH.load(Ordering::Relaxed);
    let next =
        if enabled { (epoch | 1).wrapping_add(2 * (epoch & 1)) } else { epoch.wrapping_add(epoch & 1) };
    EPOCH.store(next, Ordering::Relaxed);
    hooks::set(hooks::COUNTS_LOCKS, enabled);
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
    epoch: u32,
    count: u32,
    /// Where the last one was taken.
    last: Option<&'static Location<'static>>,
}

impl Held {
    const fn none(epoch: u32) -> Self {
        Self { epoch, count: 0, last: None }
    }

    /// What is known in `epoch`.
    fn in_epoch(self, epoch: u32) -> Self {
        if self.epoch == epoch { self } else { Self::none(epoch) }
    }
}

fn change_held(f: impl FnOnce(&mut Held)) {
    if let Some(worker) = current::worker().filter(|worker| worker.in_fiber()) {
        // From now on its waits are looked at, whenever that was asked for.
        worker.notice_hooks();
        let mut held = worker.held_locks().get().in_epoch(EPOCH.load(Ordering::Relaxed));
        f(&mut held);
        worker.held_locks().set(held);
    }
}

/// The caller has got a lock, alone or with others.
#[inline(always)]
pub(super) fn note_locked<L>(lock: &L, is_alone: bool, site: &'static Location<'static>) {
    if hooks::wanted() & NOTED != 0 {
        note_locked_slow(ptr::from_ref(lock).addr(), is_alone, site);
    }
}

/// Notes a lock that was had, if it was.
#[inline(always)]
pub(super) fn noted<L>(was_had: bool, lock: &L, is_alone: bool, site: &'static Location<'static>) -> bool {
    if was_had {
        note_locked(lock, is_alone, site);
    }
    was_had
}

#[cold]
#[inline(never)]
fn note_locked_slow(lock: usize, is_alone: bool, site: &'static Location<'static>) {
    if deadlock::is_enabled() {
        deadlock::locked(lock, is_alone, site);
    }
    if are_counted() {
        change_held(|held| {
            held.count += 1;
            held.last = Some(site);
        });
    }
}

/// The caller gives a lock up.
#[inline(always)]
pub(super) fn note_unlocked<L>(lock: &L) {
    if hooks::wanted() & NOTED != 0 {
        note_unlocked_slow(ptr::from_ref(lock).addr());
    }
}

/// The caller, who had a lock alone, shares it from now on.
pub(super) fn note_downgraded<L>(lock: &L) {
    if deadlock::is_enabled() {
        deadlock::downgraded(ptr::from_ref(lock).addr());
    }
}

#[cold]
#[inline(never)]
fn note_unlocked_slow(lock: usize) {
    if deadlock::is_enabled() {
        deadlock::unlocked(lock);
    }
    if are_counted() {
        change_held(|held| {
            // It may have been taken before counting began.
            held.count = held.count.saturating_sub(1);
            held.last = held.last.filter(|_| held.count > 0);
        });
    }
}

/// What a fiber that suspends takes with it.
pub(crate) struct Kept(Option<Held>);

/// Whether locks are counted now.
#[inline(always)]
pub(crate) fn are_counted() -> bool {
    hooks::wanted() & hooks::COUNTS_LOCKS != 0
}

/// The fiber of `worker` is about to suspend.
pub(crate) fn keep(worker: &Worker) -> Kept {
    Kept(are_counted().then(|| take(worker)))
}

fn take(worker: &Worker) -> Held {
    let held = worker.held_locks().take().in_epoch(EPOCH.load(Ordering::Relaxed));
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
        // One that suspended when nobody counted holds nothing that is known, whatever the worker's last job has leaked.
        if self.0.is_some() || are_counted() {
            change_held(|held| {
                *held = self.0.map_or(Held::none(held.epoch), |kept| kept.in_epoch(held.epoch))
            });
        }
    }
}

/// The running fiber, which was idle, begins with a job, and holds nothing: guards of the one before may have been leaked.
pub(crate) fn forget() {
    if are_counted() {
        change_held(|held| *held = Held::none(held.epoch));
    }
}
