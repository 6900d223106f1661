//! Visits of the main thread to worker 0: when they end. See `system/main_thread.rs`.

use super::worker::Worker;
use std::cell::Cell;
use std::time::{Duration, Instant};

/// What ends a visit, besides the wake that it waits for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limit {
    pub(crate) at: Option<Instant>,
    /// Only an idle worker looks at the clock.
    pub(crate) lazy: bool,
    /// It ends when there is nothing to do.
    pub(crate) when_idle: bool,
}

impl Limit {
    fn is_over(&self) -> bool {
        self.at.is_some_and(|at| Instant::now() >= at)
    }
}

/// The state of a visit. Threads of workers that have threads of their own never use it.
#[derive(Default)]
pub(super) struct Leave {
    limit: Cell<Limit>,
    /// What the main thread waits for has come.
    woken: Cell<bool>,
    /// The limit is to be looked at in every turn.
    watchful: Cell<bool>,
    /// The root should return.
    leaving: Cell<bool>,
    /// What the worker had done when the visit began: it does something before its time is over.
    done_before: Cell<u64>,
}

impl Leave {
    pub(super) fn reset(&self) {
        self.limit.set(Limit::default());
        self.woken.set(false);
        self.watchful.set(false);
        self.leaving.set(false);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.get()
    }

    /// Whether every turn should ask [`should_leave`](Worker::should_leave).
    pub(super) fn is_watchful(&self) -> bool {
        self.watchful.get()
    }

    pub(super) fn when_idle(&self) -> bool {
        self.limit.get().when_idle
    }

    /// The root is to return.
    pub(super) fn begin(&self) {
        self.leaving.set(true);
    }

    pub(super) fn time_left(&self) -> Option<Duration> {
        self.limit.get().at.map(|at| at.saturating_duration_since(Instant::now()))
    }
}

impl Worker {
    /// The thread of this visit was woken.
    pub(super) fn note_visitor_woken(&self) {
        self.leave.woken.set(true);
        self.watch_visit();
    }

    /// From now on every turn asks whether the visit is over.
    pub(super) fn watch_visit(&self) {
        self.leave.watchful.set(true);
        self.refresh_attention();
    }

    pub(super) fn should_leave(&self) -> bool {
        let leave = &self.leave;
        leave.woken.get() || (self.turns_done() != leave.done_before.get() && leave.limit.get().is_over())
    }

    /// Drives the worker on its thread until the visit's wait is over (true), the limit is reached, or the system has
    /// stopped.
    pub(crate) fn visit(&'static self, limit: Limit) -> bool {
        self.leave.limit.set(limit);
        self.leave.leaving.set(false);
        self.leave.done_before.set(if limit.when_idle { self.turns_done() } else { u64::MAX });
        self.leave.watchful.set(self.leave.woken.get() || (limit.at.is_some() && !limit.lazy));
        self.refresh_attention();
        self.drive();
        self.leave.limit.set(Limit::default());
        self.leave.watchful.set(false);
        self.end_search();
        self.flush_credit();
        self.tell_of_all_work();
        if !self.has_exited() {
            self.trim_before_leaving();
        }
        self.leave.woken.replace(false)
    }

    /// Waits for the visit's wake when the worker has exited: nothing else can be delivered any more.
    pub(crate) fn await_wake(&self, limit: Limit) -> bool {
        loop {
            self.poll_inbox();
            if self.leave.woken.replace(false) {
                return true;
            }
            if limit.is_over() {
                return false;
            }
            if self.inbox_try_park() {
                match limit.at {
                    None => self.remote().parker.park(),
                    Some(at) => {
                        self.remote().parker.park_timeout(at.saturating_duration_since(Instant::now()));
                    }
                }
                self.remote().inbox.leave_parked();
            }
        }
    }
}
