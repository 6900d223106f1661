//! `WorkerLocal`: one value per worker, for the jobs that run there.

#![expect(unsafe_code, reason = "shares values that are not Sync, each within one thread")]

use crate::JobSystem;
use crate::sched::current;
use crossbeam_utils::CachePadded;
use std::fmt;

/// One value of `T` for each worker of one system, [Background workers](crate::Builder::background_threads) included: a place for what jobs would otherwise share behind a lock or an atomic.
///
/// [`with`](Self::with) gives a job the value of the worker that it runs on. `T` need not be `Sync`, because all jobs that see
/// a value run on one thread; it is `Send`, because the values are made, and dropped, by other threads. Each value has
/// cache lines of its own. The values live as long as the `WorkerLocal`, also when the system has ended.
///
/// Jobs of one worker take turns where they wait: while one waits inside of `with`, others may use the same
/// value. So what is read before a wait may have changed after it, and a `RefCell` that stays borrowed across a wait makes
/// the borrows of the others panic.
///
/// # Examples
///
/// ```
/// use ramie::{JobSystem, WorkerLocal};
/// use std::cell::Cell;
///
/// let system = JobSystem::new()?;
/// let sums = WorkerLocal::new(&system, |_worker| Cell::new(0_u64));
/// system.par(1..=1000_u64).for_each(|n| sums.with(|sum| sum.set(sum.get() + n)));
/// assert_eq!(sums.into_iter().map(Cell::into_inner).sum::<u64>(), 500_500);
/// # Ok::<(), ramie::BuildError>(())
/// ```
///
/// The values must be `Send`:
///
/// ```compile_fail,E0277
/// # use ramie::{JobSystem, WorkerLocal};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// let local = WorkerLocal::new(&system, |worker| std::rc::Rc::new(worker));
/// ```
///
/// The same with an `Arc` compiles:
///
/// ```
/// # use ramie::{JobSystem, WorkerLocal};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// let local = WorkerLocal::new(&system, |worker| std::sync::Arc::new(worker));
/// ```
///
/// A value that is not `Sync` cannot leave its worker, neither as a reference that outlives the call:
///
/// ```compile_fail,E0521
/// # use ramie::{JobSystem, WorkerLocal};
/// # use std::cell::Cell;
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let local = WorkerLocal::new(&system, |_| Cell::new(1));
/// system.run(|| {
///     let mut seen: Option<&Cell<i32>> = None;
///     local.with(|cell| seen = Some(cell));
/// });
/// ```
///
/// nor inside of a job that another worker may take:
///
/// ```compile_fail,E0277
/// # use ramie::{JobSystem, WorkerLocal};
/// # use std::cell::Cell;
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let local = WorkerLocal::new(&system, |_| Cell::new(1));
/// system.run(|| local.with(|cell| ramie::join(|| cell.set(2), || ())));
/// ```
///
/// What compiles is to use it in place, and to let other jobs ask for theirs:
///
/// ```
/// # use ramie::{JobSystem, WorkerLocal};
/// # use std::cell::Cell;
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let local = WorkerLocal::new(&system, |_| Cell::new(1));
/// system.run(|| {
///     let mut seen: Option<i32> = None;
///     local.with(|cell| seen = Some(cell.get()));
///     ramie::join(|| local.with(|cell| cell.set(2)), || ());
/// });
/// ```
///
/// # Fibers that migrate
///
/// All of this rests on fibers that stay on their worker, as they do unless the system was built with the `unsafe`
/// [`migrating_fibers`](crate::Builder::migrating_fibers). There a job that waits inside of [`with`](Self::with) may go on
/// elsewhere with the value of the worker that it left. Whoever opts in answers for that: no reference to a `T`
/// that is not `Sync` may be held across a wait.
pub struct WorkerLocal<T> {
    /// The index of the system: unlike the address of anything, no other system ever has it.
    system: u32,
    values: Box<[CachePadded<T>]>,
}

// SAFETY: what threads that share a `WorkerLocal<T>` can do with it, for T: Send.
// 1. Get a `&T` without T: Sync: only by `value_here`, whose callers pass it to a closure that cannot keep it or, as
//    `&T` is not Send then, send it on. It is the value of the worker that runs the calling fiber. All fibers of a worker are
//    run by one thread, which for worker 0 may be the main thread, in one visit or in several; no two systems have
//    the same index, and no two workers of a system: so all these `&T` of one value are on one thread. That several
//    fibers of this thread hold one at a time is as in nested calls. Where fibers migrate, who opted in has promised
//    that none holds one across a wait, and so across a change of threads.
// 2. Get a `&T` of any worker's value: only by methods that require T: Sync.
// 3. Make, drop, move out or get a `&mut T`: only as the sole owner or by `&mut self`, after all borrows above have ended;
//    T: Send allows for another thread.
// 4. `Debug` reads no value.
unsafe impl<T: Send> Sync for WorkerLocal<T> {}

impl<T: Send> WorkerLocal<T> {
    /// Makes a value for each worker of `system`, here and now; `init` gets the worker's index.
    ///
    /// # Panics
    ///
    /// With the panic of `init`, after the values that it has made were dropped.
    pub fn new(system: &JobSystem, init: impl FnMut(usize) -> T) -> Self {
        let values = (0..system.core().remotes.len()).map(init).map(CachePadded::new).collect();
        Self { system: system.core().index, values }
    }

    /// Calls `f` with the value of the worker that the calling job runs on.
    ///
    /// # Panics
    ///
    /// Outside of the jobs of the system that the `WorkerLocal` was made for: on other threads, in jobs of another system,
    /// and in the builder's callbacks. Also with the panic of `f`, which leaves the value as it is.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{JobSystem, WorkerLocal};
    /// let system = JobSystem::builder().workers(2).build()?;
    /// let names = WorkerLocal::new(&system, |worker| format!("scratch {worker}"));
    /// assert_eq!(system.broadcast(|| names.with(String::clone)), ["scratch 0", "scratch 1"]);
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    #[inline]
    #[track_caller]
    pub fn with<R>(&self, f: impl FnOnce(&T) -> R) -> R {
        match self.value_here() {
            Some(value) => f(value),
            None => self.refuse(),
        }
    }

    /// As [`with`](Self::with); `None`, without a call of `f`, where that would panic because there is no value.
    ///
    /// # Panics
    ///
    /// With the panic of `f`.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{JobSystem, WorkerLocal};
    /// let system = JobSystem::builder().workers(2).build()?;
    /// let local = WorkerLocal::new(&system, |worker| worker);
    /// assert!(system.run(|| local.try_with(|worker| *worker)).is_some());
    /// assert_eq!(local.try_with(|worker| *worker), None);
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    #[inline]
    pub fn try_with<R>(&self, f: impl FnOnce(&T) -> R) -> Option<R> {
        self.value_here().map(f)
    }

    /// The value of a worker, from anywhere; `None` if the system has no worker of this index.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{JobSystem, WorkerLocal};
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    ///
    /// let system = JobSystem::builder().workers(2).build()?;
    /// let jobs = WorkerLocal::new(&system, |_| AtomicUsize::new(0));
    /// system.broadcast(|| jobs.with(|count| count.fetch_add(1, Ordering::Relaxed)));
    /// assert_eq!(jobs.get(1).map(|count| count.load(Ordering::Relaxed)), Some(1));
    /// assert!(jobs.get(2).is_none());
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    ///
    /// While jobs may use the value, other threads need a `T` that is `Sync`:
    ///
    /// ```compile_fail,E0277
    /// # use ramie::{JobSystem, WorkerLocal};
    /// # let system = JobSystem::builder().workers(2).build().unwrap();
    /// let jobs = WorkerLocal::new(&system, |_| std::cell::Cell::new(0));
    /// jobs.get(1);
    /// ```
    pub fn get(&self, worker: usize) -> Option<&T>
    where
        T: Sync,
    {
        self.values.get(worker).map(|value| &**value)
    }

    /// All values, in the workers' order, from anywhere.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T>
    where
        T: Sync,
    {
        self.values.iter().map(|value| &**value)
    }

    /// All values, in the workers' order.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{JobSystem, WorkerLocal};
    /// use std::cell::RefCell;
    ///
    /// let system = JobSystem::new()?;
    /// let mut found = WorkerLocal::new(&system, |_| RefCell::new(Vec::new()));
    /// for frame in 0..2 {
    ///     system.par(0..10).for_each(|n| found.with(|list| list.borrow_mut().push(n)));
    ///     assert_eq!(found.iter_mut().map(|list| list.get_mut().drain(..).count()).sum::<usize>(), 10);
    /// }
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    pub fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = &mut T> {
        self.values.iter_mut().map(|value| &mut **value)
    }

    /// The values themselves, in the workers' order.
    pub fn into_values(self) -> Vec<T> {
        self.values.into_iter().map(CachePadded::into_inner).collect()
    }

    /// The value of the worker that runs the calling fiber, if that belongs to the system.
    #[inline]
    fn value_here(&self) -> Option<&T> {
        let worker = current::worker().filter(|worker| worker.in_fiber())?;
        let ours = worker.system().index == self.system;
        self.values.get(worker.index()).filter(|_| ours).map(|value| &**value)
    }

    #[cold]
    #[track_caller]
    fn refuse(&self) -> ! {
        let job = current::worker().filter(|worker| worker.in_fiber());
        let place = if job.is_some() { "in a job of another system" } else { "outside of jobs" };
        panic!(
            "ramie: `WorkerLocal::with` {place}: call it in a job of the system that the `WorkerLocal` was made for, \
             for example inside `JobSystem::run`, or use `try_with`, `iter_mut` or `into_values`"
        )
    }
}

impl<T: Send> IntoIterator for WorkerLocal<T> {
    type Item = T;
    type IntoIter = std::vec::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_values().into_iter()
    }
}

impl<T> fmt::Debug for WorkerLocal<T> {
    /// Tells of no value: another thread may be changing it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkerLocal")
            .field("system", &self.system)
            .field("workers", &self.values.len())
            .finish_non_exhaustive()
    }
}
