//! The state word of a job: who may run it, who waits for it, and who frees its block.
//!
//! ```text
//!   63           32 31        11 10       0
//!   +--------------+------------+---------+
//!   |  waiter's id | generation |  flags  |
//!   +--------------+------------+---------+
//!
//!                submit                claim (one compare-exchange)              complete
//!   Free(g) ---------------> Pending ------------------------------> Claimed ----------------> Done(outcome)
//!     ^                                                                                           |
//!     +------------------ freed by whoever is last of: handle, queue entry, runner ----------------+
//! ```
//!
//! - **Claim.** A pending job is run, cancelled or abandoned by exactly one: the one whose
//!   compare-exchange takes PENDING away. A job without a handle (DETACHED) that is popped from a
//!   queue needs none, since nobody else knows of it, unless a token does (WATCHED).
//! - **QUEUED** says that a queue (or the links of a continuation) still refers to the block. Whoever pops
//!   an entry of a job that was claimed elsewhere only lets go of it.
//! - **Block.** It is free when it is Done, DETACHED, and not QUEUED. The step that makes the last
//!   of the three true is one read-modify-write, and whoever does it frees the block. Who runs a job that is detached and not
//!   queued is the only one to know of it, and frees the block without saying that it is done.
//! - **Waiter.** The handle's owner stores its node's id; `complete` takes it out with the same
//!   read-modify-write that sets DONE, which is its last touch of the block unless it frees it.
//! - **Generation.** Grows whenever the block is freed. An abandoning shutdown looks at every block
//!   there is, and acts by compare-exchange of the whole word, so it cannot hit a successor.
//!
//! loom holds this in `state/model.rs`.

use crate::primitives::{AtomicU64, Ordering};

const PENDING: u64 = 1 << 0;
const QUEUED: u64 = 1 << 1;
const DETACHED: u64 = 1 << 2;
const DONE: u64 = 1 << 3;
const OUTCOME_SHIFT: u32 = 4;
const OUTCOME_MASK: u64 = 0b11 << OUTCOME_SHIFT;
/// The handle was told 'abandoned' while the job still runs; the runner drops the result.
const GIVEN_UP: u64 = 1 << 6;
/// The job comes after counters that have not all reached zero: no queue knows it yet.
const HELD: u64 = 1 << 7;
/// The block holds a job.
const LIVE: u64 = 1 << 8;
/// The handle's owner waits for the job's real end, because the job borrows: it is never told early.
const BORROWS: u64 = 1 << 9;
/// A [`CancelToken`](crate::sync::CancelToken) knows of the job, too: it is claimed by a read-modify-write, whoever does it.
const WATCHED: u64 = 1 << 10;
const GENERATION_ONE: u64 = 1 << 11;
const GENERATION_MASK: u64 = 0x1f_ffff << 11;
const WAITER_SHIFT: u32 = 32;
const WAITER_MASK: u64 = !0 << WAITER_SHIFT;

/// Who will know of a job besides its queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// A handle of a job that owns all it uses. It is told at once when the job is abandoned.
    Handle,
    /// A handle of a job that borrows, whose real end somebody waits for.
    BorrowingHandle,
    Nobody,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Returned = 0,
    Panicked = 1,
    Cancelled = 2,
    Abandoned = 3,
}

impl Outcome {
    fn of(word: u64) -> Self {
        match (word & OUTCOME_MASK) >> OUTCOME_SHIFT {
            0 => Outcome::Returned,
            1 => Outcome::Panicked,
            2 => Outcome::Cancelled,
            _ => Outcome::Abandoned,
        }
    }
}

/// What a queue's consumer must do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    /// Run (or drop) it: it is yours.
    Yours,
    /// Claimed elsewhere; nothing to do.
    Stale,
    /// Claimed elsewhere, ended, and this entry was the last to refer to it: free the block.
    StaleFree,
}

/// What the one who ran a job must do after it has stored the outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Completed {
    /// Somebody waits: wake the node with this id.
    pub(crate) waiter: u32,
    /// Nobody will ask for the result. It must have been dropped, see [`JobState::result_is_unwanted`].
    pub(crate) free: bool,
}

/// What a handle finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Pending,
    Running,
    Done(Outcome),
}

/// See the [module](self).
pub(crate) struct JobState(AtomicU64);

impl JobState {
    pub(crate) fn free() -> Self {
        Self(AtomicU64::new(0))
    }

    /// Free -> Pending. Only the block's owner calls this, before anybody else knows of the job.
    #[inline]
    pub(crate) fn submit(&self, owner: Owner, held: bool) {
        self.submit_with(owner, held, 0);
    }

    #[inline]
    fn submit_with(&self, owner: Owner, held: bool, watched: u64) {
        let word = self.0.load(Ordering::Relaxed) & GENERATION_MASK;
        let kind = match owner {
            Owner::Handle => 0,
            Owner::BorrowingHandle => BORROWS,
            Owner::Nobody => DETACHED,
        };
        let place = if held { HELD } else { QUEUED };
        // ORDERING: Release, for shutdowns that look at all blocks; queues publish it by themselves.
        self.0.store(word | LIVE | PENDING | place | kind | watched, Ordering::Release);
    }

    /// As [`submit`](Self::submit), for a job that a token knows already.
    pub(crate) fn submit_watched(&self, owner: Owner, held: bool) {
        self.submit_with(owner, held, WATCHED);
    }

    /// Held -> queued: all counters have reached zero. False if the job was claimed meanwhile (by cancel
    /// or abandon); [`drop_held`](Self::drop_held) comes next then.
    #[must_use]
    pub(crate) fn release_held(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & PENDING == 0 {
                return false;
            }
            let next = word & !HELD | QUEUED;
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// A queue's consumer took an entry.
    #[inline]
    pub(crate) fn pop(&self) -> Popped {
        // ORDERING: Acquire for the detached case, which has no read-modify-write: it sees all that the
        // handle's owner did before it let go.
        let word = self.0.load(Ordering::Acquire);
        if word & (PENDING | DETACHED | WATCHED) == PENDING | DETACHED {
            // INVARIANT: nobody but the entry's owner knows of a detached, queued job that no token watches.
            self.0.store(word & !(PENDING | QUEUED), Ordering::Relaxed);
            return Popped::Yours;
        }
        self.pop_shared(word)
    }

    fn pop_shared(&self, mut word: u64) -> Popped {
        loop {
            let yours = word & PENDING != 0;
            let next = word & !(PENDING | QUEUED);
            // ORDERING: AcqRel: the claim orders this thread after the submitter and before whoever
            // sees the block as unqueued.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) if yours => return Popped::Yours,
                Ok(_) if next & DONE != 0 && next & DETACHED != 0 => return Popped::StaleFree,
                Ok(_) => return Popped::Stale,
                Err(now) => word = now,
            }
        }
    }

    /// Takes a pending job away from its queue, to run, cancel or abandon it; tells whether the job was held
    /// back by counters.
    #[must_use]
    pub(crate) fn claim(&self) -> Option<Claimed> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & PENDING == 0 {
                return None;
            }
            match self.0.compare_exchange_weak(word, word & !PENDING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Some(Claimed { held: word & HELD != 0 }),
                Err(now) => word = now,
            }
        }
    }

    /// As [`claim`](Self::claim), for running: only a job that is not held back.
    #[must_use]
    pub(crate) fn claim_queued(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & PENDING == 0 || word & HELD != 0 {
                return false;
            }
            match self.0.compare_exchange_weak(word, word & !PENDING, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// The links of a held job that was claimed have all let go; true if the block is free now.
    pub(crate) fn drop_held(&self) -> bool {
        // ORDERING: AcqRel, as in `pop_shared`.
        let before = self.0.fetch_and(!HELD, Ordering::AcqRel);
        before & DONE != 0 && before & DETACHED != 0
    }

    /// Whether the result should be dropped rather than kept. To be asked before [`complete`](Self::complete).
    #[inline]
    pub(crate) fn result_is_unwanted(&self) -> bool {
        // ORDERING: Acquire: the handle's owner is done with the block.
        self.0.load(Ordering::Acquire) & (DETACHED | GIVEN_UP) != 0
    }

    /// Whether whoever runs the job is the only one who knows of it: no handle, no queue. Then it stays so, and its block may
    /// be [recycled](Self::recycle) without being completed before.
    #[inline]
    pub(crate) fn is_known_to_nobody(&self) -> bool {
        // ORDERING: Acquire: the handle's owner is done with the block.
        self.0.load(Ordering::Acquire) & !(GENERATION_MASK | BORROWS) == LIVE | DETACHED
    }

    /// Claimed -> Done. `kept` says that the block holds a result for the handle. `None`: nobody wants it since
    /// [`result_is_unwanted`](Self::result_is_unwanted) said no; drop it and call this again.
    #[inline]
    #[must_use]
    pub(crate) fn complete(&self, outcome: Outcome, kept: bool) -> Option<Completed> {
        let mut word = self.0.load(Ordering::Relaxed);
        if !kept && word & (DETACHED | QUEUED | HELD) == DETACHED {
            // INVARIANT: detached and unqueued: nobody else refers to the block.
            self.0.store(word | DONE | (outcome as u64) << OUTCOME_SHIFT, Ordering::Relaxed);
            return Some(Completed { waiter: 0, free: true });
        }
        loop {
            if word & (DETACHED | GIVEN_UP) != 0 && kept {
                return None;
            }
            let end = if word & GIVEN_UP != 0 { Outcome::Abandoned } else { outcome };
            let next = word & !(WAITER_MASK | OUTCOME_MASK) | DONE | (end as u64) << OUTCOME_SHIFT;
            // ORDERING: AcqRel: Release hands the result to the handle; Acquire is for freeing.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => {
                    let free = next & DETACHED != 0 && next & (QUEUED | HELD) == 0;
                    return Some(Completed { waiter: (word >> WAITER_SHIFT) as u32, free });
                }
                Err(now) => word = now,
            }
        }
    }

    /// The handle's owner looks.
    pub(crate) fn look(&self) -> Look {
        // ORDERING: Acquire pairs with the Release in `complete`.
        let word = self.0.load(Ordering::Acquire);
        if word & DONE != 0 {
            Look::Done(Outcome::of(word))
        } else if word & GIVEN_UP != 0 {
            Look::Done(Outcome::Abandoned)
        } else if word & PENDING != 0 {
            Look::Pending
        } else {
            Look::Running
        }
    }

    /// The handle's owner will wait under this id; false if there is nothing to wait for any more.
    #[must_use]
    pub(crate) fn set_waiter(&self, waiter: u32) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (DONE | GIVEN_UP) != 0 {
                return false;
            }
            debug_assert_eq!(word & WAITER_MASK, 0, "a job has one handle, a handle one waiter");
            let next = word | u64::from(waiter) << WAITER_SHIFT;
            // ORDERING: Release hands the waiter's node to `complete`.
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// Takes back what [`set_waiter`](Self::set_waiter) has said; gives the waiter if nobody has taken it to wake it, and 0 otherwise.
    #[must_use = "the waiter is the caller's"]
    pub(crate) fn take_waiter(&self) -> u32 {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & WAITER_MASK == 0 {
                return 0;
            }
            let next = word & !WAITER_MASK;
            // ORDERING: Relaxed: the waiter is what this thread, or the one that has handed it the handle, has put there.
            match self.0.compare_exchange_weak(word, next, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return (word >> WAITER_SHIFT) as u32,
                Err(now) => word = now,
            }
        }
    }

    /// The handle is dropped before the job ended; true if that is so. If it has ended, the caller drops the
    /// result first and then calls [`let_go`](Self::let_go). If somebody is still registered as waiting, which can only be a future, nothing
    /// is changed and the answer is false as well.
    #[inline]
    #[must_use]
    pub(crate) fn detach_unfinished(&self) -> bool {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            if word & (DONE | WAITER_MASK) != 0 {
                return false;
            }
            // ORDERING: Release: the handle's owner is done with the block.
            match self.0.compare_exchange_weak(word, word | DETACHED, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => word = now,
            }
        }
    }

    /// The handle of an ended job is gone, the result taken; true if the block is free now.
    #[must_use]
    pub(crate) fn let_go(&self) -> bool {
        // ORDERING: AcqRel, as in `pop_shared`.
        let before = self.0.fetch_or(DETACHED, Ordering::AcqRel);
        debug_assert_ne!(before & DONE, 0);
        before & (QUEUED | HELD) == 0
    }

    /// Any -> Free, with a new generation. Only whoever was told to free calls this.
    #[inline]
    pub(crate) fn recycle(&self) {
        let word = self.0.load(Ordering::Relaxed);
        let generation = word.wrapping_add(GENERATION_ONE) & GENERATION_MASK;
        self.0.store(generation, Ordering::Release);
    }

    /// A shutdown that abandons looks at the block, whatever it is.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.0.load(Ordering::Acquire))
    }

    /// Claims the job of the snapshot, for dropping it.
    #[must_use]
    pub(crate) fn claim_seen(&self, seen: Snapshot) -> Option<Claimed> {
        let next = seen.0 & !PENDING;
        // ORDERING: AcqRel, as in `claim`.
        self.0.compare_exchange(seen.0, next, Ordering::AcqRel, Ordering::Relaxed).ok()?;
        Some(Claimed { held: seen.0 & HELD != 0 })
    }

    /// Tells the handle of a running job that it is abandoned; gives the waiter to wake. `Err` if the word
    /// has changed since the snapshot.
    pub(crate) fn give_up_seen(&self, seen: Snapshot) -> Result<u32, ()> {
        let next = seen.0 & !WAITER_MASK | GIVEN_UP;
        // ORDERING: AcqRel: Acquire for the waiter's node.
        match self.0.compare_exchange(seen.0, next, Ordering::AcqRel, Ordering::Relaxed) {
            Ok(_) => Ok((seen.0 >> WAITER_SHIFT) as u32),
            Err(_) => Err(()),
        }
    }
}

/// A successful claim.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claimed {
    /// No queue refers to the job: it waited for counters.
    pub(crate) held: bool,
}

/// A state word as it was at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Snapshot(u64);

impl Snapshot {
    /// The block holds a job.
    pub(crate) fn is_live(self) -> bool {
        self.0 & LIVE != 0
    }

    /// Somebody else may claim it, and has something to say to its handle or its counters.
    pub(crate) fn is_pending(self) -> bool {
        self.0 & PENDING != 0
    }

    /// Only its queue knows of it, and the queue's consumer will drop it.
    pub(crate) fn is_left_to_its_queue(self) -> bool {
        self.0 & DETACHED != 0 && self.0 & HELD == 0
    }

    /// It runs, and there is a handle to be told. Not if it borrows: then its end is waited for.
    pub(crate) fn is_running_with_handle(self) -> bool {
        self.0 & (LIVE | BORROWS | PENDING | DONE | DETACHED | GIVEN_UP) == LIVE
    }
}

#[cfg(all(test, loom))]
mod model;
