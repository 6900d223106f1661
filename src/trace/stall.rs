//! Stall reports: something has been blocked for long.

use super::dump::FiberDump;
use crate::error::complain;
use crate::system::core::SystemCore;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StallKind {
    /// A shutdown, or the drop of the last handle, waits for jobs that do not end.
    ShutdownBlocked,
    /// A `run` waits, and nothing in the system runs, is queued or has a time limit. Suspected only: a thread outside
    /// may be about to signal.
    RunBlocked,
}

/// A stall; handed to [`Builder::on_stall`](crate::Builder::on_stall).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StallReport {
    /// What is blocked.
    pub kind: StallKind,
    /// For how long.
    pub blocked_for: Duration,
    /// Every job that runs or waits.
    pub dump: FiberDump,
}

impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            StallKind::ShutdownBlocked => "stall: the end of a job system has been waiting for its jobs for",
            StallKind::RunBlocked => {
                "suspected stall: `run` has been waiting, with nothing left that could go on, for"
            }
        };
        write!(f, "ramie: {what} {:.1?}\n{}", self.blocked_for, self.dump)
    }
}

/// Tells `on_stall`, or prints. Never panics: callers wait for jobs that borrow.
#[cold]
pub(crate) fn report(core: &SystemCore, kind: StallKind, blocked_for: Duration) {
    let report = StallReport { kind, blocked_for, dump: FiberDump::of(core) };
    match &core.config.on_stall {
        Some(callback) => {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| callback(&report))) {
                std::mem::forget(payload);
                complain!("ramie: the on_stall callback panicked");
            }
        }
        None => {
            complain!("{report}");
        }
    }
}

/// Whether every worker sleeps, nothing is queued, and no clock will wake anybody.
pub(crate) fn nothing_can_move(core: &SystemCore) -> bool {
    core.all_sleep()
        && core.nothing_injected()
        && core.remotes.iter().all(|remote| remote.queued_count() == 0 && remote.inbox.is_empty())
        && crate::interop::timer::pending_count() == 0
        && crate::interop::calls_in_flight() == 0
}
