//! Batches: many jobs that own what they use, and one wait for all of them.

#![expect(unsafe_code, reason = "a group in a recycled slot")]

use crate::JobSystem;
use crate::counter::group::Group;
use crate::error::PanicKind;
use crate::fiber::WaitKind;
use crate::job;
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{Cache, Caches, Depot, Slot};
use crate::sched::current;
use crate::system::core::SystemCore;
use crate::trace::site::SiteRef;
use std::fmt;
use std::mem::offset_of;
use std::panic::{Location, resume_unwind};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

static BATCHES: Depot = Depot::new();

/// The group of a batch, in a slot: it may outlive the handle, and the handle the system.
#[repr(C, align(64))]
pub(crate) struct BatchCell {
    node: Node,
    group: Group,
    /// The system's index and the place, for the report of a panic that nobody waits for.
    system: AtomicU32,
    site: AtomicPtr<()>,
}

// SAFETY: 1. `repr(C)` with the node first. 2. Slots are not moved or freed. 3. `BATCHES` serves
// this type alone.
unsafe impl Slot for BatchCell {
    fn vacant(id: u32) -> Self {
        Self {
            node: Node::new(Kind::Batch, id),
            group: Group::new(),
            system: AtomicU32::new(0),
            site: AtomicPtr::new(ptr::null_mut()),
        }
    }

    fn depot() -> &'static Depot {
        &BATCHES
    }

    fn cache(caches: &Caches) -> &Cache {
        &caches.batches
    }
}

impl BatchCell {
    /// The last member of a batch whose handle was dropped has ended.
    ///
    /// # Safety
    ///
    /// `group` is the group of a batch cell that nobody else knows any more.
    pub(crate) unsafe fn end_detached(group: *const Group) {
        // SAFETY: the group is a field of its cell, which lives in a slot.
        let cell: &'static BatchCell = unsafe { &*group.byte_sub(offset_of!(BatchCell, group)).cast() };
        if let Some(payload) = cell.group.first_panic() {
            // SAFETY: set by `spawn_batch_in`.
            let site = unsafe { SiteRef::from_raw(cell.site.load(Ordering::Relaxed)) };
            let system = cell.system.load(Ordering::Relaxed);
            crate::system::report_panic(system, PanicKind::DetachedJob, site, payload);
        }
        // SAFETY: promised by the caller.
        unsafe { cell.free() };
    }

    /// # Safety
    ///
    /// Nobody else knows the cell any more.
    unsafe fn free(&'static self) {
        // SAFETY: 1. Allocated by `spawn_batch_in`. 2. Promised by the caller.
        current::with_caches(|caches| unsafe { caches.batches.free(self) });
    }
}

/// Spawns every closure of the iterator as a job, and gives one handle for all of them.
///
/// This is the cheapest way to spawn many independent jobs: no handle and no counter each.
///
/// Inside a job the batch runs on its system, elsewhere on the [global one](JobSystem::global).
///
/// # Examples
///
/// ```
/// use std::sync::Arc;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// let sum = Arc::new(AtomicU32::new(0));
/// let batch = ramie::spawn_batch((1..=100).map(|i| {
///     let sum = Arc::clone(&sum);
///     move || {
///         sum.fetch_add(i, Ordering::Relaxed);
///     }
/// }));
/// batch.wait();
/// assert_eq!(sum.load(Ordering::Relaxed), 5050);
/// ```
#[track_caller]
pub fn spawn_batch<I, F>(closures: I) -> BatchHandle
where
    I: IntoIterator<Item = F>,
    F: FnOnce() + Send + 'static,
{
    let site = Location::caller();
    match current::worker() {
        Some(worker) => spawn_batch_in(worker.system(), site, closures),
        None => spawn_batch_in(JobSystem::global().core(), site, closures),
    }
}

pub(crate) fn spawn_batch_in<I, F>(
    core: &SystemCore,
    site: &'static Location<'static>,
    closures: I,
) -> BatchHandle
where
    I: IntoIterator<Item = F>,
    F: FnOnce() + Send + 'static,
{
    let cell = current::with_caches(|caches| caches.batches.alloc::<BatchCell>());
    cell.group.reset();
    cell.system.store(core.index, Ordering::Relaxed);
    cell.site.store(SiteRef::unnamed(site).into_raw(), Ordering::Relaxed);
    // From here on the handle owns the cell, also if the iterator panics.
    let handle = BatchHandle { cell };
    for closure in closures {
        // SAFETY: the closure is 'static and Send, and so is its result.
        unsafe { job::detach_plain(core, site, &raw const cell.group, closure) };
    }
    // The handle may go to another thread, and this job may be busy with something else for long.
    if let Some(worker) = current::worker() {
        worker.flush_credit();
    }
    handle
}

/// The way to wait for a batch. Dropping it lets the batch run on; a panic then goes to
/// [`on_panic`](crate::Builder::on_panic).
pub struct BatchHandle {
    cell: &'static BatchCell,
}

impl BatchHandle {
    /// Waits until all jobs of the batch have ended.
    ///
    /// # Panics
    ///
    /// With the first panic of a job, after all have ended. Also if a shutdown abandoned one before it was started.
    ///
    /// # Suspends
    ///
    /// Inside a job, unless all have ended.
    #[track_caller]
    pub fn wait(self) {
        let cell = self.cell;
        // The wait below takes over what dropping the handle would do.
        std::mem::forget(self);
        cell.group.wait(WaitKind::Batch, Location::caller());
        let (panic, abandoned) = (cell.group.first_panic(), cell.group.was_abandoned());
        // SAFETY: all members have ended, and the handle is gone.
        unsafe { cell.free() };
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        assert!(
            !abandoned,
            "a job of this batch was abandoned by a shutdown of its system before it was started"
        );
    }
}

impl Drop for BatchHandle {
    fn drop(&mut self) {
        if let Some(worker) = current::worker() {
            worker.flush_credit();
        }
        self.cell.group.detach();
    }
}

impl fmt::Debug for BatchHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchHandle").finish_non_exhaustive()
    }
}

impl std::panic::UnwindSafe for BatchHandle {}
impl std::panic::RefUnwindSafe for BatchHandle {}
