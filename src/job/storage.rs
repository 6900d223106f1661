//! Blocks for jobs, in five sizes.

#![expect(unsafe_code, reason = "implements Slot")]

use super::header::{JobHeader, JobPtr};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{self, Cache, Caches, Depot, Slot};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::NonNull;

pub(crate) const CLASS_COUNT: usize = 5;
/// Bytes of a block, header included.
pub(crate) const CLASS_BYTES: [usize; CLASS_COUNT] = [64, 128, 256, 512, 1024];
/// Blocks are aligned to this, so closures up to this alignment live in them.
pub(crate) const BLOCK_ALIGN: usize = 64;

static DEPOTS: [Depot; CLASS_COUNT] = [const { Depot::new() }; CLASS_COUNT];

pub(crate) fn depot(class: usize) -> &'static Depot {
    &DEPOTS[class]
}

macro_rules! job_slot {
    ($name:ident, $class:literal) => {
        /// A block of one size class.
        #[repr(C, align(64))]
        struct $name {
            header: JobHeader,
            payload: UnsafeCell<[MaybeUninit<u8>; CLASS_BYTES[$class] - size_of::<JobHeader>()]>,
        }

        const _: () = assert!(size_of::<$name>() == CLASS_BYTES[$class]);
        const _: () = assert!(align_of::<$name>() == BLOCK_ALIGN);

        // SAFETY: the header is shared through atomics; the payload is used by the job's owner alone.
        unsafe impl Sync for $name {}

        // SAFETY: 1. `repr(C)`, and the header, `repr(C)` too, begins with the node. 2. Slots are not moved
        // or freed. 3. Each class has a depot of its own.
        unsafe impl Slot for $name {
            fn vacant(id: u32) -> Self {
                Self {
                    header: JobHeader::vacant(Node::new(Kind::Job, id)),
                    payload: UnsafeCell::new([const { MaybeUninit::uninit() }; _]),
                }
            }

            fn depot() -> &'static Depot {
                &DEPOTS[$class]
            }

            fn cache(caches: &Caches) -> &Cache {
                &caches.jobs[$class]
            }
        }
    };
}

job_slot!(Slot64, 0);
job_slot!(Slot128, 1);
job_slot!(Slot256, 2);
job_slot!(Slot512, 3);
job_slot!(Slot1024, 4);

/// A free block of this class.
#[inline]
pub(crate) fn alloc(caches: &Caches, class: usize) -> JobPtr {
    fn of<T: Slot>(caches: &Caches) -> JobPtr {
        JobPtr::new(NonNull::from(T::cache(caches).alloc::<T>()).cast())
    }
    match class {
        0 => of::<Slot64>(caches),
        1 => of::<Slot128>(caches),
        2 => of::<Slot256>(caches),
        3 => of::<Slot512>(caches),
        _ => of::<Slot1024>(caches),
    }
}

/// Frees a job's block.
///
/// # Safety
///
/// The job's state told the caller to, and there is nothing in the block to be dropped.
#[inline]
pub(crate) unsafe fn free(caches: &Caches, job: JobPtr) {
    let class = job.header().vtable().map_or(0, |vtable| vtable.class);
    // SAFETY: promised by the caller; the class is the one that the block was allocated with.
    unsafe { free_class(caches, job, usize::from(class)) };
}

/// As [`free`], for a caller who knows the class.
///
/// # Safety
///
/// As for [`free`]; the block is of this class.
#[inline]
pub(crate) unsafe fn free_class(caches: &Caches, job: JobPtr, class: usize) {
    job.header().state.recycle();
    // SAFETY: promised by the caller; the class is the one the block was allocated with.
    unsafe {
        match class {
            0 => caches.jobs[0].free(&*job.at::<Slot64>(0)),
            1 => caches.jobs[1].free(&*job.at::<Slot128>(0)),
            2 => caches.jobs[2].free(&*job.at::<Slot256>(0)),
            3 => caches.jobs[3].free(&*job.at::<Slot512>(0)),
            _ => caches.jobs[4].free(&*job.at::<Slot1024>(0)),
        }
    }
}

/// Calls `f` with every block there is, in use or not.
pub(crate) fn for_each_block(mut f: impl FnMut(JobPtr)) {
    slots::for_each::<Slot64>(|slot| f(JobPtr::new(NonNull::from(slot).cast())));
    slots::for_each::<Slot128>(|slot| f(JobPtr::new(NonNull::from(slot).cast())));
    slots::for_each::<Slot256>(|slot| f(JobPtr::new(NonNull::from(slot).cast())));
    slots::for_each::<Slot512>(|slot| f(JobPtr::new(NonNull::from(slot).cast())));
    slots::for_each::<Slot1024>(|slot| f(JobPtr::new(NonNull::from(slot).cast())));
}
