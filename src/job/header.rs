//! The header that every job in a block begins with, and the two kinds of pointers to jobs.
//!
//! ```text
//!   0        16      24       32       40        48
//!   +--------+-------+--------+--------+---------+----------------------------------+
//!   |  node  | state | vtable | group  |  site   |  extras, if any; closure/result  |
//!   +--------+-------+--------+--------+---------+----------------------------------+
//! ```

#![expect(unsafe_code, reason = "type-erased jobs")]

use super::bare::BarePtr;
use super::body::Extras;
use super::stack_job::StackJob;
use super::state::{JobState, Outcome, Popped};
use crate::counter::group::Group;
use crate::fiber::Fiber;
use crate::memory::node::{Kind, Node};
use crate::sched::current;
use crate::sched::priority::Priority;
use crate::sched::worker::Worker;
use crate::system::core::SystemCore;
use crate::trace::site::SiteRef;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// What a type-erased job can do. Each function is called at most once per job, by whoever has claimed it.
pub(crate) struct JobVtable {
    /// Runs the closure and everything that follows from its end.
    pub(crate) run: unsafe fn(JobPtr, &'static Worker),
    /// Drops the closure and ends the job as cancelled or abandoned.
    pub(crate) discard: unsafe fn(JobPtr, Outcome),
    /// Moves the result or the payload out, into a `Result` of the right type, and frees its place.
    pub(crate) take: unsafe fn(JobPtr, Outcome, *mut ()),
    pub(crate) has_extras: bool,
    /// Which size class the block is of.
    pub(crate) class: u8,
}

/// See the [module](self).
#[repr(C)]
pub(crate) struct JobHeader {
    /// Its `aux` is the job's tag.
    pub(crate) node: Node,
    pub(crate) state: JobState,
    /// Set at submission. Atomic because dumps and abandoning shutdowns look at every block.
    vtable: AtomicPtr<JobVtable>,
    /// The scope or batch that the job is a member of, or null.
    group: AtomicPtr<Group>,
    /// Where the job was spawned, and its name; see `trace/site.rs`.
    site: AtomicPtr<()>,
}

const _: () = assert!(size_of::<JobHeader>() == 48);

/// A job's tag: its system's index (28 bits), the priority that it was spawned with (2 bits), and the one that it was
/// raised to (2 bits, 0 for none).
const PRIORITY_SHIFT: u32 = 28;
const RAISED_SHIFT: u32 = 30;
const PRIORITY_BITS: u32 = 0b11;
const SYSTEM_MASK: u32 = (1 << PRIORITY_SHIFT) - 1;
/// The greatest index of a system.
pub(crate) const SYSTEM_INDEX_MAX: u32 = SYSTEM_MASK;

#[inline]
pub(crate) fn job_tag(system: u32, priority: Priority) -> u32 {
    system | (priority as u32) << PRIORITY_SHIFT
}

/// The index of the system in a tag.
#[inline]
pub(crate) fn system_of_tag(tag: u32) -> u32 {
    tag & SYSTEM_MASK
}

impl JobHeader {
    pub(crate) fn vacant(node: Node) -> Self {
        Self {
            node,
            state: JobState::free(),
            vtable: AtomicPtr::new(ptr::null_mut()),
            group: AtomicPtr::new(ptr::null_mut()),
            site: AtomicPtr::new(ptr::null_mut()),
        }
    }

    #[inline]
    pub(crate) fn fill(&self, vtable: &'static JobVtable, tag: u32, group: *const Group, site: SiteRef) {
        self.node.aux.store(tag, Ordering::Relaxed);
        self.vtable.store(ptr::from_ref(vtable).cast_mut(), Ordering::Relaxed);
        self.group.store(group.cast_mut(), Ordering::Relaxed);
        self.site.store(site.into_raw(), Ordering::Relaxed);
    }

    pub(crate) fn system(&self) -> u32 {
        system_of_tag(self.node.aux.load(Ordering::Relaxed))
    }

    /// The priority that the job was spawned with.
    pub(crate) fn spawned_priority(&self) -> Priority {
        Priority::from_bits(self.node.aux.load(Ordering::Relaxed) >> PRIORITY_SHIFT & PRIORITY_BITS)
    }

    /// The priority that it has now. Where the job is queued may say otherwise; then that counts.
    pub(crate) fn priority(&self) -> Priority {
        let raised =
            Priority::from_bits(self.node.aux.load(Ordering::Relaxed) >> RAISED_SHIFT & PRIORITY_BITS);
        raised.max(self.spawned_priority())
    }

    /// Raises the priority of a job whose block the caller holds; whether that changed anything.
    pub(crate) fn raise(&self, priority: Priority) -> bool {
        self.raise_if(priority, |_| true)
    }

    /// As [`raise`](Self::raise), for a block that may be anything by now: only while it is a job of this system in this
    /// group. A free block keeps the tag of its last job, so every value is looked at before it is
    /// replaced.
    pub(crate) fn raise_member(&self, priority: Priority, system: u32, group: *const Group) {
        self.raise_if(priority, |tag| {
            tag & SYSTEM_MASK == system && ptr::eq(self.group(), group) && self.state.snapshot().is_live()
        });
    }

    fn raise_if(&self, priority: Priority, still_wanted: impl Fn(u32) -> bool) -> bool {
        let mut tag = self.node.aux.load(Ordering::Relaxed);
        loop {
            let raised = Priority::from_bits(tag >> RAISED_SHIFT & PRIORITY_BITS);
            let spawned = Priority::from_bits(tag >> PRIORITY_SHIFT & PRIORITY_BITS);
            if raised.max(spawned) >= priority || !still_wanted(tag) {
                return false;
            }
            let next = tag & !(PRIORITY_BITS << RAISED_SHIFT) | (priority as u32) << RAISED_SHIFT;
            match self.node.aux.compare_exchange_weak(tag, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => tag = now,
            }
        }
    }

    #[inline]
    pub(crate) fn group(&self) -> *const Group {
        self.group.load(Ordering::Relaxed)
    }

    #[inline]
    pub(crate) fn site(&self) -> SiteRef {
        // SAFETY: only `fill` stores there, after the block was made with null.
        unsafe { SiteRef::from_raw(self.site.load(Ordering::Relaxed)) }
    }

    #[inline]
    pub(crate) fn vtable(&self) -> Option<&'static JobVtable> {
        // SAFETY: null or a static.
        unsafe { self.vtable.load(Ordering::Relaxed).as_ref() }
    }
}

/// A pointer to a job in its block. Reaches over the whole block; says nothing about who may use what.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JobPtr(NonNull<JobHeader>);

// SAFETY: headers are shared by design; what else is in the block is used by whoever owns the job.
unsafe impl Send for JobPtr {}
// SAFETY: as above.
unsafe impl Sync for JobPtr {}

impl JobPtr {
    pub(crate) fn new(header: NonNull<JobHeader>) -> Self {
        Self(header)
    }

    /// # Safety
    ///
    /// `node` is the first field of a job's header in its slot.
    #[inline]
    pub(crate) unsafe fn from_node(node: *mut Node) -> Self {
        // SAFETY: promised by the caller.
        Self(unsafe { NonNull::new_unchecked(node.cast()) })
    }

    #[inline]
    pub(crate) fn node_ptr(self) -> *mut Node {
        self.0.as_ptr().cast()
    }

    #[inline]
    pub(crate) fn header(self) -> &'static JobHeader {
        // SAFETY: blocks live for ever, and headers change through atomics only.
        unsafe { self.0.as_ref() }
    }

    /// The address `offset_bytes` into the block.
    #[inline]
    pub(crate) fn at<T>(self, offset_bytes: usize) -> *mut T {
        // SAFETY: callers stay inside the block's class.
        unsafe { self.0.as_ptr().cast::<u8>().add(offset_bytes).cast() }
    }

    /// The address of its block.
    #[inline(always)]
    pub(crate) fn address(self) -> usize {
        self.0.addr().get()
    }

    /// The job's extras, if it was built with some.
    pub(crate) fn extras(self) -> Option<&'static Extras> {
        if self.header().vtable()?.has_extras {
            // SAFETY: jobs with extras have them right behind the header, initialised before submission; their
            // fields that change are atomic.
            Some(unsafe { &*self.at::<Extras>(size_of::<JobHeader>()) })
        } else {
            None
        }
    }

    /// The only worker that may run the job, if it is pinned to one.
    pub(crate) fn pinned_to(self) -> Option<usize> {
        self.extras().and_then(|extras| extras.pinned_to)
    }

    /// Deals with an entry that this thread took out of a queue: runs the job if it is still pending.
    ///
    /// # Safety
    ///
    /// The caller owns the queue entry.
    #[inline(always)]
    pub(crate) unsafe fn run_entry(self, worker: &'static Worker) {
        worker.count_started();
        match self.header().state.pop() {
            // SAFETY: popping made this thread the one to run or discard the job.
            Popped::Yours => unsafe { self.run_claimed(worker) },
            Popped::Stale => {}
            // SAFETY: the state says that nobody refers to the block.
            Popped::StaleFree => unsafe { super::storage::free(worker.caches(), self) },
        }
        worker.now().count_finished();
    }

    #[inline(always)]
    unsafe fn run_claimed(self, worker: &'static Worker) {
        let header = self.header();
        let Some(vtable) = header.vtable() else { unreachable!("a pending job has a vtable") };
        worker.flush_credit_but(header.group());
        if worker.starts_jobs() {
            // SAFETY: promised by the caller: this thread has claimed the job.
            unsafe { (vtable.run)(self, worker) };
        } else {
            // SAFETY: as above.
            unsafe { (vtable.discard)(self, Outcome::Abandoned) };
        }
    }
}

/// What stands in a deque: a job in its block, a [bare](super::bare) one, one half of a `join` on the stack of its waiter, or,
/// in a system whose fibers migrate, a fiber that is ready.
///
/// The two lowest bits tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct JobRef(NonNull<()>);

const STACK_TAG: usize = 1;
const FIBER_TAG: usize = 2;
const BARE_TAG: usize = 3;
const TAGS: usize = 3;

impl From<JobPtr> for JobRef {
    #[inline]
    fn from(job: JobPtr) -> Self {
        JobRef(job.0.cast())
    }
}

impl From<BarePtr> for JobRef {
    #[inline]
    fn from(job: BarePtr) -> Self {
        // SAFETY: setting the lowest bits of an aligned, non-null address keeps it non-null.
        JobRef(unsafe { NonNull::new_unchecked(job.into_raw().as_ptr().map_addr(|addr| addr | BARE_TAG)) })
    }
}

impl JobRef {
    #[inline]
    fn tag(self) -> usize {
        self.0.as_ptr().addr() & TAGS
    }

    /// # Safety
    ///
    /// `job` stays where it is until its latch is released, or the entry is taken back.
    #[inline]
    pub(crate) unsafe fn from_stack(job: NonNull<StackJob>) -> Self {
        // SAFETY: setting the lowest bit of an aligned, non-null address keeps it non-null.
        JobRef(unsafe { NonNull::new_unchecked(job.as_ptr().map_addr(|addr| addr | STACK_TAG).cast()) })
    }

    #[inline]
    pub(crate) fn into_raw(self) -> *mut () {
        self.0.as_ptr()
    }

    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Self::into_raw).
    #[inline]
    pub(crate) unsafe fn from_raw(raw: *mut ()) -> Self {
        // SAFETY: promised by the caller.
        JobRef(unsafe { NonNull::new_unchecked(raw) })
    }

    /// Whether a raw value, which may come from a place of a deque where no entry is any more or has ever been, has the bits of
    /// a job's in a block.
    #[inline]
    pub(crate) fn is_raw_block(raw: *mut ()) -> bool {
        !raw.is_null() && matches!(raw.addr() & TAGS, 0 | BARE_TAG)
    }

    /// As above, for a job that others may know of, which can be in any queue.
    #[cfg(not(loom))]
    pub(crate) fn is_raw_known(raw: *mut ()) -> bool {
        !raw.is_null() && raw.addr() & TAGS == 0
    }

    /// An entry for a fiber that any worker may resume.
    pub(crate) fn from_fiber(fiber: &'static Fiber) -> Self {
        let tagged = fiber.node_ptr().cast::<()>().map_addr(|addr| addr | FIBER_TAG);
        // SAFETY: setting a low bit of an aligned, non-null address keeps it non-null.
        JobRef(unsafe { NonNull::new_unchecked(tagged) })
    }

    /// The entry for what was injected.
    ///
    /// # Safety
    ///
    /// `node` is the first field of a job or a fiber in its slot.
    pub(crate) unsafe fn from_injected(node: *mut Node) -> Self {
        // SAFETY: promised by the caller.
        unsafe {
            match (*node).kind() {
                Kind::Fiber => Self::from_fiber(Fiber::from_node(node)),
                _ => JobPtr::from_node(node).into(),
            }
        }
    }

    /// The fiber, if it is one.
    #[inline]
    pub(crate) fn as_fiber(self) -> Option<&'static Fiber> {
        if self.tag() != FIBER_TAG {
            return None;
        }
        // SAFETY: tagged by `from_fiber`.
        Some(unsafe { Fiber::from_node(self.0.as_ptr().map_addr(|addr| addr & !TAGS).cast()) })
    }

    /// The job in a block, if it is one that others may know of.
    #[inline]
    pub(crate) fn as_block(self) -> Option<JobPtr> {
        if self.tag() != 0 { None } else { Some(JobPtr(self.0.cast())) }
    }

    /// Where it is and where it was spawned; `None` for halves of joins and for fibers.
    #[cold]
    pub(crate) fn block_and_site(self) -> Option<(usize, SiteRef)> {
        match (self.as_block(), self.as_bare()) {
            (Some(job), _) => Some((job.address(), job.header().site())),
            (_, Some(job)) => Some((job.into_raw().addr().get(), job.site())),
            (None, None) => None,
        }
    }

    /// The bare job, if it is one.
    #[inline]
    pub(crate) fn as_bare(self) -> Option<BarePtr> {
        // SAFETY: the tag says that it is one.
        (self.tag() == BARE_TAG).then(|| unsafe { self.bare() })
    }

    /// # Safety
    ///
    /// It is a bare job.
    #[inline(always)]
    unsafe fn bare(self) -> BarePtr {
        // SAFETY: tagged by `from`; the untagged address is not null.
        unsafe {
            let raw = self.0.as_ptr().map_addr(|addr| addr - BARE_TAG);
            BarePtr::from_raw(NonNull::new_unchecked(raw))
        }
    }

    /// The scope or batch that this is a member of, or null.
    #[inline]
    pub(crate) fn group(self) -> *const Group {
        match self.tag() {
            0 => JobPtr(self.0.cast()).header().group(),
            // SAFETY: the tag says that it is one.
            BARE_TAG => unsafe { self.bare() }.group(),
            _ => ptr::null(),
        }
    }

    /// Whether this is the entry of a job in a block that somebody has claimed without it. It stays so.
    pub(crate) fn is_stale(self) -> bool {
        self.as_block().is_some_and(|job| !job.header().state.snapshot().is_pending())
    }

    /// Lets go of such an entry.
    ///
    /// # Safety
    ///
    /// The caller has taken the entry out of a queue, and it [is stale](Self::is_stale).
    #[cold]
    pub(crate) unsafe fn drop_stale(self) {
        let Some(job) = self.as_block() else { unreachable!("only blocks have stale entries") };
        let system = job.header().system();
        match job.header().state.pop() {
            Popped::Yours => unreachable!("it was claimed"),
            Popped::Stale => {}
            // SAFETY: the state says that nobody refers to the block.
            Popped::StaleFree => current::with_caches(|caches| unsafe { super::storage::free(caches, job) }),
        }
        match current::worker().filter(|worker| worker.system().index == system) {
            Some(worker) => {
                worker.count_started();
                worker.count_finished();
            }
            None => crate::system::count_finished_elsewhere(system),
        }
    }

    /// Runs an entry that was taken out of a queue.
    ///
    /// # Safety
    ///
    /// The caller owns the entry.
    #[inline(always)]
    pub(crate) unsafe fn run(self, worker: &'static Worker) {
        debug_assert!(self.as_fiber().is_none(), "fibers are resumed, not run");
        // SAFETY: promised by the caller; the tag says what it is.
        unsafe {
            match self.tag() {
                0 => JobPtr(self.0.cast()).run_entry(worker),
                BARE_TAG => self.bare().run_entry(worker),
                _ => {
                    worker.flush_credit();
                    if worker.hooks_now() != worker.hooks() {
                        worker.notice_hooks();
                    }
                    let job = self.0.as_ptr().map_addr(|addr| addr & !STACK_TAG).cast::<StackJob>();
                    StackJob::execute(job, worker);
                }
            }
        }
    }
}

/// Ends a claimed job that will not run.
///
/// # Safety
///
/// The caller has claimed the job, and tells `outcome` to whoever asks.
pub(crate) unsafe fn discard(job: JobPtr, outcome: Outcome) {
    let Some(vtable) = job.header().vtable() else { unreachable!("a claimed job has a vtable") };
    // SAFETY: promised by the caller.
    unsafe { (vtable.discard)(job, outcome) };
}

/// Makes a job known to its system's workers.
///
/// # Safety
///
/// The caller owns the job's one queue entry.
pub(crate) unsafe fn enqueue(job: JobPtr, core: &SystemCore) {
    let priority = job.header().priority();
    if let Some(index) = job.pinned_to() {
        return core.deliver(index, job);
    }
    match current::worker() {
        Some(worker) if worker.belongs_to(core) && worker.in_fiber() && worker.priority() == priority => {
            worker.push(job.into())
        }
        Some(worker) if worker.belongs_to(core) => worker.push_at(job.into(), priority),
        _ => core.inject(job, priority),
    }
}
