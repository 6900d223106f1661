//! Blocks for jobs, in nine sizes.
//!
//! A block holds the job's header, its extras if it has any, and its closure, which makes room for its result. Sizes are
//! powers of two, and each block is aligned to its size, up to 4096 bytes. So the place of an over-aligned closure is a constant
//! offset like any other's: behind a header it needs a block of at least twice its alignment, which is aligned to
//! that. Only what fits into no block is put on the heap (`body.rs`).

#![expect(unsafe_code, reason = "implements Slot")]

use super::header::{JobHeader, JobPtr};
use crate::memory::node::{Kind, Node};
use crate::memory::slots::{self, Cache, Caches, Depot, Slot};
use std::alloc::Layout;
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

pub(crate) const CLASS_COUNT: usize = 9;
/// Bytes of a block, header included.
pub(crate) const CLASS_BYTES: [usize; CLASS_COUNT] = [64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384];
/// What blocks of a class are aligned to: their size, or this if that is less.
const BLOCK_ALIGN_MAX: usize = 4096;

/// The class of blocks with room for a body of this layout behind a header, and extras, of `before_bytes`; and where in the
/// block the body is. `None` if no block is large enough, or aligned to that.
pub(crate) const fn place(before_bytes: usize, body: Layout) -> Option<(usize, usize)> {
    // A greater alignment is met by no block, and would need one whose size is greater still.
    if body.align() > BLOCK_ALIGN_MAX {
        return None;
    }
    let offset = before_bytes.next_multiple_of(body.align());
    match class_of(offset.saturating_add(body.size())) {
        Some(class) => Some((class, offset)),
        None => None,
    }
}

/// The class of the smallest blocks of at least this size.
pub(crate) const fn class_of(bytes: usize) -> Option<usize> {
    let mut class = 0;
    while class < CLASS_COUNT {
        if bytes <= CLASS_BYTES[class] {
            return Some(class);
        }
        class += 1;
    }
    None
}

static DEPOTS: [Depot; CLASS_COUNT] = [const { Depot::new() }; CLASS_COUNT];

pub(crate) fn depot(class: usize) -> &'static Depot {
    &DEPOTS[class]
}

macro_rules! job_slot {
    ($name:ident, $class:literal, $align:literal) => {
        /// A block of one size class.
        #[repr(C, align($align))]
        struct $name {
            header: JobHeader,
            payload: UnsafeCell<[MaybeUninit<u8>; CLASS_BYTES[$class] - size_of::<JobHeader>()]>,
        }

        const _: () = assert!(size_of::<$name>() == CLASS_BYTES[$class]);
        // What is behind the header, at a multiple of its alignment, is at least that far from the block's begin: so a block
        // that is aligned to its size is aligned to whatever it has room for, and a larger one to all that `place` lets in.
        const _: () = assert!(
            align_of::<$name>() == CLASS_BYTES[$class]
                || (align_of::<$name>() == BLOCK_ALIGN_MAX && CLASS_BYTES[$class] > BLOCK_ALIGN_MAX)
        );

        // SAFETY: the header is shared through atomics; the payload is used by the job's owner alone.
        unsafe impl Sync for $name {}

        // SAFETY: 1. `repr(C)`, and the header, `repr(C)` too, begins with the node. 2. Slots are not moved
        // or freed. 3. Each class has a depot of its own. 4. The payload needs no value.
        unsafe impl Slot for $name {
            fn vacant(id: u32) -> Self {
                Self {
                    header: JobHeader::vacant(Node::new(Kind::Job, id)),
                    payload: UnsafeCell::new(
                        [MaybeUninit::uninit(); CLASS_BYTES[$class] - size_of::<JobHeader>()],
                    ),
                }
            }

            unsafe fn write_vacant(place: *mut Self, id: u32) {
                // SAFETY: promised by the caller.
                unsafe { (&raw mut (*place).header).write(JobHeader::vacant(Node::new(Kind::Job, id))) };
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

job_slot!(Slot64, 0, 64);
job_slot!(Slot128, 1, 128);
job_slot!(Slot256, 2, 256);
job_slot!(Slot512, 3, 512);
job_slot!(Slot1024, 4, 1024);
job_slot!(Slot2048, 5, 2048);
job_slot!(Slot4096, 6, 4096);
job_slot!(Slot8192, 7, 4096);
job_slot!(Slot16384, 8, 4096);

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
        4 => of::<Slot1024>(caches),
        5 => of::<Slot2048>(caches),
        6 => of::<Slot4096>(caches),
        7 => of::<Slot8192>(caches),
        _ => of::<Slot16384>(caches),
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
    // SAFETY: promised by the caller.
    unsafe { put_back(caches, job, class) };
}

/// The rest of [`free_class`], for a block whose state says already that it is free.
///
/// # Safety
///
/// As for [`free_class`].
#[inline]
pub(crate) unsafe fn put_back(caches: &Caches, job: JobPtr, class: usize) {
    // SAFETY: promised by the caller; the class is the one the block was allocated with.
    unsafe {
        match class {
            0 => caches.jobs[0].free(&*job.at::<Slot64>(0)),
            1 => caches.jobs[1].free(&*job.at::<Slot128>(0)),
            2 => caches.jobs[2].free(&*job.at::<Slot256>(0)),
            3 => caches.jobs[3].free(&*job.at::<Slot512>(0)),
            4 => caches.jobs[4].free(&*job.at::<Slot1024>(0)),
            5 => caches.jobs[5].free(&*job.at::<Slot2048>(0)),
            6 => caches.jobs[6].free(&*job.at::<Slot4096>(0)),
            7 => caches.jobs[7].free(&*job.at::<Slot8192>(0)),
            _ => caches.jobs[8].free(&*job.at::<Slot16384>(0)),
        }
    }
}

/// Calls `f` with every block there is, in use or not.
pub(crate) fn for_each_block(mut f: impl FnMut(JobPtr)) {
    macro_rules! each {
        ($($slot:ident)*) => {$(
            slots::for_each::<$slot>(|slot| f(JobPtr::new(NonNull::from(slot).cast())));
        )*};
    }
    each! { Slot64 Slot128 Slot256 Slot512 Slot1024 Slot2048 Slot4096 Slot8192 Slot16384 }
}

/// How many blocks there are, in use or not.
pub(crate) fn made_count() -> u64 {
    slots::made(|depot| DEPOTS.as_ptr_range().contains(&ptr::from_ref(depot)) || super::bare::is_depot(depot))
        .slots
}

#[cfg(test)]
mod tests;
