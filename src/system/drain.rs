//! Ending a system: finish, deadline, abandon.

use super::core::{Phase, SystemCore};
use super::main_thread;
use crate::error::ShutdownError;
use crate::fiber::claim::Reason;
use crate::sched::current;
use crate::sched::wait::{Bounds, FiberLimit};
use crate::trace::dump::FiberDump;
use crate::trace::stall::{self, StallKind};
use std::panic::Location;
use std::time::{Duration, Instant};

/// What becomes of a system's jobs when it is shut down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Drain {
    /// Runs everything that was submitted, and what that submits. Waits for as long as it takes, and reports
    /// a stall while it is blocked.
    Finish,
    /// As `Finish`, for at most this long; then as `Abandon`.
    Deadline(Duration),
    /// Starts nothing more: what has not been started is dropped. Jobs that run or wait go on to their
    /// end, for which this does not wait.
    Abandon,
}

/// How a shutdown ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Report {
    /// Whether all jobs have ended and all threads have left.
    pub finished: bool,
    /// The jobs that were still running or waiting when the shutdown returned. Their worker threads leave
    /// when the last of them has ended.
    pub remaining: FiberDump,
}

/// How often an abandoning shutdown looks whether the last workers have left.
const LEAVE_POLL: Duration = Duration::from_micros(200);
/// How often a shutdown looks whether the main thread, which is inside, has gone away.
const MAIN_POLL: Duration = Duration::from_millis(2);
/// How often at most: a second in all.
const LEAVE_POLLS_MAX: u32 = 5000;

/// Shuts the system down; the caller is not one of its own jobs.
pub(super) fn shut_down(core: &SystemCore, drain: Drain) -> Result<Report, ShutdownError> {
    if current::worker().is_some_and(|worker| worker.belongs_to(core)) {
        return Err(ShutdownError::InsideOwnJob);
    }
    let finished = match drain {
        Drain::Finish => {
            core.stop_when_idle(Phase::Draining);
            finish(core, None)
        }
        Drain::Deadline(limit) => {
            core.stop_when_idle(Phase::Draining);
            // A limit beyond what the clock can express is none.
            finish(core, Instant::now().checked_add(limit)) || abandon(core)
        }
        Drain::Abandon => abandon(core),
    };
    let finished = finished && core.left_count() == 0;
    Ok(Report { finished, remaining: if finished { FiberDump::empty() } else { FiberDump::of(core) } })
}

/// Waits until all workers have left; reports each time it has been blocked for `stall_after`.
fn finish(core: &SystemCore, deadline: Option<Instant>) -> bool {
    let mut patience = core.config.stall_after;
    let begin = Instant::now();
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return core.present.is_zero();
        }
        close_if_away(core);
        if wait_present(core, left.unwrap_or(patience).min(poll_of(core).unwrap_or(patience))) {
            return true;
        }
        if begin.elapsed() >= patience {
            stall::report(core, StallKind::ShutdownBlocked, begin.elapsed());
            // Each report is twice as far from the last, so that a long wait does not fill a log.
            patience = patience.saturating_mul(2);
        }
    }
}

/// Worker 0 is a thread that is somewhere else: it will not come back for this.
fn close_if_away(core: &SystemCore) {
    if core.main.is_some() && !main_thread::is_seat_of(core) {
        core.close_main_thread(false);
    }
}

/// How often to look whether the main thread has gone away.
fn poll_of(core: &SystemCore) -> Option<Duration> {
    (core.main.is_some() && !core.main_is_closed() && !main_thread::is_seat_of(core)).then_some(MAIN_POLL)
}

/// Waits until all workers have left, for at most `limit`. Never panics: this runs in destructors.
fn wait_present(core: &SystemCore, limit: Duration) -> bool {
    match core.present.cell().wait_target(0, Bounds::time(Some(limit)), Location::caller()) {
        Ok(reason) => reason == Reason::Signalled,
        Err(FiberLimit) => {
            // In a job of another system that has no fiber left: its thread has to block.
            std::thread::sleep(limit.min(LEAVE_POLL));
            core.present.is_zero()
        }
    }
}

/// Abandons, and waits only for workers that have nothing left to wait for.
fn abandon(core: &SystemCore) -> bool {
    core.abandon();
    close_if_away(core);
    // A worker that is stuck in a callback of the builder is in no dump, and is not waited for longer than this.
    for _ in 0..LEAVE_POLLS_MAX {
        if core.present.is_zero() {
            return true;
        }
        if FiberDump::has_fibers(core) {
            return core.present.is_zero();
        }
        if cfg!(shuttle) {
            // A limit may have passed before the wait begins; without this the loop would starve the workers.
            crate::primitives::yield_thread();
        }
        if wait_present(core, LEAVE_POLL) {
            return true;
        }
    }
    core.present.is_zero()
}

/// The last handle was dropped.
pub(super) fn drop_system(core: &SystemCore) {
    if current::worker().is_some_and(|worker| worker.belongs_to(core)) {
        // Inside one of its own jobs: it stops by itself when that has ended.
        core.stop_when_idle(Phase::Draining);
        close_if_away(core);
        return;
    }
    let drain =
        if std::thread::panicking() { Drain::Deadline(Duration::from_secs(1)) } else { Drain::Finish };
    let ended = shut_down(core, drain);
    debug_assert!(ended.is_ok(), "checked above");
}
