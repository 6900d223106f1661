//! What a system has counted.

use crate::system::core::SystemCore;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the workers of a system have counted since it was built; made by
/// [`JobSystem::stats`](crate::JobSystem::stats).
///
/// Each worker counts for itself, without synchronisation; the sums are of one moment each.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// How long the system has existed.
    pub elapsed: Duration,
    /// Jobs submitted.
    pub submitted: u64,
    /// Jobs ended: run, cancelled or abandoned. Halves of `join` and parts of loops are not counted.
    pub jobs: u64,
    /// Jobs, halves of `join` and parts of loops taken from another worker.
    pub steals: u64,
    /// Times a fiber suspended.
    pub suspensions: u64,
    /// Switches from a worker's root to a fiber.
    pub resumes: u64,
    /// Workers woken to search for work.
    pub wakes: u64,
    /// Times a worker went to sleep.
    pub parks: u64,
    /// Fibers that exist, idle ones included.
    pub fibers: u64,
    /// The most fibers that existed at once.
    pub fibers_max: u64,
    /// Blocks for jobs that the process has made, for all of its systems: those in use, and those kept for the next jobs. They
    /// are used again and never given back, so this is how many were needed at once, and a few per thread.
    pub job_blocks: u64,
    /// Bytes of all that the process keeps in the same way: blocks for jobs, counters, waiters, descriptors of fibers
    /// (without their stacks).
    pub pooled_bytes: u64,
    /// For each worker, how much of `elapsed` it had something to do. A search or sleep that has not ended counts as
    /// work until it has.
    pub busy: Vec<Duration>,
    /// Whether pushing a job is ordered by `membarrier(2)` on the sleeper's side rather than by a fence.
    pub asymmetric_fences: bool,
}

impl Stats {
    pub(crate) fn of(core: &SystemCore) -> Self {
        let elapsed = core.started_at.elapsed();
        let sum = |of: fn(&crate::sched::worker::Tally) -> &AtomicU64| -> u64 {
            core.remotes.iter().map(|remote| of(&remote.tally).load(Ordering::Relaxed)).sum()
        };
        let (fibers, fibers_max) = core.fiber_counts();
        Self {
            elapsed,
            jobs: core.finished(),
            submitted: core.submitted(),
            steals: sum(|t| &t.steals),
            suspensions: sum(|t| &t.suspensions),
            resumes: sum(|t| &t.resumes),
            wakes: sum(|t| &t.wakes),
            parks: sum(|t| &t.parks),
            fibers: fibers as u64,
            fibers_max: fibers_max as u64,
            job_blocks: crate::job::storage::made_count(),
            pooled_bytes: crate::memory::slots::made(|_| true).bytes,
            busy: core
                .remotes
                .iter()
                .map(|remote| {
                    let idle = Duration::from_nanos(remote.tally.idle_ns.load(Ordering::Relaxed));
                    elapsed.saturating_sub(idle)
                })
                .collect(),
            asymmetric_fences: crate::primitives::asymmetric_fences_available(),
        }
    }
}
