//! The priority guard: while a High fiber waits on a worker, that worker holds Low work back for a while.
//!
//! A High job that waits for a moment, say at a barrier, wants its worker as soon as it is woken; a Low job that was
//! started meanwhile would keep it for as long as that takes. So the worker stays idle instead, but only for
//! [`HOLD_NS`] from when it has last done something: the guard delays, and never forbids. Work that is pinned, and
//! the turns of fairness, are exempt.

use super::priority::Priority;
use super::worker::Worker;
use std::cell::Cell;
use std::time::Duration;

/// For how long a worker with nothing but Low work stays idle.
const HOLD_NS: u64 = 2_000_000;

/// See the [module](self).
#[derive(Default)]
pub(crate) struct Guard {
    /// When the worker last began to hold Low work back.
    since_ns: Cell<u64>,
    /// What it had done by then: a change says that it has done something since.
    done: Cell<u64>,
    /// It has held back for long enough: Low work may go on until something else comes.
    open: Cell<bool>,
}

impl Guard {
    pub(super) fn reset(&self) {
        self.since_ns.set(0);
        self.done.set(u64::MAX);
        self.open.set(false);
    }

    /// Something more urgent than Low runs.
    #[inline]
    pub(super) fn close(&self) {
        self.open.set(false);
    }
}

impl Worker {
    /// For how long the worker still holds Low work back; `None` if it does not.
    pub(super) fn holds_low_back(&self) -> Option<Duration> {
        // Time means nothing to a model checker.
        if cfg!(shuttle) || !self.has_high_waiting() || !self.system().config.priority_guard {
            return None;
        }
        let done = self.turns_done();
        let idle = self.guard.done.replace(done) == done;
        if !idle && self.priority() > Priority::Low {
            // What it did last was more urgent; it has had that priority before, or `close` would have been called.
            self.guard.close();
        }
        if self.guard.open.get() {
            return None;
        }
        let now_ns = self.now_ns();
        if !idle {
            self.guard.since_ns.set(now_ns);
        }
        match (self.guard.since_ns.get() + HOLD_NS).checked_sub(now_ns) {
            None | Some(0) => {
                self.guard.open.set(true);
                None
            }
            Some(left_ns) => Some(Duration::from_nanos(left_ns)),
        }
    }
}
