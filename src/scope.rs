//! Scopes: jobs that borrow from the stack of the one who waits for them.
//!
//! There is no guard object whose leak would end a borrow early: the scope is a function, and it returns, or
//! resumes a panic, only after the group's count says that all members have ended.

#![expect(unsafe_code, reason = "erases the lifetime of closures that the scope waits for")]

use crate::counter::group::Group;
use crate::error::NoUnwind;
use crate::fiber::WaitKind;
use crate::job::{self, JobError, JobSpec, RawHandle};
use crate::sched::current;
use crate::sync::CancelToken;
use crate::system::core::SystemCore;
use crate::trace::site::SiteRef;
use crate::{Counter, JobSystem, Priority};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind};

/// Where jobs that borrow are spawned; made by [`scope`].
pub struct Scope<'scope, 'env: 'scope> {
    core: *const SystemCore,
    group: Group,
    /// What drops members that were not started.
    token: Option<CancelToken>,
    /// Invariance over both lifetimes, as in `std::thread::Scope`: neither may be shortened, or a
    /// closure could borrow from inside the scope's own closure.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

// SAFETY: the core and the group are shared by design; the markers own nothing.
unsafe impl Sync for Scope<'_, '_> {}
// SAFETY: as above.
unsafe impl Send for Scope<'_, '_> {}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Spawns a job that may borrow whatever outlives the scope.
    ///
    /// Dropping the handle detaches the job, for which the scope still waits.
    #[inline]
    #[track_caller]
    pub fn spawn<F, T>(&'scope self, f: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        if self.token.is_some() {
            return self.spawn_with_token(Location::caller(), f);
        }
        // SAFETY: the closure is a member of the group, for which the scope waits before 'scope ends.
        let handle = unsafe { job::spawn_plain(self.core(), Location::caller(), &raw const self.group, f) };
        ScopedHandle { raw: handle, marker: PhantomData }
    }

    /// As [`spawn`](Self::spawn), without a handle: the cheapest way to spawn a job, since nothing has to be said about its
    /// end but to the scope. A panic of it is resumed by the scope.
    #[inline]
    #[track_caller]
    pub fn detach<F>(&'scope self, f: F)
    where
        F: FnOnce() + Send + 'scope,
    {
        if self.token.is_some() {
            return self.detach_with_token(Location::caller(), f);
        }
        // SAFETY: as in `spawn`.
        unsafe { job::detach_plain(self.core(), Location::caller(), &raw const self.group, f) };
    }

    #[cold]
    #[inline(never)]
    fn spawn_with_token<F, T>(&'scope self, site: &'static Location<'static>, f: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: as in `spawn`.
        ScopedHandle { raw: unsafe { self.job_from(site).spec.spawn_special(f) }, marker: PhantomData }
    }

    #[cold]
    #[inline(never)]
    fn detach_with_token<F>(&'scope self, site: &'static Location<'static>, f: F)
    where
        F: FnOnce() + Send + 'scope,
    {
        // SAFETY: as in `spawn`.
        unsafe { self.job_from(site).spec.detach_special(f) };
    }

    /// Sets up a job: a name, counters.
    #[track_caller]
    pub fn job(&'scope self) -> ScopedJobBuilder<'scope> {
        self.job_from(Location::caller())
    }

    /// As [`job`](Self::job), in the name of another place.
    pub(crate) fn job_from(&'scope self, site: &'static Location<'static>) -> ScopedJobBuilder<'scope> {
        let mut spec = JobSpec::new(self.core(), site).member_of(&self.group);
        if let Some(token) = &self.token {
            spec.set_token(token);
        }
        ScopedJobBuilder { spec, marker: PhantomData }
    }

    #[inline]
    fn core(&'scope self) -> &'scope SystemCore {
        // SAFETY: `scope_in` keeps the system for as long as the scope lives.
        unsafe { &*self.core }
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").finish_non_exhaustive()
    }
}

/// The way to the result of a job in a scope.
///
/// When it is dropped instead of joined, a panic of its job is resumed by the scope.
pub struct ScopedHandle<'scope, T> {
    raw: RawHandle<T>,
    marker: PhantomData<&'scope mut &'scope ()>,
}

impl<T> ScopedHandle<'_, T> {
    /// Waits for the job and gives its result.
    ///
    /// # Errors
    ///
    /// [`JobError`] if the job panicked (the scope does not resume that panic then), was
    /// [cancelled](Self::cancel), or was abandoned by a shutdown.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless the result is there, or the job has not been started and can run in place.
    #[track_caller]
    pub fn join(self) -> Result<T, JobError> {
        self.raw.join(Location::caller())
    }

    /// Whether [`join`](Self::join) would return at once.
    pub fn is_finished(&self) -> bool {
        self.raw.is_finished()
    }

    /// Drops the job if it has not been started; whether that was so.
    pub fn cancel(&self) -> bool {
        self.raw.cancel()
    }
}

impl<T> std::panic::UnwindSafe for ScopedHandle<'_, T> {}
impl<T> std::panic::RefUnwindSafe for ScopedHandle<'_, T> {}

impl<T> fmt::Debug for ScopedHandle<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedHandle").field("finished", &self.is_finished()).finish()
    }
}

/// A job of a scope that is being set up; made by [`Scope::job`].
#[must_use = "a job is spawned by `spawn` or `detach`"]
pub struct ScopedJobBuilder<'scope> {
    spec: JobSpec<'scope>,
    marker: PhantomData<&'scope mut &'scope ()>,
}

impl<'scope> ScopedJobBuilder<'scope> {
    /// Names the job in dumps, traces and messages.
    pub fn name(mut self, name: &'static str) -> Self {
        self.spec.set_name(name);
        self
    }

    /// The job's priority. By default that of the job that spawns it, and outside of jobs
    /// [`Priority::Normal`].
    pub fn priority(mut self, priority: Priority) -> Self {
        self.spec.set_priority(priority);
        self
    }

    /// Lets only this worker of the system run the job: 0 to [`workers()`](JobSystem::workers) - 1.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    #[track_caller]
    pub fn on_worker(mut self, worker: usize) -> Self {
        self.spec.pin_to(worker);
        self
    }

    /// Calls the job's closure on a large stack; see [`JobBuilder::large_stack`](crate::JobBuilder::large_stack).
    pub fn large_stack(mut self) -> Self {
        self.spec.set_large_stack();
        self
    }

    /// Adds 1 to the counter when the job is spawned, and signals it however the job ends. May be repeated.
    #[track_caller]
    pub fn counter(mut self, counter: &Counter) -> Self {
        self.spec.add_counter(counter);
        self
    }

    /// Holds the job back until the counter is zero; repeated, until all have been zero.
    pub fn after(mut self, counter: &Counter) -> Self {
        self.spec.add_after(counter);
        self
    }

    /// Drops the job if the token is cancelled before it is started; see [`JobBuilder::cancel_token`](crate::JobBuilder::cancel_token).
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.spec.set_token(token);
        self
    }

    /// Spawns the job.
    #[track_caller]
    pub fn spawn<F, T>(self, f: F) -> ScopedHandle<'scope, T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        // SAFETY: as in `Scope::spawn`.
        ScopedHandle { raw: unsafe { self.spec.spawn(f) }, marker: PhantomData }
    }

    /// Spawns the job without a handle; a panic of it is resumed by the scope.
    #[track_caller]
    pub fn detach<F>(self, f: F)
    where
        F: FnOnce() + Send + 'scope,
    {
        // SAFETY: as in `Scope::spawn`.
        unsafe { self.spec.detach(f) };
    }
}

impl fmt::Debug for ScopedJobBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopedJobBuilder").finish_non_exhaustive()
    }
}

/// Calls `f` in place with a scope for jobs that may borrow, and returns when all of them have ended.
///
/// Inside a job the members run on its system, elsewhere on the [global one](JobSystem::global).
///
/// # Panics
///
/// With the payload of `f` if that panics, else with the first panic of a member that no handle took; in either
/// case after all members have ended. Also if a shutdown abandoned a member, and if the
/// system has been shut down.
///
/// # Suspends
///
/// Inside a job, unless all members have ended; and at the beginning, if more urgent work waits for this worker.
///
/// # Examples
///
/// ```
/// let mut numbers = [1, 2, 3, 4];
/// let (left, right) = numbers.split_at_mut(2);
/// ramie::scope(|s| {
///     s.spawn(|| left.iter_mut().for_each(|n| *n *= 10));
///     s.spawn(|| right.iter_mut().for_each(|n| *n *= 10));
/// });
/// assert_eq!(numbers, [10, 20, 30, 40]);
/// ```
///
/// A member cannot borrow what the scope's closure owns:
///
/// ```compile_fail,E0373
/// ramie::scope(|s| {
///     let local = [1, 2, 3];
///     s.spawn(|| println!("{local:?}"));
/// });
/// ```
///
/// The same with `local` outside compiles, in the example above. And no handle outlives its scope:
///
/// ```compile_fail
/// let handle = ramie::scope(|s| s.spawn(|| 1));
/// ```
///
/// whereas its result may:
///
/// ```
/// let one = ramie::scope(|s| s.spawn(|| 1).join().unwrap());
/// assert_eq!(one, 1);
/// ```
#[track_caller]
pub fn scope<'env, F, R>(f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let site = Location::caller();
    match current::worker() {
        Some(worker) => scope_in(worker.system(), site, f),
        None => scope_in(JobSystem::global().core(), site, f),
    }
}

/// A scope of the current system whose members have this token.
pub(crate) fn scope_with_token<'env, F, R>(token: CancelToken, site: &'static Location<'static>, f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    match current::worker() {
        Some(worker) => scope_of(worker.system(), site, Some(token), f),
        None => scope_of(JobSystem::global().core(), site, Some(token), f),
    }
}

/// A scope of this system, on whatever thread.
pub(crate) fn scope_in<'env, F, R>(core: &SystemCore, site: &'static Location<'static>, f: F) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    scope_of(core, site, None, f)
}

fn scope_of<'env, F, R>(
    core: &SystemCore,
    site: &'static Location<'static>,
    token: Option<CancelToken>,
    f: F,
) -> R
where
    F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
{
    let worker = current::worker();
    core.assert_accepts("scope", worker);
    if let Some(worker) = worker.filter(|worker| worker.in_fiber()) {
        worker.split_point(site);
    }
    let guard = NoUnwind("scope");
    let scope = Scope { core, group: Group::new(), token, scope: PhantomData, env: PhantomData };
    let result = catch_unwind(AssertUnwindSafe(|| f(&scope)));
    scope.group.wait(WaitKind::Scope, site);
    guard.passed();
    match result {
        Err(payload) => {
            // Only one panic can go on; the other one's payload may panic when it is dropped.
            if let Some(second) = scope.group.first_panic() {
                job::drop_guarded(second, core.index, SiteRef::unnamed(site));
            }
            resume_unwind(payload)
        }
        Ok(value) => {
            if let Some(payload) = scope.group.first_panic() {
                resume_unwind(payload);
            }
            assert!(
                !scope.group.was_abandoned(),
                "a job of this scope was abandoned by a shutdown of its system before it was started"
            );
            value
        }
    }
}
