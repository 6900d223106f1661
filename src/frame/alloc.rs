//! `Frame`: one frame in flight, and what can be allocated in it.

#![expect(unsafe_code, reason = "hands out references to raw memory")]

use super::arena::{FrameCell, Refused, Shared};
use std::alloc::{Layout, handle_alloc_error};
use std::fmt;
use std::mem::{self, MaybeUninit};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::ptr::{self, NonNull};
use std::slice;
use std::sync::Arc;

/// One frame in flight: memory that is freed, all of it at once, when this is dropped. Made by
/// [`FrameArenas::begin`](crate::FrameArenas::begin).
///
/// Any number of threads may allocate in a frame at once: jobs of the system of the arenas, each worker from a block of its own;
/// jobs of other systems and plain threads, from a locked one.
///
/// # What can be allocated
///
/// - Values that need not be dropped, by the methods here. They are forgotten when the frame ends.
/// - Everything else through [`Allocator`](crate::allocator_api2::alloc::Allocator), which `&Frame` implements: the vectors
///   and boxes of [`allocator_api2`](crate::allocator_api2), maps of `hashbrown` (0.16, feature `allocator-api2`),
///   and whatever else speaks version 0.2 of that crate, own their elements, drop them, and take their memory from the frame.
///   The newest allocation of a worker grows and shrinks in place and is given back when it is dropped; any
///   other memory, and whatever is larger than a block, comes back when the frame ends. So large vectors are made with the
///   capacity that they need.
///
/// A size that no block can have panics with `capacity overflow`; if the system allocator has no memory,
/// [`handle_alloc_error`] decides. Through `Allocator` both are an `AllocError`. Values without a size take no
/// memory.
///
/// Closures that make values are called after their place was reserved. They may allocate in the same frame, wait, or panic;
/// the place is wasted then, until the frame ends.
///
/// # Leaks
///
/// A frame that is leaked, by [`mem::forget`] or in a cycle, counts as in flight for ever, and keeps its memory and
/// that of its arenas.
///
/// # Examples
///
/// ```
/// use ramie::allocator_api2::vec::Vec;
/// use ramie::{FrameArenas, JobSystem};
/// use hashbrown::{DefaultHashBuilder, HashMap};
///
/// let system = JobSystem::new()?;
/// let arenas = FrameArenas::new(&system, 2)?;
/// let frame = arenas.begin();
///
/// let position: &mut [f32; 3] = frame.alloc([1.0, 2.0, 3.0]);
/// position[0] += 1.0;
/// let name: &mut str = frame.alloc_str("sand");
/// let squares = frame.alloc_slice_fill_with(10, |i| i * i);
///
/// let mut names: Vec<String, _> = Vec::new_in(&frame); // drops its strings
/// names.push(name.to_owned());
/// let mut counts = HashMap::with_hasher_in(DefaultHashBuilder::default(), &frame);
/// counts.insert(names[0].as_str(), squares[9]);
/// assert_eq!(counts["sand"], 81);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Nothing outlives its frame, neither a reference:
///
/// ```compile_fail,E0515
/// # use ramie::FrameArenas;
/// fn shortest(arenas: &FrameArenas) -> &str {
///     let frame = arenas.begin();
///     frame.alloc_str("gone")
/// }
/// ```
///
/// nor a collection:
///
/// ```compile_fail,E0505
/// # use ramie::{FrameArenas, JobSystem, allocator_api2::vec::Vec};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let arenas = FrameArenas::new(&system, 1).unwrap();
/// let frame = arenas.begin();
/// let mut numbers = Vec::new_in(&frame);
/// numbers.push(1);
/// drop(frame);
/// numbers.push(2);
/// ```
///
/// nor inside of a job that may outlive it:
///
/// ```compile_fail,E0597
/// # use ramie::{FrameArenas, JobSystem};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let arenas = FrameArenas::new(&system, 1).unwrap();
/// let frame = arenas.begin();
/// let number = frame.alloc(1);
/// system.spawn(move || *number += 1);
/// ```
///
/// All of which works within the frame, or with the frame itself:
///
/// ```
/// # use ramie::{FrameArenas, JobSystem, allocator_api2::vec::Vec};
/// # let system = JobSystem::builder().workers(1).build().unwrap();
/// # let arenas = FrameArenas::new(&system, 1).unwrap();
/// let frame = arenas.begin();
/// let number = frame.alloc(1);
/// let mut numbers = Vec::new_in(&frame);
/// numbers.push(1);
/// system.scope(|s| { s.spawn(|| *number += 1); });
/// assert_eq!(*number, 2);
/// drop(numbers);
/// system.spawn(move || frame.alloc_str("the frame has moved here").len());
/// ```
pub struct Frame {
    shared: Arc<Shared>,
    /// In `shared`, which keeps it. PERF: the way to it is a part of every allocation (`tests/frames.rs`, `speed`).
    cell: NonNull<FrameCell>,
    system: u32,
    cell_index: u32,
    number: u64,
}

// SAFETY: what threads that share a frame can do with it.
// 1. Allocate: from the bump of the worker that the thread is, which no other thread uses, or from a locked one. A worker is
//    driven by one thread at a time, and what changes hands with it is ordered; no code of users runs while a bump is in use, so
//    a fiber that migrates does not carry one along.
// 2. Reach what others have allocated: only by references and collections, which answer for themselves.
// Dropping it on another thread: that thread owns it, so all that was allocated with it is over, and happened before. The
// memory is bytes to the frame: no destructor of what is in it is called.
unsafe impl Send for Frame {}
// SAFETY: as above.
unsafe impl Sync for Frame {}

impl Frame {
    pub(super) fn new(shared: Arc<Shared>, cell_index: u32, number: u64) -> Self {
        Self { cell: shared.cell(cell_index), system: shared.system, shared, cell_index, number }
    }

    /// The number of the frame: how many the arenas had begun before.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// About how many bytes are in use, padding included; what came back is not. Exact while nobody else allocates.
    pub fn allocated_bytes(&self) -> usize {
        self.cell().used_bytes()
    }

    /// Moves `value` into the frame.
    ///
    /// # Panics
    ///
    /// As [the whole frame](Frame#what-can-be-allocated) says, if there is no such memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// # let system = JobSystem::builder().workers(1).build().unwrap();
    /// # let arenas = FrameArenas::new(&system, 1).unwrap();
    /// let frame = arenas.begin();
    /// let first = frame.alloc(1);
    /// let second = frame.alloc((&*first, 2));
    /// assert_eq!(*second.0 + second.1, 3);
    /// ```
    ///
    /// Values that need to be dropped would leak, and are refused at compile time:
    ///
    /// ```compile_fail,E0080
    /// # use ramie::{FrameArenas, JobSystem};
    /// # let system = JobSystem::builder().workers(1).build().unwrap();
    /// # let arenas = FrameArenas::new(&system, 1).unwrap();
    /// let frame = arenas.begin();
    /// frame.alloc(String::from("needs to be dropped"));
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc<T>(&self, value: T) -> &mut T {
        self.alloc_with(|| value)
    }

    /// Calls `init` and puts its value into the frame, where its place was reserved before.
    ///
    /// # Panics
    ///
    /// With the panic of `init`, and as [the whole frame](Frame#what-can-be-allocated) says.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// # let system = JobSystem::builder().workers(1).build().unwrap();
    /// # let arenas = FrameArenas::new(&system, 1).unwrap();
    /// let frame = arenas.begin();
    /// let both = frame.alloc_with(|| (frame.alloc(1), frame.alloc_str("one")));
    /// assert_eq!((&*both.0, &*both.1), (&1, "one"));
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_with<T>(&self, init: impl FnOnce() -> T) -> &mut T {
        const {
            assert!(
                !mem::needs_drop::<T>(),
                "a frame does not drop what is in it: put values that need that into a `Box` or `Vec` of `allocator_api2`"
            );
        }
        self.alloc_uninit::<T>().write(init())
    }

    /// Memory for a value.
    ///
    /// # Panics
    ///
    /// As [the whole frame](Frame#what-can-be-allocated) says, if there is no such memory.
    #[inline]
    #[track_caller]
    #[expect(clippy::mut_from_ref, reason = "each call hands out other memory")]
    pub fn alloc_uninit<T>(&self) -> &mut MaybeUninit<T> {
        let place = self.reserve(Layout::new::<T>()).cast::<MaybeUninit<T>>();
        // SAFETY: memory of this layout that nobody else has, until the frame ends, for which it must not be borrowed.
        unsafe { &mut *place.as_ptr() }
    }

    /// Memory for `len` values.
    ///
    /// # Panics
    ///
    /// As [the whole frame](Frame#what-can-be-allocated) says, if there is no such memory.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// # let system = JobSystem::builder().workers(1).build().unwrap();
    /// # let arenas = FrameArenas::new(&system, 1).unwrap();
    /// let frame = arenas.begin();
    /// let places = frame.alloc_uninit_slice::<u32>(4);
    /// assert_eq!(*places[3].write(7), 7);
    /// ```
    #[inline]
    #[track_caller]
    #[expect(clippy::mut_from_ref, reason = "each call hands out other memory")]
    pub fn alloc_uninit_slice<T>(&self, len: usize) -> &mut [MaybeUninit<T>] {
        let Ok(layout) = Layout::array::<T>(len) else { capacity_overflow() };
        let places = self.reserve(layout).cast::<MaybeUninit<T>>();
        // SAFETY: as in `alloc_uninit`, for `len` values.
        unsafe { slice::from_raw_parts_mut(places.as_ptr(), len) }
    }

    /// Copies a slice into the frame.
    ///
    /// # Panics
    ///
    /// As [the whole frame](Frame#what-can-be-allocated) says, if there is no such memory.
    #[inline]
    #[track_caller]
    #[expect(clippy::mut_from_ref, reason = "each call hands out other memory")]
    pub fn alloc_slice_copy<T: Copy>(&self, values: &[T]) -> &mut [T] {
        let places = self.alloc_uninit_slice::<T>(values.len()).as_mut_ptr().cast::<T>();
        // SAFETY: room for as many values, which is fresh, so that they do not overlap; then they are initialised.
        unsafe {
            ptr::copy_nonoverlapping(values.as_ptr(), places, values.len());
            slice::from_raw_parts_mut(places, values.len())
        }
    }

    /// Copies a string into the frame.
    ///
    /// # Panics
    ///
    /// As [the whole frame](Frame#what-can-be-allocated) says, if there is no such memory.
    #[inline]
    #[track_caller]
    #[expect(clippy::mut_from_ref, reason = "each call hands out other memory")]
    pub fn alloc_str(&self, text: &str) -> &mut str {
        let bytes = self.alloc_slice_copy(text.as_bytes());
        // SAFETY: the bytes of a string.
        unsafe { std::str::from_utf8_unchecked_mut(bytes) }
    }

    /// A slice of `len` values that `init` makes, in order, from their indices. Its place is reserved before.
    ///
    /// # Panics
    ///
    /// With the panic of `init`, and as [the whole frame](Frame#what-can-be-allocated) says.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// # let system = JobSystem::builder().workers(1).build().unwrap();
    /// # let arenas = FrameArenas::new(&system, 1).unwrap();
    /// let frame = arenas.begin();
    /// let rows = frame.alloc_slice_fill_with(3, |row| frame.alloc_slice_fill_with(4, |column| row * column));
    /// assert_eq!(rows[2], [0, 2, 4, 6]);
    /// ```
    #[inline]
    #[track_caller]
    #[expect(clippy::mut_from_ref, reason = "each call hands out other memory")]
    pub fn alloc_slice_fill_with<T>(&self, len: usize, mut init: impl FnMut(usize) -> T) -> &mut [T] {
        const {
            assert!(
                !mem::needs_drop::<T>(),
                "a frame does not drop what is in it: put values that need that into a `Vec` of `allocator_api2`"
            );
        }
        let places = self.alloc_uninit_slice::<T>(len);
        for (index, place) in places.iter_mut().enumerate() {
            place.write(init(index));
        }
        // SAFETY: each value was written.
        unsafe { slice::from_raw_parts_mut(places.as_mut_ptr().cast::<T>(), len) }
    }

    /// A slice of what the iterator gives, as many as it says. Its place is reserved before.
    ///
    /// # Panics
    ///
    /// If the iterator gives fewer values than it says. What it gives beyond is not asked for. With the panic of the
    /// iterator, and as [the whole frame](Frame#what-can-be-allocated) says.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// # let system = JobSystem::builder().workers(1).build().unwrap();
    /// # let arenas = FrameArenas::new(&system, 1).unwrap();
    /// let frame = arenas.begin();
    /// let doubled = frame.alloc_slice_fill_iter([1, 2, 3].iter().map(|n| n * 2));
    /// assert_eq!(doubled, [2, 4, 6]);
    /// ```
    #[inline]
    #[track_caller]
    pub fn alloc_slice_fill_iter<I>(&self, values: I) -> &mut [I::Item]
    where
        I: IntoIterator,
        I::IntoIter: ExactSizeIterator,
    {
        let mut values = values.into_iter();
        let len = values.len();
        self.alloc_slice_fill_with(len, |index| match values.next() {
            Some(value) => value,
            None => panic!("the iterator gave {index} values, and its `len` had said {len}"),
        })
    }

    /// Memory for `layout`.
    #[inline]
    #[track_caller]
    fn reserve(&self, layout: Layout) -> NonNull<u8> {
        match self.try_reserve(layout) {
            Ok(memory) => memory,
            Err(refused) => refuse(refused, layout),
        }
    }

    /// Memory for `layout`, out of whichever bump is the calling thread's now.
    #[inline]
    pub(super) fn try_reserve(&self, layout: Layout) -> Result<NonNull<u8>, Refused> {
        if layout.size() == 0 {
            // Aligned, and not null because no alignment is 0.
            return Ok(NonNull::new(ptr::without_provenance_mut(layout.align())).expect("not 0"));
        }
        let cell = self.cell();
        if let Some(bump) = cell.own_bump(self.system) {
            // SAFETY: this thread is the bump's worker, and runs nothing else in between.
            if let Some(memory) = unsafe { bump.take(layout) } {
                return Ok(memory);
            }
        }
        self.shared.reserve_slowly(cell, layout)
    }

    #[inline]
    pub(super) fn cell(&self) -> &FrameCell {
        // SAFETY: in `shared`, which is kept.
        unsafe { self.cell.as_ref() }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Frame {
    /// Frees everything that was allocated in the frame, and lets another one begin.
    fn drop(&mut self) {
        // SAFETY: whoever drops the frame owns it: no reference to it or from it is left.
        unsafe { self.shared.end_frame(self.cell_index) };
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frame")
            .field("number", &self.number)
            .field("allocated_bytes", &self.allocated_bytes())
            .finish_non_exhaustive()
    }
}

// What a panic may leave behind is allocated memory that nobody uses until the frame ends.
impl UnwindSafe for Frame {}
impl RefUnwindSafe for Frame {}

#[cold]
#[track_caller]
fn refuse(refused: Refused, layout: Layout) -> ! {
    match refused {
        Refused::TooLarge => capacity_overflow(),
        Refused::OutOfMemory => handle_alloc_error(layout),
    }
}

#[cold]
#[track_caller]
fn capacity_overflow() -> ! {
    panic!("capacity overflow: no block of a frame can be that large")
}
