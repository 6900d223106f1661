//! What tests of priorities share: jobs that keep workers busy, and jobs that keep a worker's thread.

use super::spin_until;
use ramie::{Counter, CounterGuard, FiberActivity, JobError, JobHandle, JobSystem, Priority};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

pub(crate) const ALL: [Priority; 3] = [Priority::High, Priority::Normal, Priority::Low];

pub(crate) fn flag() -> (Arc<AtomicBool>, Arc<AtomicBool>) {
    let flag = Arc::new(AtomicBool::new(false));
    (Arc::clone(&flag), flag)
}

pub(crate) fn count() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    (Arc::clone(&count), count)
}

/// The priority of the calling job.
#[track_caller]
pub(crate) fn mine() -> Priority {
    ramie::current_priority().expect("inside a job")
}

/// Keeps the workers busy: each job starts the next, until this is dropped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    started: Arc<AtomicUsize>,
    ended: Counter,
}

impl Load {
    /// So many chains of jobs that any worker may take.
    pub(crate) fn new(system: &JobSystem, priority: Priority, chains: usize) -> Self {
        Self::start(system, priority, chains, None)
    }

    /// A chain of jobs that only this worker may run.
    pub(crate) fn on_worker(system: &JobSystem, priority: Priority, worker: usize) -> Self {
        Self::start(system, priority, 1, Some(worker))
    }

    /// Returns when every chain has begun.
    fn start(system: &JobSystem, priority: Priority, chains: usize, worker: Option<usize>) -> Self {
        let load = Self { stop: Arc::default(), started: Arc::default(), ended: Counter::new(0) };
        let begun = Counter::new(chains);
        for _ in 0..chains {
            let link = Link {
                system: system.clone(),
                worker,
                stop: Arc::clone(&load.stop),
                started: Arc::clone(&load.started),
                guard: load.ended.guard(),
            };
            let begun = begun.clone();
            let job = system.job().priority(priority);
            let job = if let Some(worker) = worker { job.on_worker(worker) } else { job };
            job.detach(move || {
                begun.signal();
                link.run();
            });
        }
        begun.wait();
        load
    }

    /// How many jobs of it were started.
    pub(crate) fn started(&self) -> usize {
        self.started.load(SeqCst)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, SeqCst);
        self.ended.wait();
    }
}

/// One job of a load; it starts the next one.
struct Link {
    system: JobSystem,
    worker: Option<usize>,
    stop: Arc<AtomicBool>,
    started: Arc<AtomicUsize>,
    /// Handed on from job to job, so that the end of the chain can be waited for.
    guard: CounterGuard,
}

impl Link {
    fn run(self) {
        self.started.fetch_add(1, SeqCst);
        if self.stop.load(SeqCst) {
            drop(self.guard);
            return;
        }
        let system = self.system.clone();
        let next = system.job();
        let next = if let Some(worker) = self.worker { next.on_worker(worker) } else { next };
        next.detach(|| self.run());
    }
}

/// A job that keeps its worker's thread until it is let go, passing no split.
pub(crate) struct Held {
    pub(crate) go: Arc<AtomicBool>,
    handle: Option<JobHandle<()>>,
}

impl Held {
    pub(crate) fn new(system: &JobSystem, worker: usize) -> Self {
        Self::then(system, worker, || ())
    }

    /// When it is let go, the job does this.
    pub(crate) fn then(system: &JobSystem, worker: usize, f: impl FnOnce() + Send + 'static) -> Self {
        let (go, theirs) = flag();
        let (begun, ready) = flag();
        let handle = system.job().name("held").on_worker(worker).spawn(move || {
            ready.store(true, SeqCst);
            spin_until(|| theirs.load(SeqCst));
            f();
        });
        spin_until(|| begun.load(SeqCst));
        Self { go, handle: Some(handle) }
    }

    /// Lets the worker go on; returns when the job has ended.
    pub(crate) fn release(mut self) {
        self.go.store(true, SeqCst);
        if let Some(handle) = self.handle.take() {
            handle.join().expect("it ends");
        }
    }

    /// As `release`, in a system that was abandoned meanwhile.
    pub(crate) fn release_abandoned(mut self) {
        self.go.store(true, SeqCst);
        let handle = self.handle.take().expect("not released yet");
        assert!(matches!(handle.join(), Err(JobError::Abandoned)));
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.go.store(true, SeqCst);
    }
}

/// Returns when the job of this name waits for something that is described so.
pub(crate) fn until_waiting(system: &JobSystem, name: &str, waits_for: &str) {
    spin_until(|| {
        system.dump().fibers.iter().any(|fiber| {
            fiber.job_name == Some(name)
                && fiber.activity == FiberActivity::Waiting
                && fiber.waits_for.contains(waits_for)
        })
    });
}

/// A Low job of a few kinds, which waits and is woken.
pub(crate) fn low_work(kind: usize) {
    match kind % 4 {
        0 => ramie::yield_now(),
        1 => {
            let done = Counter::new(1);
            let theirs = done.clone();
            drop(ramie::spawn(move || theirs.signal()));
            done.wait();
        }
        2 => assert_eq!(ramie::join(|| 1, || 2), (1, 2)),
        _ => {
            ramie::scope(|s| (0..3).for_each(|_| drop(s.spawn(|| ()))));
        }
    }
}
