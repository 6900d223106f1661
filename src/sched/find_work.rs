//! What a worker does next, and how it searches, lingers and sleeps when there is nothing.
//!
//! Order of a turn: ready fibers and inbox, pinned jobs, the own deque newest first, the injector,
//! stealing, fibers that yielded. Every [`FAIR_EVERY`] turns the injector and the *oldest* job of the own
//! deque come first instead, so that neither starves behind fibers that wake each other or a deque that never
//! runs empty.

#![expect(unsafe_code, reason = "turns queue entries back into fibers and jobs")]

use super::deque::Steal;
use super::sleep::Woken;
use super::worker::{Worker, tally};
use crate::fiber::Fiber;
use crate::job::{JobPtr, JobRef};
use crate::primitives::{spin_loop, yield_thread};
use crate::system::core::Phase;
use std::time::{Duration, Instant};

/// Every so many turns the oldest work comes first; a prime, so as not to beat with periodic loads.
pub(crate) const FAIR_EVERY: u32 = 61;
/// How many jobs a worker takes from the injector at once.
const INJECTOR_BATCH: usize = 32;
/// The last searcher lingers this many times longer than the others while anyone is active.
const LINGER_FACTOR: u32 = 20;
/// Busy-wait instructions between two looks at the queues.
const SPINS_PER_LOOK: u32 = 16;

/// What to do next.
pub(crate) enum Next {
    Fiber(&'static Fiber),
    Job(JobRef),
    Nothing,
    /// The system has stopped: every job has ended.
    Exit,
}

impl Worker {
    /// One turn's decision; does not wait.
    #[inline]
    pub(super) fn next(&self) -> Next {
        let turn = self.turn.get().wrapping_add(1);
        self.turn.set(turn);
        self.poll_inbox();
        if turn % FAIR_EVERY == 0 {
            if let Some(job) = self.oldest_first() {
                return Next::Job(job);
            }
        }
        if let Some(node) = self.ready.pop() {
            // SAFETY: the ready queue holds fibers in their slots.
            return Next::Fiber(unsafe { Fiber::from_node(node) });
        }
        if self.pinned.is_empty() {
            if let Some(job) = self.pop() {
                self.ready.take_over(&self.yielded);
                return Next::Job(job);
            }
        }
        self.next_from_afar()
    }

    /// The own deque is empty.
    #[inline(never)]
    fn next_from_afar(&self) -> Next {
        if let Some(job) = self.take_pinned() {
            self.ready.take_over(&self.yielded);
            return Next::Job(job);
        }
        self.flush_credit();
        if let Some(job) = self.take_injected().or_else(|| self.steal()) {
            self.ready.take_over(&self.yielded);
            return Next::Job(job);
        }
        if let Some(node) = self.yielded.pop() {
            // SAFETY: as in `next`.
            return Next::Fiber(unsafe { Fiber::from_node(node) });
        }
        if self.system().phase() == Phase::Stopping {
            return Next::Exit;
        }
        Next::Nothing
    }

    /// The turn of what has waited longest. What is asked first rotates, so that none of the three
    /// can keep another from ever being served.
    #[cold]
    fn oldest_first(&self) -> Option<JobRef> {
        self.ready.take_over(&self.yielded);
        let first = self.turn.get() / FAIR_EVERY % 3;
        (first..first + 3).find_map(|source| match source % 3 {
            0 => self.take_injected(),
            1 => self.take_own_oldest(),
            _ => self.take_pinned(),
        })
    }

    fn take_own_oldest(&self) -> Option<JobRef> {
        match self.remote().deque.steal() {
            // SAFETY: only jobs are pushed, and this thread has just taken this one.
            Steal::Item(raw) => Some(unsafe { JobRef::from_raw(raw) }),
            Steal::Empty | Steal::Retry => None,
        }
    }

    fn take_pinned(&self) -> Option<JobRef> {
        // SAFETY: the pinned queue holds jobs in their slots.
        self.pinned.pop().map(|node| unsafe { JobPtr::from_node(node) }.into())
    }

    /// Takes a few jobs from the injector: the oldest to run, the others for the own deque, so that
    /// they can be stolen and leave in order.
    fn take_injected(&self) -> Option<JobRef> {
        let core = self.system();
        if core.injector.is_empty() {
            return None;
        }
        let mut batch = [const { None }; INJECTOR_BATCH];
        let mut count = 0;
        core.injector.take(INJECTOR_BATCH, |node| {
            // SAFETY: the injector holds jobs in their slots.
            let job: JobRef = unsafe { JobPtr::from_node(node) }.into();
            if count < INJECTOR_BATCH {
                batch[count] = Some(job);
                count += 1;
            } else {
                self.push(job);
            }
        });
        let (first, rest) = batch.split_first_mut().expect("the batch is not empty");
        for job in rest[..count.saturating_sub(1)].iter_mut().rev() {
            self.push(job.take().expect("filled above"));
        }
        if !core.injector.is_empty() {
            self.wake_for_work();
        }
        first.take()
    }

    /// Tries every other worker's deque once, from a random one on.
    fn steal(&self) -> Option<JobRef> {
        let remotes = &self.system().remotes;
        let count = remotes.len();
        if count < 2 {
            return None;
        }
        let start = self.next_random() as usize % count;
        for victim in (start..count).chain(0..start) {
            if victim == self.index() {
                continue;
            }
            loop {
                match remotes[victim].deque.steal() {
                    Steal::Item(raw) => {
                        tally(&self.remote().tally.steals, 1);
                        // SAFETY: only jobs are pushed, and this thread has just taken this one.
                        return Some(unsafe { JobRef::from_raw(raw) });
                    }
                    Steal::Retry => spin_loop(),
                    Steal::Empty => break,
                }
            }
        }
        None
    }

    fn next_random(&self) -> u64 {
        // Marsaglia's xorshift64.
        let mut x = self.random.get();
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
        self.random.set(x);
        x
    }

    /// Whether a search would find something, or the system wants attention.
    fn has_work(&self) -> bool {
        let core = self.system();
        !self.ready.is_empty()
            || !self.remote().inbox.is_empty()
            || self.has_stealable_work()
            || core.phase() == Phase::Stopping
    }

    /// There is nothing to do: searches for a while, then sleeps until woken. Returns when it is worth
    /// taking another turn; the worker still counts as searching then if it did.
    #[cold]
    #[inline(never)]
    pub(super) fn idle(&self) {
        let since_ns = self.now_ns();
        if !self.searching.get() {
            self.searching.set(self.system().sleep.try_begin_search());
        }
        if !(self.searching.get() && self.search()) {
            let woken = self.sleep(self.searching.get());
            self.searching.set(woken == Woken::ToSearch);
        }
        tally(&self.remote().tally.idle_ns, self.now_ns().saturating_sub(since_ns));
    }

    /// The worker has found something to do.
    #[inline]
    pub(super) fn end_search(&self) {
        if self.searching.get() {
            self.end_search_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn end_search_slow(&self) {
        self.searching.set(false);
        let core = self.system();
        // LIVENESS: pushers that saw a searcher woke nobody. If this was the last one, it looks
        // whether there is more than what it has taken, and passes the search on.
        if core.sleep.end_search() && self.has_stealable_work() {
            if let Some(sleeper) = core.sleep.claim_sleeper() {
                self.unpark(sleeper);
            }
        }
    }

    /// Whether there is something that any worker could take.
    fn has_stealable_work(&self) -> bool {
        let core = self.system();
        !core.injector.is_empty() || core.remotes.iter().any(|remote| !remote.deque.is_empty())
    }

    /// Looks for work until there is some (true) or it is time to sleep (false).
    fn search(&self) -> bool {
        let core = self.system();
        if cfg!(shuttle) {
            // Time means nothing to a model checker: look twice and go to sleep.
            yield_thread();
            return self.has_work();
        }
        let begin = Instant::now();
        let limit = core.config.spin;
        let mut looks = 0_u32;
        loop {
            if self.has_work() {
                return true;
            }
            for _ in 0..SPINS_PER_LOOK {
                spin_loop();
            }
            looks += 1;
            if looks % 8 != 0 {
                continue;
            }
            let elapsed = begin.elapsed();
            if elapsed >= limit && (elapsed >= limit * LINGER_FACTOR || !self.may_linger()) {
                return false;
            }
            if elapsed >= limit / 2 {
                yield_thread();
            }
        }
    }

    /// The last searcher stays while others are active: they are likely to make work soon.
    fn may_linger(&self) -> bool {
        let core = self.system();
        let others_asleep = core.sleep.sleeping_count();
        core.sleep.is_last_searcher() && others_asleep + 1 < core.remotes.len()
    }

    /// Sleeps until somebody has work for this worker.
    fn sleep(&self, searching: bool) -> Woken {
        let core = self.system();
        core.sleep.announce(self.index(), searching);
        // LIVENESS: from here on pushers see this worker asleep and inboxes see PARKED. What was
        // pushed before is found by this last look (see README.md).
        if !self.inbox_try_park() || self.has_work() {
            self.remote().inbox.leave_parked();
            let woken = core.sleep.wake_self(self.index());
            // LIVENESS: it said that it no longer searches, and pushers woke nobody before that. If it goes
            // on to take what it has just seen, it must pass the search on like any searcher.
            if searching && woken == Woken::ByItself && core.sleep.try_begin_search() {
                return Woken::ToSearch;
            }
            return woken;
        }
        core.notice_idle();
        tally(&self.remote().tally.parks, 1);
        self.remote().parker.park();
        self.remote().inbox.leave_parked();
        core.sleep.wake_self(self.index())
    }
}

/// How long a searching worker spins by default.
pub(crate) const SPIN_DEFAULT: Duration = Duration::from_micros(50);
