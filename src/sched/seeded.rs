//! The deterministic mode: every choice of the one worker is drawn from a seed, and its clock stands still while anything
//! can run.
//!
//! What is drawn: which of the things that could run goes on, within one priority and now and then against it; whether a
//! split gives way to others although nothing more urgent waits; where parallel loops split; when a time limit passes.
//! So different seeds try different interleavings, and the same seed the same one.

#![expect(unsafe_code, reason = "turns queue entries back into fibers and jobs")]

use super::find_work::Next;
use super::priority::Priority;
use super::queue::Queue;
use super::wake;
use super::worker::Worker;
use crate::fiber::Fiber;
use crate::fiber::claim::{Reason, Ticket};
use crate::job::{JobPtr, JobRef};
use crate::system::core::Phase;
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

/// One in so many turns takes something less urgent first.
const AGAINST_PRIORITY: u64 = 16;
/// One in so many turns first makes those ready that have yielded.
const YIELDED_EARLY: u64 = 4;
/// One in so many turns lets the next time limit pass although something can run.
const CLOCK_EARLY: u64 = 64;
/// One in so many splits gives way.
const GIVE_WAY: u64 = 4;

/// The state of the deterministic mode; unused in any other.
#[derive(Default)]
pub(crate) struct Seeded {
    enabled: Cell<bool>,
    /// When time limits pass, in nanoseconds of a clock of their own, and whom that wakes. The second number tells
    /// equal times apart.
    timers: RefCell<BTreeMap<TimerKey, (&'static Fiber, Ticket)>>,
    now_ns: Cell<u64>,
    timer_count: Cell<u64>,
}

pub(crate) type TimerKey = (u64, u64);

impl Worker {
    /// Turns the mode on or off, for a worker that joins a system.
    pub(super) fn set_seed(&self, seed: Option<u64>) {
        self.seeded.enabled.set(seed.is_some());
        self.seeded.timers.borrow_mut().clear();
        self.seeded.now_ns.set(0);
        self.seeded.timer_count.set(0);
        if let Some(seed) = seed {
            // xorshift has no way out of zero; this is the finaliser of splitmix64.
            let mut x = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            self.random.set((x ^ (x >> 31)) | 1);
        }
    }

    #[inline]
    pub(crate) fn is_seeded(&self) -> bool {
        self.seeded.enabled.get()
    }

    /// What the mode's own clock says, in nanoseconds.
    pub(crate) fn seeded_now_ns(&self) -> u64 {
        self.seeded.now_ns.get()
    }

    /// A number below `n`, drawn from the seed.
    pub(crate) fn draw(&self, n: u64) -> u64 {
        // The high bits of xorshift are the better ones.
        (self.next_random() >> 11) % n
    }

    /// Whether a split gives way although nothing more urgent waits.
    pub(super) fn gives_way_by_seed(&self) -> bool {
        self.is_seeded() && self.draw(GIVE_WAY) == 0
    }

    /// Starts a timer for a wait of this fiber, which is about to suspend.
    pub(super) fn start_seeded_timer(
        &self,
        limit: Duration,
        fiber: &'static Fiber,
        ticket: Ticket,
    ) -> TimerKey {
        let seeded = &self.seeded;
        let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
        let key = (seeded.now_ns.get().saturating_add(limit_ns), seeded.timer_count.get());
        seeded.timer_count.set(key.1 + 1);
        seeded.timers.borrow_mut().insert(key, (fiber, ticket));
        key
    }

    pub(super) fn cancel_seeded_timer(&self, key: TimerKey) {
        self.seeded.timers.borrow_mut().remove(&key);
    }

    /// Lets the clock go on to the next time limit; false if there is none.
    fn pass_time(&self) -> bool {
        let Some(((at_ns, _), (fiber, ticket))) = self.seeded.timers.borrow_mut().pop_first() else {
            return false;
        };
        self.seeded.now_ns.set(self.seeded.now_ns.get().max(at_ns));
        if fiber.claim.claim(ticket, Reason::TimedOut) {
            wake::wake_one(fiber.node_ptr());
        }
        true
    }

    /// One turn's decision.
    pub(super) fn next_seeded(&self) -> Next {
        self.flush_credit();
        self.sort_pinned();
        self.take_in_injected();
        if !self.has_anything() {
            // Nothing is drawn then: how often an idle worker looks depends on time.
            return self.nothing_or_exit();
        }
        if self.draw(YIELDED_EARLY) == 0 {
            self.release_yielded();
        }
        if self.draw(CLOCK_EARLY) == 0 {
            self.pass_time();
        }
        loop {
            let first =
                if self.draw(AGAINST_PRIORITY) == 0 { self.draw(Priority::SHARED.len() as u64) } else { 0 };
            for step in 0..Priority::SHARED.len() {
                let priority = Priority::SHARED[(first as usize + step) % Priority::SHARED.len()];
                if let Some(next) = self.draw_from(priority) {
                    return next;
                }
            }
            if !self.yielded.is_empty() {
                self.release_yielded();
            } else if !self.pass_time() {
                break;
            }
        }
        self.nothing_or_exit()
    }

    fn nothing_or_exit(&self) -> Next {
        if self.system().phase() == Phase::Stopping { Next::Exit } else { Next::Nothing }
    }

    fn has_anything(&self) -> bool {
        !self.nothing_ready()
            || !self.yielded.is_empty()
            || !self.pinned.iter().all(Queue::is_empty)
            || self.remote().queued_count() > 0
            || !self.seeded.timers.borrow().is_empty()
    }

    /// Anything of this priority that could run.
    fn draw_from(&self, priority: Priority) -> Option<Next> {
        let (ready, pinned) = (&self.ready[priority as usize], &self.pinned[priority as usize]);
        let (ready_count, pinned_count) = (ready.count(), pinned.count());
        let all = ready_count + pinned_count + self.remote().deque(priority).len();
        if all == 0 {
            return None;
        }
        let drawn = self.draw(all as u64) as usize;
        if drawn < ready_count {
            // SAFETY: the ready queues hold fibers in their slots.
            return ready.take_nth(drawn).map(|node| Next::Fiber(unsafe { Fiber::from_node(node) }));
        }
        let job: JobRef = if drawn < ready_count + pinned_count {
            self.binds_next.set(self.migrates());
            // SAFETY: the pinned queues hold jobs in their slots.
            unsafe { JobPtr::from_node(pinned.take_nth(drawn - ready_count)?) }.into()
        } else {
            self.take_nth_newest(priority, drawn - ready_count - pinned_count)?
        };
        Some(match job.as_fiber() {
            Some(fiber) => Next::Fiber(fiber),
            None => Next::Job(job, priority),
        })
    }

    fn take_nth_newest(&self, priority: Priority, n: usize) -> Option<JobRef> {
        let above: Vec<JobRef> = (0..n).map_while(|_| self.pop_at(priority)).collect();
        let taken = self.pop_at(priority);
        for job in above.into_iter().rev() {
            self.push_at(job, priority);
        }
        taken
    }

    /// Everything that was injected goes where it can be drawn.
    fn take_in_injected(&self) {
        for priority in Priority::DESCENDING {
            let injector = self.system().injector(priority);
            while !injector.is_empty() {
                // SAFETY: the injector holds jobs and fibers in their slots.
                injector
                    .take(usize::MAX, |node| self.push_at(unsafe { JobRef::from_injected(node) }, priority));
            }
        }
    }
}
