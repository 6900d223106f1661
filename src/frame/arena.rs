//! `FrameArenas`: the memory of a few frames, used over and over.
//!
//! ```text
//!    FrameArenas ──> Shared: pool of blocks, free cells, figures     (one lock, held for some steps)
//!                      │ one cell per frame in flight
//!                      v
//!    Frame ─────────> FrameCell: a bump per worker, and a locked one for everybody else
//! ```
//!
//! `begin` takes a free cell. While the frame lives its bumps fetch blocks from the pool, one at a time; when it is dropped
//! they all go back and the cell is free again. How many cells are taken is what a `Counter` says, for which `begin` waits.

#![expect(unsafe_code, reason = "one who ends a frame owns its bumps")]

use super::block::{BLOCK_ALIGN, Block, HEADER_BYTES};
use super::bump::Bump;
use super::pool::{self, Pool};
use super::{Frame, FrameError, FrameStats};
use crate::primitives::{Mutex, lock};
use crate::sched::current;
use crate::{Counter, JobSystem};
use crossbeam_utils::CachePadded;
use std::alloc::Layout;
use std::fmt;
use std::panic::{Location, RefUnwindSafe, UnwindSafe};
use std::ptr::NonNull;
use std::sync::Arc;

/// The memory of the frames of one job system: a fixed number of frames in flight, and a pool of blocks that they share.
///
/// A *frame* is one tick of a simulation, and a frame arena is memory that lives as long as one: whatever is
/// allocated in a [`Frame`] is freed at once when that is dropped, in whole blocks, so allocating is a few
/// instructions and freeing none. Each worker of the system allocates from a block of its own, without a lock or an
/// atomic operation; other threads share one locked block per frame.
///
/// Clones are handles to the same arenas. Neither they nor their frames keep the system alive; either may outlive it.
///
/// # Memory
///
/// A worker that allocates in a frame takes a block from the pool, preferably one that it has used before, and another when
/// that is full. When the frame is dropped, all its blocks go back to the pool. Allocations that are too large for a block
/// get one of their own, of the next power of two of bytes; these go back to the pool too, and serve later ones of
/// the same size. So as soon as the pool has what the frames need at most at a time, frames and allocations do not touch
/// the heap. Blocks are kept until [`trim`](Self::trim) frees those in the pool, or until the last handle and
/// the last frame are gone.
///
/// # Examples
///
/// ```
/// use ramie::{FrameArenas, JobSystem};
///
/// let system = JobSystem::new()?;
/// let arenas = FrameArenas::new(&system, 2)?;
/// for tick in 0..100_u64 {
///     let frame = arenas.begin();
///     let heights = frame.alloc_slice_fill_with(1000, |i| tick + i as u64);
///     system.par(&*heights).for_each(|height| {
///         let label = frame.alloc_str("allocated by whichever worker runs this");
///         assert!(*height >= tick && !label.is_empty());
///     });
/// } // everything is freed here, once per tick
/// assert_eq!(arenas.stats().frames_begun, 100);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct FrameArenas {
    shared: Arc<Shared>,
}

/// What handles and frames share.
pub(super) struct Shared {
    /// The index of the system: unlike the address of anything, no other system ever has it.
    pub(super) system: u32,
    workers: usize,
    block_bytes: usize,
    cells: Box<[FrameCell]>,
    /// How many cells are taken, or more for a moment while one is given back. Raised under the lock.
    in_flight: Counter,
    state: Mutex<State>,
}

/// The bumps of one frame in flight.
pub(super) struct FrameCell {
    /// One for each worker, which alone moves it while the frame lives.
    bumps: Box<[CachePadded<Bump>]>,
    /// For all other threads.
    shared: CachePadded<Mutex<Bump>>,
}

struct State {
    pool: Pool,
    /// Indices of cells that no frame has.
    free_cells: Vec<u32>,
    frames_begun: u64,
    last_frame_bytes: usize,
    most_frame_bytes: usize,
}

/// Why there is no memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// No block can be that large.
    TooLarge,
    /// The system allocator has none.
    OutOfMemory,
}

impl FrameArenas {
    /// The greatest number of frames in flight: 64.
    pub const FRAMES_MAX: usize = 64;
    /// The size of a block in bytes, unless [`with_block_size`](Self::with_block_size) says otherwise: 2 MiB.
    pub const BLOCK_SIZE_DEFAULT: usize = 2 << 20;
    /// The smallest size of a block in bytes: 4 KiB.
    pub const BLOCK_SIZE_MIN: usize = 4 << 10;
    /// The largest size of a block in bytes: 1 GiB.
    pub const BLOCK_SIZE_MAX: usize = 1 << 30;

    /// Arenas for `frames_in_flight` frames at a time, 1 to [`FRAMES_MAX`](Self::FRAMES_MAX), with blocks of 2 MiB.
    ///
    /// Allocates no block; frames do when they need one.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the number of frames is out of range.
    pub fn new(system: &JobSystem, frames_in_flight: usize) -> Result<Self, FrameError> {
        Self::with_block_size(system, frames_in_flight, Self::BLOCK_SIZE_DEFAULT)
    }

    /// As [`new`](Self::new), with blocks of `block_bytes` bytes,
    /// [`BLOCK_SIZE_MIN`](Self::BLOCK_SIZE_MIN) to [`BLOCK_SIZE_MAX`](Self::BLOCK_SIZE_MAX), rounded up to a multiple
    /// of 64. Of these, 64 are the block's own.
    ///
    /// Each worker takes at least one block in each frame in which it allocates anything, of which only the pages that
    /// are touched cost memory. What does not fit into a fresh block gets one of its own.
    ///
    /// # Errors
    ///
    /// [`FrameError`] if the number of frames or the size of blocks is out of range.
    ///
    /// # Examples
    ///
    /// ```
    /// use ramie::{FrameArenas, FrameError, JobSystem};
    ///
    /// let system = JobSystem::builder().workers(2).build()?;
    /// let arenas = FrameArenas::with_block_size(&system, 3, 64 * 1024)?;
    /// let refused = FrameArenas::with_block_size(&system, 3, 100);
    /// assert!(matches!(refused, Err(FrameError::BlockSize { requested: 100, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn with_block_size(
        system: &JobSystem,
        frames_in_flight: usize,
        block_bytes: usize,
    ) -> Result<Self, FrameError> {
        if frames_in_flight == 0 {
            return Err(FrameError::NoFrames);
        }
        if frames_in_flight > Self::FRAMES_MAX {
            return Err(FrameError::TooManyFrames { requested: frames_in_flight, max: Self::FRAMES_MAX });
        }
        let (min, max) = (Self::BLOCK_SIZE_MIN, Self::BLOCK_SIZE_MAX);
        if !(min..=max).contains(&block_bytes) {
            return Err(FrameError::BlockSize { requested: block_bytes, min, max });
        }
        let workers = system.core().remotes.len();
        let state = State {
            pool: Pool::new(workers),
            free_cells: (0..frames_in_flight as u32).rev().collect(),
            frames_begun: 0,
            last_frame_bytes: 0,
            most_frame_bytes: 0,
        };
        let shared = Shared {
            system: system.core().index,
            workers,
            block_bytes: block_bytes.next_multiple_of(BLOCK_ALIGN),
            cells: (0..frames_in_flight).map(|_| FrameCell::new(workers)).collect(),
            in_flight: Counter::new(0),
            state: Mutex::new(state),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Begins a frame; waits while there are as many as there may be. Which of several that wait comes first is
    /// not defined.
    ///
    /// # Suspends
    ///
    /// Inside a job, while too many frames are in flight. Elsewhere, and while the thread unwinds, it blocks the thread.
    /// It waits for ever if nobody else drops a frame: a job that holds all frames in flight and begins another, or one that is a
    /// frame of a [`FramePipeline`](crate::FramePipeline) on these very arenas, which has them all in the long run. Such a job
    /// has arenas of its own. [`try_begin`](Self::try_begin) does not wait.
    ///
    /// # Panics
    ///
    /// With `FiberLimit` if it had to suspend the last fiber of this worker and no other can be made.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// let system = JobSystem::new()?;
    /// let arenas = FrameArenas::new(&system, 2)?;
    /// let frame = arenas.begin();
    /// let answer: &mut i32 = frame.alloc(41);
    /// *answer += 1;
    /// assert_eq!(*answer, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[track_caller]
    pub fn begin(&self) -> Frame {
        self.begin_from(Location::caller(), "FrameArenas::begin")
    }

    /// As [`begin`](Self::begin), in the name of another wait.
    #[track_caller]
    pub(super) fn begin_from(&self, site: &'static Location<'static>, what: &str) -> Frame {
        loop {
            if let Some(frame) = self.try_begin() {
                return frame;
            }
            // LIVENESS: all cells are taken, so the count was at least their number when `try_begin` looked; each frame
            // that ends gives its cell back before it signals. So this returns after some cell was given back.
            self.shared.in_flight.wait_until_from(self.frames_in_flight() - 1, site, what);
        }
    }

    /// Begins a frame, if not too many are in flight.
    ///
    /// # Examples
    ///
    /// ```
    /// # use ramie::{FrameArenas, JobSystem};
    /// let system = JobSystem::new()?;
    /// let arenas = FrameArenas::new(&system, 1)?;
    /// let first = arenas.try_begin().expect("there is none yet");
    /// assert!(arenas.try_begin().is_none());
    /// drop(first);
    /// assert!(arenas.try_begin().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_begin(&self) -> Option<Frame> {
        let mut state = lock(&self.shared.state);
        let cell = state.free_cells.pop()?;
        // Under the lock, so that whoever finds no cell finds the count too high.
        self.shared.in_flight.add(1);
        let number = state.frames_begun;
        state.frames_begun += 1;
        drop(state);
        Some(Frame::new(Arc::clone(&self.shared), cell, number))
    }

    /// How many frames there may be at a time.
    pub fn frames_in_flight(&self) -> usize {
        self.shared.cells.len()
    }

    /// The size of a block in bytes.
    pub fn block_size(&self) -> usize {
        self.shared.block_bytes
    }

    /// Frees the blocks that no frame uses, and returns how many bytes that were.
    ///
    /// Frames that need more than is left allocate again, so this is for when the need has changed: after a level was loaded,
    /// or when a window was hidden.
    pub fn trim(&self) -> usize {
        let mut freed_bytes = 0;
        loop {
            let Some(block) = lock(&self.shared.state).pool.evict() else { return freed_bytes };
            freed_bytes += block.bytes();
            block.free();
        }
    }

    /// Figures about the frames so far and the memory that they take.
    pub fn stats(&self) -> FrameStats {
        let state = lock(&self.shared.state);
        let (plain, oversize) = (state.pool.plain_count, state.pool.oversize_count);
        FrameStats {
            frames_begun: state.frames_begun,
            frames_in_flight: self.shared.cells.len() - state.free_cells.len(),
            last_frame_bytes: state.last_frame_bytes,
            most_frame_bytes: state.most_frame_bytes,
            blocks_in_use: plain.all - plain.pooled,
            blocks_pooled: plain.pooled,
            oversize_blocks_in_use: oversize.all - oversize.pooled,
            oversize_blocks_pooled: oversize.pooled,
            reserved_bytes: state.pool.reserved_bytes,
        }
    }

    /// The index of the system.
    pub(super) fn system(&self) -> u32 {
        self.shared.system
    }
}

impl fmt::Debug for FrameArenas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FrameArenas")
            .field("frames_in_flight", &self.frames_in_flight())
            .field("block_size", &self.block_size())
            .field("stats", &self.stats())
            .finish()
    }
}

// What a panic may leave behind is allocated memory that nobody uses until the frame ends.
impl UnwindSafe for FrameArenas {}
impl RefUnwindSafe for FrameArenas {}

impl FrameCell {
    fn new(workers: usize) -> Self {
        Self {
            bumps: (0..workers).map(|_| CachePadded::new(Bump::new())).collect(),
            shared: CachePadded::new(Mutex::new(Bump::new())),
        }
    }

    /// The bump of the worker that the calling thread is, if it is one of this system.
    #[inline]
    pub(super) fn own_bump(&self, system: u32) -> Option<&Bump> {
        let worker = current::worker()?;
        if !worker.belongs_to_index(system) {
            return None;
        }
        self.bumps.get(worker.index()).map(|bump| &**bump)
    }

    /// How many bytes were handed out, padding included.
    pub(super) fn used_bytes(&self) -> usize {
        self.bumps.iter().map(|bump| bump.used_bytes()).sum::<usize>() + lock(&self.shared).used_bytes()
    }
}

impl Shared {
    pub(super) fn cell(&self, index: u32) -> NonNull<FrameCell> {
        NonNull::from(&self.cells[index as usize])
    }

    /// Memory for `layout`, whose size is not 0, when the own bump has no room or there is none.
    #[cold]
    #[inline(never)]
    pub(super) fn reserve_slowly(&self, cell: &FrameCell, layout: Layout) -> Result<NonNull<u8>, Refused> {
        if let Some(bump) = cell.own_bump(self.system) {
            let home = current::worker().map_or(self.workers, |worker| worker.index());
            // SAFETY: this thread is the bump's worker, and runs nothing of users before it is done.
            return unsafe { self.refill(bump, home, layout) };
        }
        let bump = lock(&cell.shared);
        // SAFETY: the lock makes this thread the owner.
        unsafe {
            match bump.take(layout) {
                Some(memory) => Ok(memory),
                None => self.refill(&bump, self.workers, layout),
            }
        }
    }

    /// Calls `f` with the bump that this thread allocates from, as its owner. `f` runs no code of users.
    pub(super) fn with_bump<R>(&self, cell: &FrameCell, f: impl FnOnce(&Bump) -> R) -> R {
        match cell.own_bump(self.system) {
            Some(bump) => f(bump),
            None => f(&lock(&cell.shared)),
        }
    }

    /// # Safety
    ///
    /// The caller is the owner of the bump.
    unsafe fn refill(&self, bump: &Bump, home: usize, layout: Layout) -> Result<NonNull<u8>, Refused> {
        let needed = pool::needed_bytes(layout).ok_or(Refused::TooLarge)?;
        if needed > self.block_bytes - HEADER_BYTES {
            let bytes = pool::oversize_bytes(needed).ok_or(Refused::TooLarge)?;
            let pooled = lock(&self.state).pool.take_oversize(bytes);
            let block = self.or_new(pooled, bytes, true)?;
            // SAFETY: promised by the caller.
            return Ok(unsafe { bump.add_oversize(block, layout) });
        }
        let pooled = lock(&self.state).pool.take_plain(home);
        let block = self.or_new(pooled, self.block_bytes, false)?;
        // SAFETY: promised by the caller.
        unsafe {
            bump.install(block);
            Ok(bump.take(layout).expect("a fresh block has room for what is not oversize"))
        }
    }

    fn or_new(&self, pooled: Option<Block>, bytes: usize, oversize: bool) -> Result<Block, Refused> {
        if let Some(block) = pooled {
            return Ok(block);
        }
        let block = Block::allocate(bytes, oversize).ok_or(Refused::OutOfMemory)?;
        lock(&self.state).pool.count_new(bytes, oversize);
        Ok(block)
    }

    /// Frees everything of a frame.
    ///
    /// # Safety
    ///
    /// The frame of this cell is being dropped: nobody allocates in it, and nothing of its memory is borrowed.
    pub(super) unsafe fn end_frame(&self, index: u32) {
        let cell = &self.cells[index as usize];
        let shared = lock(&cell.shared);
        let bumps = || cell.bumps.iter().map(|bump| &**bump).chain([&*shared]).enumerate();
        // SAFETY: promised by the caller: all bumps are this thread's now.
        let bytes = bumps().map(|(_, bump)| unsafe { bump.seal() }).sum();
        let mut state = lock(&self.state);
        for (home, bump) in bumps() {
            // SAFETY: as above.
            while let Some(block) = unsafe { bump.pop_block() } {
                state.pool.give_back(block, home);
            }
        }
        drop(shared);
        state.last_frame_bytes = bytes;
        state.most_frame_bytes = state.most_frame_bytes.max(bytes);
        state.free_cells.push(index);
        drop(state);
        self.in_flight.signal();
    }
}
