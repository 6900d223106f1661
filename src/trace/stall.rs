//! Stall reports: something has been blocked for long.

use super::deadlock::WaitEdge;
use super::dump::{FiberActivity, FiberDump, FiberInfo};
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
    /// Jobs wait for each other in a circle, without limits, for locks of [`sync`](crate::sync) and the ends of jobs: none of them will ever go on. Only found if
    /// [`Builder::find_deadlocks`](crate::Builder::find_deadlocks) was asked for.
    Deadlock,
    /// A worker is inside one job, and has started, ended, suspended or resumed nothing for so long. If `blocked`, its thread has used no processor
    /// meanwhile: the job is blocked in the operating system, by a lock of the standard library, say, or a read. (Not known
    /// on other systems than Linux, where it is false.) Otherwise it computes, and should be split; that is only
    /// printed if others wait for this very worker.
    WorkerStuck {
        /// The worker's index.
        worker: usize,
        /// Whether its thread is blocked.
        blocked: bool,
    },
}

/// A stall; handed to [`Builder::on_stall`](crate::Builder::on_stall).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StallReport {
    /// What is blocked.
    pub kind: StallKind,
    /// For how long.
    pub blocked_for: Duration,
    /// The circle of a [deadlock](StallKind::Deadlock): each waits for the next, and the last for the first. Otherwise empty.
    pub circle: Vec<WaitEdge>,
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
            StallKind::WorkerStuck { worker, blocked } => return self.tell_of_worker(f, worker, blocked),
            StallKind::Deadlock => {
                match self.circle.len() {
                    1 => writeln!(
                        f,
                        "ramie: deadlock: a job waits for what only itself, or a job that runs it, can give"
                    )?,
                    jobs => writeln!(f, "ramie: deadlock: {jobs} jobs wait for each other")?,
                }
                self.circle.iter().try_for_each(|edge| writeln!(f, "  {edge}"))?;
                return fmt::Display::fmt(&self.dump, f);
            }
        };
        writeln!(f, "ramie: {what} {:.1?}", self.blocked_for)?;
        fmt::Display::fmt(&self.dump, f)
    }
}

impl StallReport {
    fn tell_of_worker(&self, f: &mut fmt::Formatter<'_>, worker: usize, blocked: bool) -> fmt::Result {
        write!(f, "ramie: stall: worker {worker} has been inside ")?;
        let runs = |fiber: &&FiberInfo| fiber.worker == worker && fiber.activity == FiberActivity::Running;
        match self.dump.fibers.iter().find(runs) {
            Some(fiber) => {
                f.write_str(if fiber.job_name.is_some() { "job" } else { "a job" })?;
                fiber.job_name.map_or(Ok(()), |name| write!(f, " '{name}'"))?;
                fiber.spawned_at.map_or(Ok(()), |place| write!(f, " spawned at {place}"))?;
            }
            None => f.write_str("a job that has ended since")?,
        }
        let how = if blocked {
            "its thread is blocked: by a lock that another job holds across a wait, or a call that `ramie::blocking` should make"
        } else {
            "it has not waited, and nothing else of this worker goes on until it does, or passes a split"
        };
        writeln!(f, ", for {:.1?}; {how}", self.blocked_for)?;
        fmt::Display::fmt(&self.dump, f)
    }
}

/// Tells `on_stall`, or prints. Never panics: callers wait for jobs that borrow.
#[cold]
pub(crate) fn report(core: &SystemCore, kind: StallKind, blocked_for: Duration) {
    report_circle(core, kind, blocked_for, Vec::new());
}

/// As [`report`].
#[cold]
pub(super) fn report_circle(
    core: &SystemCore,
    kind: StallKind,
    blocked_for: Duration,
    circle: Vec<WaitEdge>,
) {
    let report = StallReport { kind, blocked_for, circle, dump: FiberDump::of(core) };
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
