//! What is looked for at the edges of jobs and waits, on request: one word, so that it costs one load and one predictable branch where nobody has asked.
//!
//! The word is a static, and each worker has a copy of it, with what is special about its system. PERF: a worker's own word is beside what it has in its hands
//! anyway; a static is found by way of a table where the program may be loaded anywhere, which is twice as many instructions. For the same reason the owner
//! copies the copy into a cell when it starts a job or resumes a fiber: what is plain memory is compared in place (`ramie-bench instructions`).

use crate::sched::current;
use crate::system::for_each_system;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Events are recorded.
pub(crate) const RECORDS: u32 = 1;
/// Waits are counted during which a lock is held.
pub(crate) const COUNTS_LOCKS: u32 = 2;
/// It is written down who waits for whom.
pub(crate) const FINDS_DEADLOCKS: u32 = 4;
/// Jobs are shown in Tracy.
#[cfg(feature = "tracy")]
pub(crate) const SHOWS: u32 = 32;
#[cfg(not(feature = "tracy"))]
const SHOWS: u32 = 0;
/// A worker's copy: its system starts no more jobs.
pub(crate) const ABANDONS: u32 = 8;
/// A worker's copy: its fibers have floating-point states of their own.
pub(crate) const ISOLATES_FLOAT: u32 = 16;
/// Where something is to be done at the begin of a job.
pub(crate) const AT_START: u32 = RECORDS | COUNTS_LOCKS | FINDS_DEADLOCKS | SHOWS;

// Not the model checkers': it is no part of what they explore.
static HOOKS: AtomicU32 = AtomicU32::new(0);

/// Which of these somebody has asked for; 0 as a rule. Workers ask [their own copy](crate::sched::worker::Worker::hooks).
#[inline(always)]
pub(crate) fn wanted() -> u32 {
    HOOKS.load(Ordering::Relaxed)
}

/// Whether events are recorded.
#[inline(always)]
pub(crate) fn records() -> bool {
    wanted() & RECORDS != 0
}

/// Calls `copy` with the word. Of several calls at once the last one is given what was set last.
pub(crate) fn copy(copy: impl FnOnce(u32)) {
    static COPYING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = COPYING.lock().unwrap_or_else(PoisonError::into_inner);
    copy(HOOKS.load(Ordering::SeqCst));
}

pub(crate) fn set(hook: u32, is_wanted: bool) {
    if is_wanted {
        HOOKS.fetch_or(hook, Ordering::SeqCst);
    } else {
        HOOKS.fetch_and(!hook, Ordering::SeqCst);
    }
    for_each_system(|core| core.copy_hooks(0));
    if let Some(worker) = current::worker() {
        worker.notice_hooks();
    }
}
