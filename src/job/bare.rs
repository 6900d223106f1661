//! Bare jobs: closures that nobody knows of but their one queue entry. No handle, no counter, no name of their own; members of
//! a scope or a batch.
//!
//! ```text
//!   0        8        16      24
//!   +--------+--------+-------+-----------+
//!   | vtable | group  | site  |  closure  |      in blocks of 32 or 64 bytes
//!   +--------+--------+-------+-----------+
//! ```
//!
//! Who owns the entry owns the job, so there is no word for its state and nothing to claim, and its block is free as soon as the
//! closure was moved out of it: before it is called. What a job needs that others know of is in `header.rs`.

#![expect(unsafe_code, reason = "type-erased closures in raw blocks")]

use super::body::drop_guarded;
use crate::counter::group::Group;
use crate::error::Payload;
use crate::fiber::RunningJob;
use crate::memory::slots::{Cache, Caches, Depot, Slot};
use crate::sched::current;
use crate::sched::worker::Worker;
use crate::trace::event;
use crate::trace::site::SiteRef;
use std::cell::UnsafeCell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::{self, NonNull};

/// What stands before the closure.
#[repr(C)]
struct Header {
    vtable: &'static Vtable,
    /// The scope or batch that the job is a member of.
    group: *const Group,
    site: SiteRef,
}

struct Vtable {
    /// Frees the block and calls the closure.
    run: unsafe fn(BarePtr, &'static Worker),
    /// Frees the block and drops the closure, in a system of this index.
    discard: unsafe fn(BarePtr, u32),
}

const SMALL_BYTES: usize = 32;
const LARGE_BYTES: usize = 64;
const CLOSURE_OFFSET: usize = size_of::<Header>();

const _: () = assert!(CLOSURE_OFFSET + size_of::<usize>() <= SMALL_BYTES);

/// Whether a closure of this type fits into a bare job.
pub(crate) const fn fits<F>() -> bool {
    align_of::<F>() <= align_of::<Header>() && CLOSURE_OFFSET + size_of::<F>() <= LARGE_BYTES
}

/// A pointer to a bare job. Whoever has it owns the job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BarePtr(NonNull<Header>);

impl BarePtr {
    /// The address, whose lowest bits are zero.
    #[inline]
    pub(super) fn into_raw(self) -> NonNull<()> {
        self.0.cast()
    }

    /// # Safety
    ///
    /// `raw` came from [`into_raw`](Self::into_raw).
    #[inline]
    pub(super) unsafe fn from_raw(raw: NonNull<()>) -> Self {
        Self(raw.cast())
    }

    /// The scope or batch that the job is a member of.
    #[inline]
    pub(crate) fn group(self) -> *const Group {
        // SAFETY: the block holds a header until its job is run or discarded, which takes the pointer's last use.
        unsafe { (*self.0.as_ptr()).group }
    }

    /// Where the job was spawned.
    #[inline]
    pub(super) fn site(self) -> SiteRef {
        // SAFETY: as in `group`.
        unsafe { ptr::read(&raw const (*self.0.as_ptr()).site) }
    }

    /// Runs the job, or drops it if its system starts no more jobs.
    ///
    /// # Safety
    ///
    /// The caller has taken the entry out of a queue of its worker's system.
    #[inline(always)]
    pub(crate) unsafe fn run_entry(self, worker: &'static Worker) {
        worker.count_started();
        worker.flush_credit_but(self.group());
        // SAFETY: promised by the caller.
        unsafe {
            let vtable = (*self.0.as_ptr()).vtable;
            if worker.starts_jobs() {
                (vtable.run)(self, worker);
            } else {
                (vtable.discard)(self, worker.system().index);
            }
        }
        worker.now().count_finished();
    }

    /// Drops a job that nobody will run.
    ///
    /// # Safety
    ///
    /// The caller has taken the entry out of a queue of the system of this index.
    #[cold]
    pub(crate) unsafe fn discard(self, system: u32) {
        // SAFETY: promised by the caller.
        unsafe { ((*self.0.as_ptr()).vtable.discard)(self, system) };
    }
}

struct Typed<F>(PhantomData<fn(F)>);

impl<F: FnOnce()> Typed<F> {
    const IS_SMALL: bool = CLOSURE_OFFSET + size_of::<F>() <= SMALL_BYTES;
    const VTABLE: &'static Vtable = &Vtable { run: Self::run, discard: Self::discard };

    /// # Safety
    ///
    /// The job's closure is an `F`, and the caller owns it; the block is free afterwards.
    #[inline(always)]
    unsafe fn take(job: BarePtr, caches: &Caches) -> F {
        let header = job.0.as_ptr();
        // SAFETY: promised by the caller; `create` has written both, and chosen the block's size by the same constant.
        unsafe {
            let closure = header.byte_add(CLOSURE_OFFSET).cast::<F>().read();
            if Self::IS_SMALL {
                caches.bare[0].free(&*header.cast::<Small>());
            } else {
                caches.bare[1].free(&*header.cast::<Large>());
            }
            closure
        }
    }

    unsafe fn run(job: BarePtr, worker: &'static Worker) {
        let (group, site) = (job.group(), job.site());
        // Before its block is free, and another job's.
        let running = RunningJob::begin(worker, site, job.0.addr().get(), || group.addr());
        let worker = running.worker;
        // SAFETY: promised by the caller.
        let closure = unsafe { Self::take(job, worker.caches()) };
        let result = catch_unwind(AssertUnwindSafe(closure));
        running.end(result.is_err());
        let worker = worker.now();
        if let Err(payload) = result {
            has_panicked(worker, group, site, payload);
        }
        worker.earn_credit(group);
    }

    #[cold]
    unsafe fn discard(job: BarePtr, system: u32) {
        event::job_dropped(job.0.addr().get());
        let (group, site) = (job.group(), job.site());
        // SAFETY: promised by the caller.
        let closure = current::with_caches(|caches| unsafe { Self::take(job, caches) });
        drop_guarded(closure, system, site);
        // SAFETY: the group is alive until this member has been released.
        unsafe {
            (*group).note_abandoned();
            Group::release(group, 1);
        }
    }
}

#[cold]
#[inline(never)]
fn has_panicked(worker: &'static Worker, group: *const Group, site: SiteRef, payload: Payload) {
    let system = worker.system();
    system.print_seed();
    // SAFETY: the group is alive until this member has been released.
    unsafe { (*group).take_panic(payload, system.index, site) };
}

/// Puts a closure that [fits] into a block.
///
/// # Safety
///
/// What the closure borrows, and `group`, which counts the job, stays valid until it has ended; the closure may be called and
/// dropped on another thread.
#[inline(always)]
pub(crate) unsafe fn create<F: FnOnce()>(
    caches: &Caches,
    group: *const Group,
    site: SiteRef,
    f: F,
) -> BarePtr {
    debug_assert!(fits::<F>());
    let block: NonNull<Header> = if Typed::<F>::IS_SMALL {
        NonNull::from(caches.bare[0].alloc::<Small>()).cast()
    } else {
        NonNull::from(caches.bare[1].alloc::<Large>()).cast()
    };
    // SAFETY: the block was just allocated, and is large enough and aligned for both.
    unsafe {
        block.write(Header { vtable: Typed::<F>::VTABLE, group, site });
        block.as_ptr().byte_add(CLOSURE_OFFSET).cast::<F>().write(f);
    }
    BarePtr(block)
}

static DEPOTS: [Depot; 2] = [const { Depot::new() }; 2];

/// Whether this is where blocks of bare jobs lie.
pub(super) fn is_depot(depot: &Depot) -> bool {
    DEPOTS.as_ptr_range().contains(&ptr::from_ref(depot))
}

pub(crate) fn depot(index: usize) -> &'static Depot {
    &DEPOTS[index]
}

macro_rules! bare_slot {
    ($name:ident, $index:literal, $bytes:ident, $align:literal) => {
        #[repr(C, align($align))]
        struct $name(UnsafeCell<[MaybeUninit<u8>; $bytes]>);

        const _: () = assert!(size_of::<$name>() == $bytes && align_of::<$name>() >= align_of::<Header>());

        // SAFETY: a block is used by whoever owns the job in it alone.
        unsafe impl Sync for $name {}

        // SAFETY: 1. No id of it is ever given to anybody. 2. Slots are not moved or freed, and any bytes will do. 3. Each has a
        // depot of its own. 4. No value is needed.
        unsafe impl Slot for $name {
            fn vacant(_: u32) -> Self {
                Self(UnsafeCell::new([MaybeUninit::uninit(); $bytes]))
            }

            unsafe fn write_vacant(_: *mut Self, _: u32) {}

            fn depot() -> &'static Depot {
                &DEPOTS[$index]
            }

            fn cache(caches: &Caches) -> &Cache {
                &caches.bare[$index]
            }
        }
    };
}

bare_slot!(Small, 0, SMALL_BYTES, 32);
bare_slot!(Large, 1, LARGE_BYTES, 64);
