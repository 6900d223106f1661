//! Submitting jobs: the one path by which every job in a block comes into being.

#![expect(unsafe_code, reason = "publishes type-erased jobs")]

use super::bare;
use super::body::{self, Extras, NewJob};
use super::handle::{JobHandle, RawHandle};
use super::header::{self, JobPtr, JobRef, job_tag};
use super::state::{Outcome, Owner, Popped};
use crate::Counter;
use crate::counter::group::Group;
use crate::counter::{AfterCounters, CounterCell, CounterList, Link, at_greatest_value};
use crate::memory::slots::Caches;
use crate::sched::current;
use crate::sched::priority::Priority;
use crate::sched::worker::Worker;
use crate::sync::CancelToken;
use crate::sync::cancel::JobLink;
use crate::system::core::SystemCore;
use crate::trace::site::SiteRef;
use std::cell::Cell;
use std::fmt;
use std::panic::Location;
use std::ptr;
use std::sync::atomic::AtomicU32;

/// A job that is being set up; made by [`JobSystem::job`](crate::JobSystem::job).
///
/// # Examples
///
/// ```
/// let system = ramie::JobSystem::builder().workers(2).build()?;
/// let loaded = ramie::Counter::new(0);
/// for name in ["mesh", "texture"] {
///     system.job().name("load").counter(&loaded).detach(move || assert!(!name.is_empty()));
/// }
/// let ready = system.job().name("link").after(&loaded).spawn(|| "all loaded");
/// assert_eq!(ready.join()?, "all loaded");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a job is spawned by `spawn` or `detach`"]
pub struct JobBuilder<'system> {
    spec: JobSpec<'system>,
}

impl<'system> JobBuilder<'system> {
    pub(crate) fn new(spec: JobSpec<'system>) -> Self {
        Self { spec }
    }

    /// Names the job in dumps, traces and messages. The first use of a name at a place allocates a few bytes
    /// for good.
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

    /// Lets only this worker of the system run the job, which is *pinned* then: 0 to
    /// [`workers()`](crate::JobSystem::workers) - 1. No job can be pinned to a Background worker; a job of priority Background that is
    /// pinned is a Low one.
    ///
    /// # Panics
    ///
    /// If there is no such worker.
    #[track_caller]
    pub fn on_worker(mut self, worker: usize) -> Self {
        self.spec.pin_to(worker);
        self
    }

    /// Calls the job's closure on a large stack, of [`large_stack_size`](crate::Builder::large_stack_size) bytes, rather than
    /// on one of [`stack_size`](crate::Builder::stack_size). For the few jobs that recurse deeply or call into code that needs
    /// a lot: a stack is taken from the worker's store for the duration of the job, and costs memory as far as it is used.
    ///
    /// Should the operating system have no stack for it, the job is not called, and ends as if it had panicked with
    /// `FiberLimit`.
    ///
    /// # Examples
    ///
    /// ```
    /// fn depth(n: u32) -> u32 {
    ///     let frame = std::hint::black_box([n; 250]);
    ///     if n == 0 { 0 } else { 1 + depth(n - 1) + frame[3] - n }
    /// }
    /// let system = ramie::JobSystem::builder().workers(1).large_stack_size(16 << 20).build()?;
    /// // About 5 MB of stack frames, where a job has 256 KiB otherwise.
    /// let job = system.job().large_stack().spawn(|| depth(5_000));
    /// assert_eq!(job.join().unwrap(), 5_000);
    /// # Ok::<(), ramie::BuildError>(())
    /// ```
    pub fn large_stack(mut self) -> Self {
        self.spec.set_large_stack();
        self
    }

    /// Adds 1 to the counter when the job is spawned, and signals it however the job ends: by
    /// returning, by a panic, cancelled or abandoned. May be repeated.
    pub fn counter(mut self, counter: &Counter) -> Self {
        self.spec.add_counter(counter);
        self
    }

    /// Holds the job back until the counter is zero; repeated, until each has been zero since it was spawned.
    pub fn after(mut self, counter: &Counter) -> Self {
        self.spec.add_after(counter);
        self
    }

    /// Drops the job if the token is cancelled before it is started: then its handle says [`JobError::Cancelled`](crate::JobError::Cancelled), and its
    /// counters are signalled. A job that runs has to look at the token by itself. If this is said twice, the last one counts.
    pub fn cancel_token(mut self, token: &CancelToken) -> Self {
        self.spec.set_token(token);
        self
    }

    /// Spawns the job.
    pub fn spawn<F, T>(self, f: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: the closure and its result are 'static and Send.
        JobHandle::new(unsafe { self.spec.spawn(f) })
    }

    /// Spawns the job without a handle. A panic of it goes to [`on_panic`](crate::Builder::on_panic).
    pub fn detach<F>(self, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        // SAFETY: as above.
        unsafe { self.spec.detach(f) };
    }
}

impl fmt::Debug for JobBuilder<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobBuilder").field("name", &self.spec.name).finish_non_exhaustive()
    }
}

/// All that can be said of a job before it has a closure.
pub(crate) struct JobSpec<'system> {
    core: &'system SystemCore,
    location: &'static Location<'static>,
    name: Option<&'static str>,
    group: *const Group,
    handle_owner: Owner,
    priority: Option<Priority>,
    pinned_to: Option<usize>,
    large_stack: bool,
    counters: CounterList,
    after: CounterList,
    token: Option<CancelToken>,
}

impl<'system> JobSpec<'system> {
    #[inline]
    pub(crate) fn new(core: &'system SystemCore, location: &'static Location<'static>) -> Self {
        Self {
            core,
            location,
            name: None,
            group: ptr::null(),
            handle_owner: Owner::Handle,
            priority: None,
            pinned_to: None,
            large_stack: false,
            counters: CounterList::default(),
            after: CounterList::default(),
            token: None,
        }
    }

    /// The job will be a member of `group`, which the caller keeps until its count is zero.
    #[inline]
    pub(crate) fn member_of(mut self, group: &Group) -> Self {
        self.group = group;
        self.borrowing()
    }

    /// The job borrows: its real end will be waited for, also if it is abandoned while it runs.
    pub(crate) fn borrowing(mut self) -> Self {
        self.handle_owner = Owner::BorrowingHandle;
        self
    }

    pub(crate) fn set_name(&mut self, name: &'static str) {
        self.name = Some(name);
    }

    pub(crate) fn set_priority(&mut self, priority: Priority) {
        self.priority = Some(self.core.served(priority));
    }

    pub(crate) fn set_token(&mut self, token: &CancelToken) {
        self.token = Some(token.clone());
    }

    pub(crate) fn set_large_stack(&mut self) {
        self.large_stack = true;
    }

    #[track_caller]
    pub(crate) fn pin_to(&mut self, worker: usize) {
        let count = self.core.config.workers;
        assert!(
            worker < count,
            "there is no worker {worker} to pin a job to: the job system has {count}, numbered from 0"
        );
        self.pinned_to = Some(worker);
    }

    pub(crate) fn add_counter(&mut self, counter: &Counter) {
        self.counters.push(counter.clone());
    }

    pub(crate) fn add_after(&mut self, counter: &Counter) {
        self.after.push(counter.clone());
    }

    /// # Safety
    ///
    /// As for [`spawn_plain`].
    pub(crate) unsafe fn spawn<F, T>(self, f: F) -> RawHandle<T>
    where
        F: FnOnce() -> T,
    {
        // SAFETY: promised by the caller; the job is created with a handle.
        unsafe {
            let owner = self.handle_owner;
            RawHandle::new(self.submit(owner, f))
        }
    }

    /// # Safety
    ///
    /// As for [`spawn_plain`].
    pub(crate) unsafe fn detach<F>(self, f: F)
    where
        F: FnOnce(),
    {
        // SAFETY: promised by the caller.
        unsafe { self.submit(Owner::Nobody, f) };
    }

    /// As [`spawn`](Self::spawn), for a job that is known not to be plain.
    ///
    /// PERF: has no copy of what spawns a plain job, which then stays in the function that spawns those; bench `instructions`.
    ///
    /// # Safety
    ///
    /// As for [`spawn_plain`].
    pub(crate) unsafe fn spawn_special<F, T>(self, f: F) -> RawHandle<T>
    where
        F: FnOnce() -> T,
    {
        // SAFETY: as in `spawn`.
        unsafe {
            let owner = self.handle_owner;
            RawHandle::new(self.submit_slow(owner, f))
        }
    }

    /// As [`detach`](Self::detach), likewise.
    ///
    /// # Safety
    ///
    /// As for [`spawn_plain`].
    pub(crate) unsafe fn detach_special<F>(self, f: F)
    where
        F: FnOnce(),
    {
        // SAFETY: promised by the caller.
        unsafe { self.submit_slow(Owner::Nobody, f) };
    }

    #[inline]
    unsafe fn submit<F, T>(mut self, owner: Owner, f: F) -> JobPtr
    where
        F: FnOnce() -> T,
    {
        if self.is_plain_but_for_counters() {
            let (core, location, group) = (self.core, self.location, self.group);
            if self.counters.is_empty() {
                // PERF: nothing in here has to be dropped; bench `instructions`.
                std::mem::forget(self);
                // SAFETY: promised by the caller of `spawn` or `detach`.
                return unsafe { submit_plain(core, location, group, owner, Uncounted, f) };
            }
            if let Some(counter) = self.counters.take_only() {
                // PERF: as above, now.
                std::mem::forget(self);
                // Before anything else is counted, because this may panic.
                if counter.cell().word().add(1).is_err() {
                    at_greatest_value();
                }
                // SAFETY: as above.
                return unsafe { submit_plain(core, location, group, owner, Counted(counter), f) };
            }
        }
        // SAFETY: as above.
        unsafe { self.submit_slow(owner, f) }
    }

    #[inline(never)]
    unsafe fn submit_slow<F, T>(self, owner: Owner, f: F) -> JobPtr
    where
        F: FnOnce() -> T,
    {
        // Before anything else is counted, because this may panic.
        self.counters.add_one_each();
        // SAFETY: the caller of `member_of` keeps the group.
        if let Some(group) = unsafe { self.group.as_ref() } {
            if self.pinned_to.is_some() || !self.after.is_empty() {
                group.note_bound();
            }
        }
        let core = self.core;
        let worker = current::worker();
        match worker.filter(|worker| worker.in_fiber() && worker.belongs_to(core)) {
            Some(own) => {
                let mut priority = self.at_least_low_if_pinned(self.priority.unwrap_or(own.priority()));
                // SAFETY: the caller of `member_of` keeps the group.
                if let Some(group) = unsafe { self.group.as_ref() } {
                    priority = priority.max(group.raised_to());
                    own.spend_credit(group);
                    group.note_priority(priority);
                }
                own.count_submitted(1);
                // SAFETY: promised by the caller of `spawn` or `detach`.
                unsafe { self.submit_special(own.caches(), owner, f, priority, true) }
            }
            None => {
                let priority = self.priority.unwrap_or(core.served(priority_of(worker)));
                let mut priority = self.at_least_low_if_pinned(priority);
                // SAFETY: the caller of `member_of` keeps the group.
                if let Some(group) = unsafe { self.group.as_ref() } {
                    priority = priority.max(group.raised_to());
                    group.add_member(worker);
                    group.note_priority(priority);
                }
                let accepted = core.begin_submission();
                current::with_caches(|caches| {
                    // SAFETY: promised by the caller of `spawn` or `detach`.
                    unsafe { self.submit_special(caches, owner, f, priority, accepted) }
                })
            }
        }
    }

    /// Only workers that take no Background jobs have jobs pinned to them.
    fn at_least_low_if_pinned(&self, priority: Priority) -> Priority {
        if self.pinned_to.is_some() { priority.max(Priority::Low) } else { priority }
    }

    #[inline]
    fn is_plain_but_for_counters(&self) -> bool {
        self.name.is_none()
            && self.priority.is_none()
            && self.pinned_to.is_none()
            && !self.large_stack
            && self.after.is_empty()
            && self.token.is_none()
    }

    /// A job with a name, a priority, a worker, counters, or counters to come after.
    unsafe fn submit_special<F, T>(
        self,
        caches: &Caches,
        owner: Owner,
        f: F,
        priority: Priority,
        accepted: bool,
    ) -> JobPtr
    where
        F: FnOnce() -> T,
    {
        let site = match self.name {
            Some(name) => SiteRef::named(self.location, name),
            None => SiteRef::unnamed(self.location),
        };
        let core = self.core;
        let new = NewJob { caches, tag: job_tag(core.index, priority), group: self.group, site, owner };
        let enqueue = |job: JobPtr| {
            if accepted {
                // SAFETY: called with a job that was just created, pending, and in no queue.
                unsafe { header::enqueue(job, core) }
            } else {
                refuse(job)
            }
        };
        if self.counters.is_empty()
            && self.after.is_empty()
            && self.pinned_to.is_none()
            && !self.large_stack
            && self.token.is_none()
        {
            // SAFETY: promised by the caller of `spawn` or `detach`.
            let job = unsafe { body::create::<F, T>(&new, f) };
            enqueue(job);
            return job;
        }
        let held = accepted && !self.after.is_empty();
        let extras = Extras {
            counters: Cell::new(self.counters),
            remaining: AtomicU32::new(1),
            pinned_to: self.pinned_to,
            large_stack: self.large_stack,
            core: Cell::new(if held { Some(core.shared()) } else { None }),
            cancel: JobLink::new(),
        };
        // SAFETY: as above.
        let job = unsafe { body::create_with_extras::<F, T>(&new, extras, held, self.token.as_ref(), f) };
        if held {
            // SAFETY: just created, held.
            unsafe { hold(core, job, self.after.iter()) };
        } else {
            enqueue(job);
        }
        job
    }

    /// Spawns a job that comes after `counters`.
    ///
    /// # Safety
    ///
    /// As for [`spawn`](Self::spawn).
    pub(crate) unsafe fn spawn_after<F, T>(
        mut self,
        counters: &(impl AfterCounters + ?Sized),
        f: F,
    ) -> RawHandle<T>
    where
        F: FnOnce() -> T,
    {
        counters.each(&mut |counter| self.add_after(counter));
        // SAFETY: promised by the caller.
        unsafe { self.spawn(f) }
    }
}

/// What a job that is otherwise plain may have.
trait Attachment {
    /// Makes a job of this and a closure.
    ///
    /// # Safety
    ///
    /// As for [`body::create`].
    unsafe fn create<F: FnOnce() -> T, T>(self, new: &NewJob<'_>, f: F) -> JobPtr;
}

/// Nothing.
struct Uncounted;

impl Attachment for Uncounted {
    #[inline]
    unsafe fn create<F: FnOnce() -> T, T>(self, new: &NewJob<'_>, f: F) -> JobPtr {
        // SAFETY: promised by the caller.
        unsafe { body::create::<F, T>(new, f) }
    }
}

/// A counter to which 1 was added.
struct Counted(Counter);

impl Attachment for Counted {
    #[inline]
    unsafe fn create<F: FnOnce() -> T, T>(self, new: &NewJob<'_>, f: F) -> JobPtr {
        // SAFETY: promised by the caller.
        unsafe { body::create_counted::<F, T>(new, self.0, f) }
    }
}

/// Submits a job that has nothing but a closure, and perhaps a counter: the path that has to be short.
///
/// # Safety
///
/// What `f` and its result borrow outlives the job, both may be used on other threads, and `group`, if it is not
/// null, is kept until its count is zero.
#[inline]
unsafe fn submit_plain<F, T>(
    core: &SystemCore,
    location: &'static Location<'static>,
    group: *const Group,
    owner: Owner,
    attachment: impl Attachment,
    f: F,
) -> JobPtr
where
    F: FnOnce() -> T,
{
    match worker_of(core) {
        Some(worker) => {
            // SAFETY: promised by the caller.
            unsafe { begin_member(worker, group) };
            let site = SiteRef::unnamed(location);
            let new = NewJob { caches: worker.caches(), tag: worker.job_tag(), group, site, owner };
            // SAFETY: promised by the caller.
            let job = unsafe { attachment.create::<F, T>(&new, f) };
            // SAFETY: promised by the caller.
            unsafe { push_member(worker, job.into(), group) };
            job
        }
        None => {
            let worker = current::worker();
            // SAFETY: promised by the caller.
            unsafe { submit_plain_outside(worker, core, location, group, owner, attachment, f) }
        }
    }
}

/// The worker that this is, if this is one of its fibers, and it belongs to this system.
#[inline(always)]
fn worker_of(core: &SystemCore) -> Option<&'static Worker> {
    let worker = current::sticky_worker::<0>()
        .or_else(|| current::worker().filter(|worker| worker.migrates() && worker.in_fiber()))?;
    debug_assert!(worker.in_fiber());
    worker.belongs_to(core).then_some(worker)
}

/// What a job inherits that is submitted here: the priority of the job that does it.
fn priority_of(worker: Option<&Worker>) -> Priority {
    worker.filter(|worker| worker.in_fiber()).map_or(Priority::Normal, Worker::priority)
}

/// From a thread outside, or a job of another system.
#[inline(never)]
unsafe fn submit_plain_outside<F, T>(
    worker: Option<&Worker>,
    core: &SystemCore,
    location: &'static Location<'static>,
    group: *const Group,
    owner: Owner,
    attachment: impl Attachment,
    f: F,
) -> JobPtr
where
    F: FnOnce() -> T,
{
    let mut priority = core.served(priority_of(worker));
    // SAFETY: promised by the caller.
    if let Some(group) = unsafe { group.as_ref() } {
        priority = priority.max(group.raised_to());
        group.add_member(worker);
        group.note_priority(priority);
    }
    let accepted = core.begin_submission();
    let site = SiteRef::unnamed(location);
    let job = current::with_caches(|caches| {
        let new = NewJob { caches, tag: job_tag(core.index, priority), group, site, owner };
        // SAFETY: promised by the caller.
        unsafe { attachment.create::<F, T>(&new, f) }
    });
    if accepted {
        core.inject(job, priority)
    } else {
        refuse(job)
    }
    job
}

/// Submits a job that has nothing but a closure, and gives its handle.
///
/// # Safety
///
/// As for [`submit_plain`].
#[inline]
pub(crate) unsafe fn spawn_plain<F, T>(
    core: &SystemCore,
    location: &'static Location<'static>,
    group: *const Group,
    f: F,
) -> RawHandle<T>
where
    F: FnOnce() -> T,
{
    // SAFETY: promised by the caller; the job is created with a handle.
    unsafe {
        let owner = if group.is_null() { Owner::Handle } else { Owner::BorrowingHandle };
        RawHandle::new(submit_plain(core, location, group, owner, Uncounted, f))
    }
}

/// As [`spawn_plain`], without a handle: a [bare](super::bare) job, if it is not too large and spawned inside of its system.
///
/// # Safety
///
/// As for [`submit_plain`], and `group` is not null.
#[inline]
pub(crate) unsafe fn detach_plain<F>(
    core: &SystemCore,
    location: &'static Location<'static>,
    group: *const Group,
    f: F,
) where
    F: FnOnce(),
{
    if const { bare::fits::<F>() } {
        // What is raised may have to go to workers of another kind, which bare jobs cannot.
        // SAFETY: promised by the caller: the group is alive.
        if let Some(worker) = worker_of(core).filter(|worker| !unsafe { (*group).raises(worker.priority()) })
        {
            // SAFETY: promised by the caller.
            unsafe {
                begin_member(worker, group);
                let job = bare::create(worker.caches(), group, SiteRef::unnamed(location), f);
                worker.push(job.into());
            }
            return;
        }
    }
    // SAFETY: promised by the caller.
    unsafe { submit_plain(core, location, group, Owner::Nobody, Uncounted, f) };
}

/// Counts a job that is about to be spawned on this worker, also by its group, if it has one.
///
/// # Safety
///
/// `group` is null, or alive.
#[inline(always)]
unsafe fn begin_member(worker: &Worker, group: *const Group) {
    // SAFETY: promised by the caller.
    if let Some(group) = unsafe { group.as_ref() } {
        worker.spend_credit(group);
    }
    worker.count_submitted(1);
}

/// Pushes it, where its group wants it.
///
/// # Safety
///
/// As for [`begin_member`].
#[inline(always)]
unsafe fn push_member(worker: &Worker, job: JobRef, group: *const Group) {
    // SAFETY: promised by the caller.
    match unsafe { group.as_ref() } {
        Some(group) if group.raises(worker.priority()) => worker.push_at(job, group.raised_to()),
        _ => worker.push(job),
    }
}

/// Links a held job to its counters.
///
/// # Safety
///
/// `job` was just created, held.
unsafe fn hold(core: &SystemCore, job: JobPtr, counters: impl Iterator<Item = &'static CounterCell>) {
    let state = &job.header().state;
    let seen = state.snapshot();
    // SAFETY: promised by the caller.
    unsafe { Link::hold(job, counters) };
    // LIVENESS: a shutdown that abandons looks at all blocks, but may have passed this one before. The
    // snapshot's generation keeps this from touching a successor if the job is long gone.
    if !core.starts_jobs() {
        core.abandon_late(job, seen);
    }
}

/// Drops a job that its system does not accept any more.
fn refuse(job: JobPtr) {
    match job.header().state.pop() {
        // SAFETY: popping has claimed the job.
        Popped::Yours => unsafe { header::discard(job, Outcome::Abandoned) },
        // An abandoning shutdown that looks at all blocks was faster.
        Popped::Stale => {}
        // SAFETY: the state says that nobody refers to the block.
        Popped::StaleFree => current::with_caches(|caches| unsafe { super::storage::free(caches, job) }),
    }
}
