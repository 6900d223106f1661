//! What is looked for at the edges of jobs and waits, on request: one word, so that it costs one load and one predictable branch where nobody has asked.

use std::sync::atomic::{AtomicU32, Ordering};

/// Events are recorded.
pub(crate) const RECORDS: u32 = 1;
/// Waits are counted during which a lock is held.
pub(crate) const COUNTS_LOCKS: u32 = 2;
/// It is written down who waits for whom.
pub(crate) const FINDS_DEADLOCKS: u32 = 4;

// Not the model checkers': it is no part of what they explore.
static HOOKS: AtomicU32 = AtomicU32::new(0);

/// Which of these somebody has asked for.
#[inline(always)]
pub(crate) fn wanted() -> u32 {
    HOOKS.load(Ordering::Relaxed)
}

/// Whether events are recorded.
#[inline(always)]
pub(crate) fn records() -> bool {
    wanted() & RECORDS != 0
}

pub(crate) fn set(hook: u32, is_wanted: bool) {
    if is_wanted {
        HOOKS.fetch_or(hook, Ordering::SeqCst);
    } else {
        HOOKS.fetch_and(!hook, Ordering::SeqCst);
    }
}
