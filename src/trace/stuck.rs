//! Workers that are stuck inside one job: a thread of the process looks now and then what each has done since.
//!
//! A worker that has neither started, ended, suspended nor resumed anything for `stall_after`, and is inside a job, is reported once. Whether its thread
//! has used the processor meanwhile tells a job that computes from one that is blocked in the operating system. The first is only
//! printed if others wait for the worker.

use super::deadlock::{self, Edge, WaitEdge};
use super::stall::{self, StallKind};
use crate::fiber::{Fiber, FiberState};
use crate::memory::slots;
use crate::sched::worker::Remote;
use crate::system::core::SystemCore;
use crate::system::for_each_system;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How many looks there are in the time after which something is reported.
const LOOKS: u32 = 4;
/// A thread that has used less than one part in so many of the time is blocked.
const BLOCKED_PARTS: u32 = 1000;

/// Nanoseconds between two looks; the greatest value while there is nothing to look at.
static INTERVAL_NS: AtomicU64 = AtomicU64::new(u64::MAX);
/// Whether a system was added that wants more frequent looks.
static HURRY: Mutex<bool> = Mutex::new(false);
static CHANGED: Condvar = Condvar::new();

/// What a worker had done when it was last seen to do something.
struct Seen {
    progress: u64,
    since: Instant,
    cpu: Option<Duration>,
    is_reported: bool,
    /// Whether it was looked at in this round.
    is_current: bool,
}

/// Looks after this system as long as it is there. Without a thread for that nothing is reported.
pub(crate) fn watch(core: &SystemCore) {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| drop(std::thread::Builder::new().name("ramie-watch".into()).spawn(run)));
    let wanted = interval_of(core).as_nanos() as u64;
    if INTERVAL_NS.fetch_min(wanted, Ordering::Relaxed) > wanted {
        *HURRY.lock().unwrap_or_else(PoisonError::into_inner) = true;
        CHANGED.notify_one();
    }
}

fn interval_of(core: &SystemCore) -> Duration {
    core.config.stall_after / LOOKS
}

fn run() {
    let (mut workers, mut deadlocks) = (HashMap::new(), Deadlocks::default());
    loop {
        let mut interval: Option<Duration> = None;
        INTERVAL_NS.store(u64::MAX, Ordering::Relaxed);
        for_each_system(|core| {
            let wanted = interval_of(core);
            INTERVAL_NS.fetch_min(wanted.as_nanos() as u64, Ordering::Relaxed);
            interval = Some(interval.map_or(wanted, |interval| interval.min(wanted)));
            look(core, &mut workers);
        });
        deadlocks.look();
        workers.retain(|_, seen| std::mem::replace(&mut seen.is_current, false));
        let hurry = HURRY.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hurry = match interval {
            Some(interval) => {
                let result = CHANGED.wait_timeout_while(hurry, interval, |hurry| !*hurry);
                result.unwrap_or_else(PoisonError::into_inner).0
            }
            None => CHANGED.wait_while(hurry, |hurry| !*hurry).unwrap_or_else(PoisonError::into_inner),
        };
        *hurry = false;
    }
}

/// Circles of jobs that wait for each other.
#[derive(Default)]
struct Deadlocks {
    /// Seen by the last look, since when, and whether they are reported.
    seen: Vec<(Vec<Edge>, Instant, bool)>,
}

impl Deadlocks {
    /// Reports circles that the last look has seen as well: a new one may be about to end, if somebody was just given what it waits for.
    fn look(&mut self) {
        if !deadlock::is_enabled() {
            return;
        }
        let before = std::mem::take(&mut self.seen);
        let known: Vec<Vec<Edge>> = before.iter().map(|(circle, ..)| circle.clone()).collect();
        for circle in deadlock::circles(&known) {
            let known = before.iter().find(|(known, ..)| *known == circle);
            let (since, mut is_reported) = known.map_or((Instant::now(), false), |known| (known.1, known.2));
            if known.is_some() && !is_reported {
                is_reported =
                    WaitEdge::all(&circle).is_some_and(|edges| report_deadlock(edges, since.elapsed()));
            }
            self.seen.push((circle, since, is_reported));
        }
    }
}

/// Tells one of the systems whose jobs these are; whether there was one.
fn report_deadlock(edges: Vec<WaitEdge>, since: Duration) -> bool {
    let mut edges = Some(edges);
    for_each_system(|core| {
        if let Some(edges) = edges.take_if(|edges| edges.iter().any(|edge| edge.fiber.system == core.index)) {
            stall::report_circle(core, StallKind::Deadlock, since, edges);
        }
    });
    edges.is_none()
}

fn look(core: &SystemCore, workers: &mut HashMap<(u32, usize), Seen>) {
    // Background threads are stopped by the kernel for as long as it likes.
    for (index, remote) in core.remotes.iter().take(core.workers()).enumerate() {
        let progress = remote.tally.progress();
        let fresh = || Seen {
            progress,
            since: Instant::now(),
            cpu: remote.thread_time(),
            is_reported: false,
            is_current: true,
        };
        let seen = workers.entry((core.index, index)).or_insert_with(fresh);
        seen.is_current = true;
        if seen.progress != progress || remote.is_idle() {
            *seen = fresh();
            continue;
        }
        let stuck_for = seen.since.elapsed();
        if seen.is_reported || stuck_for < core.config.stall_after || !is_inside_job(core, index) {
            continue;
        }
        seen.is_reported = true;
        let used = remote.thread_time().zip(seen.cpu).map(|(now, then)| now.saturating_sub(then));
        let blocked = used.is_some_and(|used| used < stuck_for / BLOCKED_PARTS);
        if blocked || has_others(remote) || core.config.on_stall.is_some() {
            stall::report(core, StallKind::WorkerStuck { worker: index, blocked }, stuck_for);
        }
    }
}

/// Whether fibers that were woken, or pinned jobs, wait for the worker.
fn has_others(remote: &Remote) -> bool {
    !remote.inbox.is_empty()
}

fn is_inside_job(core: &SystemCore, worker: usize) -> bool {
    let mut found = false;
    slots::for_each::<Fiber>(|fiber| {
        found |= fiber.state.get() == FiberState::Running
            && !fiber.job_word().is_null()
            && fiber.owner_is(core.index, worker);
    });
    found
}
