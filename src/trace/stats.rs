//! What a system has counted.

use crate::fiber::WaitKind;
use crate::sched::background;
use crate::sched::worker::Remote;
use crate::sys::StackGuards;
use crate::system::core::SystemCore;
use crate::topology::{CpuId, StealKind};
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
    /// The same by how far away that worker was, if both are pinned.
    pub steals_by_distance: StealsByDistance,
    /// Times a fiber suspended.
    pub suspensions: u64,
    /// The same by what for.
    pub suspensions_by_reason: SuspensionsByReason,
    /// Switches from a worker's root to a fiber.
    pub resumes: u64,
    /// Workers woken to search for work.
    pub wakes: u64,
    /// Times a worker went to sleep.
    pub parks: u64,
    /// Jobs submitted that no worker has begun: queued, pinned to a worker that is busy, or held until a counter reaches zero. Some may
    /// be among them that were run in place or cancelled, and whose entries in queues were not come upon yet.
    pub unstarted: u64,
    /// For each worker, how much its queues hold that another could take: jobs, halves of `join` and parts of loops. The workers of Background jobs
    /// come last. Some may be there whose work is done already, and that are dropped when they are come upon.
    pub queue_depths: Vec<usize>,
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
    /// Bytes of all [frame arenas](crate::FrameArenas) of the process, in use or kept for the next frames.
    pub frame_bytes: u64,
    /// For each worker, how much of `elapsed` it had something to do. Those for Background jobs are in `background`.
    pub busy: Vec<Duration>,
    /// The workers for [Background](crate::Priority::Background) jobs.
    pub background: BackgroundStats,
    /// The stacks of the process, for each size: those of this system's fibers and of its jobs with a large stack, and of
    /// other systems. Looking how deep they were used costs some nanoseconds for each page of their address space, so a program
    /// with a million fibers does not ask for its statistics in every frame.
    pub stacks: Vec<StackStats>,
    /// What keeps a stack that overflows from harming another.
    pub stack_guards: StackGuards,
    /// Whether pushing a job is ordered by `membarrier(2)` on the sleeper's side rather than by a fence.
    pub asymmetric_fences: bool,
}

/// What is known of the workers that [`Builder::background_threads`](crate::Builder::background_threads) asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackgroundStats {
    /// How many there are.
    pub threads: usize,
    /// Why there are none, if some were asked for; Background jobs are [Low](crate::Priority::Low) ones then.
    pub fallback: Option<BackgroundFallback>,
    /// The CPU of each, if it is pinned.
    pub cpus: Vec<Option<CpuId>>,
    /// Jobs that they have ended; part of [`Stats::jobs`].
    pub jobs: u64,
    /// For each, how much of the time it had something to do, whether its CPU had time for it or not.
    pub busy: Vec<Duration>,
}

/// Why a system has no workers for Background jobs although they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackgroundFallback {
    /// ramie knows no threads that run only on idle CPUs on this operating system.
    Unsupported,
    /// The operating system refused to make a thread one of them, or refused the thread.
    Refused(std::io::ErrorKind),
    /// The process has a quota of CPU time, which they would use up for the others.
    Quota,
    /// The system is [deterministic](crate::Builder::deterministic).
    Deterministic,
}

impl std::fmt::Display for BackgroundFallback {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unsupported => f.write_str("this operating system has no threads for Background jobs"),
            Self::Refused(kind) => {
                write!(f, "the operating system refused a thread for Background jobs: {kind}")
            }
            Self::Quota => f.write_str("threads for Background jobs would use up the quota of CPU time"),
            Self::Deterministic => f.write_str("a deterministic system has one thread"),
        }
    }
}

impl BackgroundStats {
    fn of(core: &SystemCore, all_busy: &[Duration]) -> Self {
        Self {
            threads: core.remotes.len() - core.workers(),
            fallback: core.config.background_fallback,
            cpus: core.config.background_placement.clone(),
            jobs: background::jobs_ended(core),
            busy: all_busy[core.workers()..].to_vec(),
        }
    }
}

/// How far jobs were stolen; see [`Distance`](crate::Distance).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct StealsByDistance {
    /// From an SMT sibling, or a worker on the same CPU.
    pub core: u64,
    /// From a worker with the same last-level cache.
    pub cache: u64,
    /// From the same NUMA node.
    pub node: u64,
    /// From another node.
    pub far: u64,
    /// Where one of the two workers is not pinned.
    pub unknown: u64,
}

/// What for fibers suspended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SuspensionsByReason {
    /// Until a counter reached a value.
    pub counters: u64,
    /// Until jobs ended: those of a scope or a batch, that of a handle, the other half of a `join`, stolen parts of a loop.
    pub jobs: u64,
    /// For a mutex, a reader-writer lock, a semaphore, or something that another job did once.
    pub locks: u64,
    /// For an event, a condition variable, a barrier or a latch.
    pub events: u64,
    /// To send to or receive from a channel.
    pub channels: u64,
    /// For a future to be woken.
    pub futures: u64,
    /// For a time to come.
    pub sleeps: u64,
    /// For a [blocking](crate::blocking) call on a helper thread.
    pub blocking: u64,
    /// For a cancellation.
    pub cancellations: u64,
    /// For its next turn: it yielded.
    pub yields: u64,
    /// To let more urgent work go first.
    pub gave_way: u64,
}

impl SuspensionsByReason {
    fn of(count_of: impl Fn(WaitKind) -> u64) -> Self {
        let mut counts = Self::default();
        for kind in WaitKind::ALL {
            let count = match kind {
                WaitKind::Nothing => continue,
                WaitKind::Counter | WaitKind::CounterTarget => &mut counts.counters,
                WaitKind::Scope | WaitKind::Join | WaitKind::Handle | WaitKind::Batch => &mut counts.jobs,
                WaitKind::Mutex | WaitKind::Read | WaitKind::Write | WaitKind::Semaphore | WaitKind::Once => {
                    &mut counts.locks
                }
                WaitKind::Event | WaitKind::Condvar | WaitKind::Barrier | WaitKind::Latch => {
                    &mut counts.events
                }
                WaitKind::Send | WaitKind::Receive => &mut counts.channels,
                WaitKind::Future => &mut counts.futures,
                WaitKind::Sleep => &mut counts.sleeps,
                WaitKind::Blocking => &mut counts.blocking,
                WaitKind::Cancellation => &mut counts.cancellations,
                WaitKind::Yield => &mut counts.yields,
                WaitKind::GaveWay => &mut counts.gave_way,
            };
            *count += count_of(kind);
        }
        counts
    }

    /// Each with its name in words, for tables.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + use<> {
        [
            ("counters", self.counters),
            ("jobs", self.jobs),
            ("locks", self.locks),
            ("events", self.events),
            ("channels", self.channels),
            ("futures", self.futures),
            ("sleeps", self.sleeps),
            ("blocking", self.blocking),
            ("cancellations", self.cancellations),
            ("yields", self.yields),
            ("gave way", self.gave_way),
        ]
        .into_iter()
    }
}

/// What is known of all stacks of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StackStats {
    /// Their size in bytes: [`Builder::stack_size`](crate::Builder::stack_size) or
    /// [`large_stack_size`](crate::Builder::large_stack_size), rounded up to whole pages.
    pub stack_bytes: usize,
    /// How many of them exist, in use or not. Never falls: their address space is kept for the next peak, and their memory is
    /// not.
    pub count: usize,
    /// The most bytes that any of them was used for, to within two pages. Pages that the operating system has swapped out are
    /// not seen.
    pub used_bytes_max: usize,
}

impl StackStats {
    #[cfg(unix)]
    pub(crate) fn of_all() -> Vec<Self> {
        let usages = crate::memory::stacks::usages();
        let stats = usages.into_iter().map(|usage| Self {
            stack_bytes: usage.stack_bytes,
            count: usage.made_count,
            used_bytes_max: usage.high_water_bytes,
        });
        stats.collect()
    }

    /// Elsewhere stacks are not ours, and nothing is known of them.
    #[cfg(not(unix))]
    pub(crate) fn of_all() -> Vec<Self> {
        Vec::new()
    }

    #[cfg(unix)]
    fn guards() -> StackGuards {
        crate::sys::unix::stack_guards()
    }

    #[cfg(not(unix))]
    fn guards() -> StackGuards {
        StackGuards::ProtectedPages
    }
}

impl std::fmt::Display for StackStats {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} stacks of {} KiB, of which at most {} KiB were used",
            self.count,
            self.stack_bytes / 1024,
            self.used_bytes_max / 1024
        )
    }
}

impl Stats {
    pub(crate) fn of(core: &SystemCore) -> Self {
        let elapsed = core.started_at.elapsed();
        let sum = |of: fn(&crate::sched::worker::Tally) -> &AtomicU64| -> u64 {
            core.remotes.iter().map(|remote| of(&remote.tally).load(Ordering::Relaxed)).sum()
        };
        let steals = |kind: StealKind| -> u64 {
            core.remotes.iter().map(|remote| remote.tally.steals[kind as usize].load(Ordering::Relaxed)).sum()
        };
        let suspensions = |kind: WaitKind| -> u64 {
            let of_worker = |remote: &Remote| remote.tally.suspensions[kind as usize].load(Ordering::Relaxed);
            core.remotes.iter().map(|remote| of_worker(remote)).sum()
        };
        let suspensions_by_reason = SuspensionsByReason::of(suspensions);
        let (fibers, fibers_max) = core.fiber_counts();
        let busy: Vec<Duration> = core.busy_times().collect();
        Self {
            elapsed,
            jobs: core.finished(),
            submitted: core.submitted(),
            steals: StealKind::ALL.iter().map(|kind| steals(*kind)).sum(),
            steals_by_distance: StealsByDistance {
                core: steals(StealKind::Core),
                cache: steals(StealKind::Cache),
                node: steals(StealKind::Node),
                far: steals(StealKind::Far),
                unknown: steals(StealKind::Unknown),
            },
            suspensions: suspensions_by_reason.iter().map(|(_, count)| count).sum(),
            suspensions_by_reason,
            unstarted: core.unstarted(),
            queue_depths: core.remotes.iter().map(|remote| remote.queued_count()).collect(),
            resumes: sum(|t| &t.resumes),
            wakes: sum(|t| &t.wakes),
            parks: sum(|t| &t.parks),
            fibers: fibers as u64,
            fibers_max: fibers_max as u64,
            job_blocks: crate::job::storage::made_count(),
            frame_bytes: crate::frame::kept_bytes() as u64,
            pooled_bytes: crate::memory::slots::made(|_| true).bytes,
            background: BackgroundStats::of(core, &busy),
            busy: busy[..core.workers()].to_vec(),
            stacks: StackStats::of_all(),
            stack_guards: StackStats::guards(),
            asymmetric_fences: crate::primitives::asymmetric_fences_available(),
        }
    }
}
