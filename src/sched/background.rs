//! Background workers: those on threads that the operating system runs only while their CPU would be idle.
//!
//! ```text
//!   workers 0 .. n        High, Normal, Low     ordinary threads
//!   workers n .. n + m    Background            SCHED_IDLE, each pinned to the CPU of one of the others
//! ```
//!
//! The two kinds share the system: its jobs, counters, phases and dumps. They do not share what decides who is awake, and neither
//! steals from the other: Background jobs are in the injector and the deques of that priority, which only Background workers take from
//! (but for jobs that are raised), and those take from nothing else. All that a Background worker runs has that priority.
//!
//! *Stopped threads.* What the others share with a Background worker copes with its standing still in the midst of it. Deques,
//! counters, job states, depots of slots and the stores of stacks are lock-free, and wherever one of these workers would touch what
//! others rely on to be awake, a [relay](super::relay) does it. What is left are the locks of what is not in everybody's way; `README.md` lists them.
//!
//! *Sleeping.* Nobody searches: a Background worker that finds nothing sleeps. A pusher makes the work visible, executes a full fence and, if
//! there is a sleeper, takes its bit and unparks it, one for each job; the worker sets its bit, executes a full fence, and looks once more
//! (Dekker). A worker that has taken a job and sees another wakes the next. Which of them the kernel lets run is not known to the pusher, and the one
//! that was woken may have to wait for its CPU. So a pusher takes one whose CPU has nothing else to do, if there is one; and a worker of the
//! other kind that goes to sleep, and leaves its CPU idle, wakes its *mate*, the Background worker of the same CPU, if there is still work. Either the
//! pusher sees that worker idle, or that worker sees the work.

#![expect(unsafe_code, reason = "turns queue entries back into fibers")]

use super::find_work::Next;
use super::priority::Priority;
use super::relay::Relay;
use super::sleep::Sleep;
use super::spillover::Tiers;
use super::worker::{Remote, Worker};
use crate::fiber::Fiber;
use crate::system::core::{Phase, SystemCore};
use crate::topology::{CpuId, Topology, VictimTable};
use crate::trace::event;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long a worker searches at most while Background work waits for its CPU.
pub(super) const SPIN_BESIDE: Duration = Duration::from_micros(15);

const BACKGROUND: Priority = Priority::Background;

/// See the [module](self).
pub(crate) struct Background {
    /// The index of the first Background worker.
    first: usize,
    count: usize,
    sleep: Sleep,
    /// In which order each robs the others, numbered from 0.
    pub(super) victims: VictimTable,
    /// By worker of the other kind: the Background worker on its CPU, numbered from 0.
    mates: Box<[Option<usize>]>,
    /// The same the other way round.
    hosts: Box<[Option<usize>]>,
    relay: Arc<Relay>,
}

impl Background {
    /// `None` if there are no such workers. The placements are of either kind.
    pub(crate) fn new(
        topology: Option<&Topology>,
        placement: &[Option<CpuId>],
        others: &[Option<CpuId>],
    ) -> Option<Self> {
        let count = placement.len();
        let mate_of = |cpu: &Option<CpuId>| placement.iter().position(|own| cpu.is_some() && own == cpu);
        let host_of = |cpu: &Option<CpuId>| others.iter().position(|host| cpu.is_some() && host == cpu);
        (count > 0).then(|| Self {
            first: others.len(),
            count,
            sleep: Sleep::new(count, 1, false),
            victims: match topology {
                Some(topology) => VictimTable::new(topology, placement),
                None => VictimTable::unpinned(count),
            },
            mates: others.iter().map(mate_of).collect(),
            hosts: placement.iter().map(host_of).collect(),
            relay: Arc::new(Relay::new(count)),
        })
    }

    pub(crate) fn first(&self) -> usize {
        self.first
    }

    pub(crate) fn sleeping_count(&self) -> usize {
        self.sleep.sleeping_count()
    }

    pub(crate) fn all_sleep(&self) -> bool {
        self.sleeping_count() == self.count
    }

    pub(crate) fn none_sleeps(&self) -> bool {
        self.sleeping_count() == 0
    }

    /// The worker to unpark for Background work that was made visible: one whose CPU has nothing else to do, if there is one.
    #[must_use = "the worker must be unparked"]
    pub(crate) fn claim_sleeper(&self, remotes: &[&'static Remote]) -> Option<usize> {
        let is_free = |index: usize| self.hosts[index].is_none_or(|host| remotes[host].is_idle());
        self.sleep.claim_any(is_free).map(|index| self.first + index)
    }
}

impl SystemCore {
    /// Whether there is Background work that has not been started.
    fn has_background_work(&self, background: &Background) -> bool {
        !self.injector(BACKGROUND).is_empty()
            || self.remotes[background.first..].iter().any(|remote| !remote.deque(BACKGROUND).is_empty())
    }

    /// A worker is about to leave its CPU: if Background work waits, this is the time for it.
    #[inline]
    pub(super) fn hand_over_cpu(&self, worker: usize) {
        let Some(background) = &self.background else { return };
        let Some(mate) = background.mates.get(worker).copied().flatten() else { return };
        if self.has_background_work(background) {
            // Whether it is said to sleep or not: whoever has claimed it may be stopped before the wake.
            let mate = self.remotes[background.first + mate];
            if mate.is_idle() {
                mate.parker.unpark_surely();
            }
        }
    }

    /// What says that the thread of this worker has ended: to be called as the thread's last act, or in its place.
    pub(crate) fn farewell_of(&self, worker: usize) -> impl FnOnce() + use<> {
        // A Background worker wakes nobody by itself, not even whoever waits for its end.
        let background = self.background.as_ref().filter(|background| worker >= background.first);
        let relay = background.map(|background| Arc::clone(&background.relay));
        let present = self.present.clone();
        move || match relay {
            Some(relay) => relay.user_left(),
            None => {
                present.signal();
            }
        }
    }

    /// Whether Background work waits for a CPU, or runs.
    pub(super) fn background_is_busy(&self) -> bool {
        self.background.as_ref().is_some_and(|background| !background.all_sleep())
    }

    /// Whether all workers of both kinds sleep.
    pub(crate) fn all_sleep(&self) -> bool {
        let awake = self.tiers.as_ref().map_or(self.workers(), Tiers::awake);
        self.sleep.sleeping_count() + usize::from(self.main_is_absent()) == awake
            && self.remotes[awake..self.workers()].iter().all(|remote| remote.is_idle())
            && self.background.as_ref().is_none_or(Background::all_sleep)
    }
}

/// The relay that the calling thread must use to submit something, or to wake somebody: if it is a Background worker.
pub(crate) fn relay_here() -> Option<&'static Relay> {
    let worker = super::current::worker().filter(|worker| worker.is_background())?;
    Some(&worker.background().relay)
}

/// The same if it is one of this very system.
pub(crate) fn relay_of(core: &SystemCore) -> Option<&'static Relay> {
    let worker =
        super::current::worker().filter(|worker| worker.is_background() && worker.belongs_to(core))?;
    Some(&worker.background().relay)
}

/// The same to reach this worker, which may be one of its own kind and system; then it need not.
pub(crate) fn relay_to(remote: &Remote) -> Option<&'static Relay> {
    let worker = super::current::worker().filter(|worker| worker.is_background())?;
    let background = worker.background();
    let own_kind = &worker.system().remotes[background.first..];
    (!own_kind.iter().any(|other| ptr::eq(*other, remote))).then_some(&background.relay)
}

/// The relay's thread. At its end it says that all Background workers have left.
pub(crate) fn relay(core: Arc<SystemCore>) {
    let Some(background) = &core.background else { return };
    background.relay.run(&core);
    let (present, count) = (core.present.clone(), background.count);
    // The core must be gone before the last worker is, for those who count systems.
    drop(core);
    for _ in 0..count {
        present.signal();
    }
}

impl Worker {
    /// The Background workers, of which this is one.
    pub(crate) fn background(&self) -> &Background {
        self.system().background.as_ref().expect("this is one of them")
    }

    /// One turn's decision of a Background worker.
    #[cold]
    #[inline(never)]
    pub(super) fn next_background(&self) -> Next {
        if let Some(fiber) = self.take_ready(BACKGROUND) {
            return Next::Fiber(fiber);
        }
        let job = self.pop_at(BACKGROUND).or_else(|| {
            self.flush_credit();
            self.take_injected(BACKGROUND).or_else(|| self.steal(BACKGROUND))
        });
        if let Some(job) = job {
            self.wake_next();
            return self.start(job, BACKGROUND);
        }
        if let Some(node) = self.yielded.pop() {
            // SAFETY: the queue holds fibers in their slots.
            return Next::Fiber(unsafe { Fiber::from_node(node) });
        }
        if self.system().phase() == Phase::Stopping { Next::Exit } else { Next::Nothing }
    }

    /// There is more work than the job that was just taken: wakes another one.
    fn wake_next(&self) {
        let (core, background) = (self.system(), self.background());
        if background.sleeping_count() > 0 && core.has_background_work(background) {
            self.tell_of_work(BACKGROUND);
        }
    }

    /// There is nothing to do: sleeps until woken, or for a while.
    #[cold]
    pub(super) fn sleep_in_background(&self, trim_in: Option<Duration>) {
        let (core, background) = (self.system(), self.background());
        let index = self.index() - background.first;
        background.sleep.announce(index, false, false);
        // LIVENESS: from here on pushers see this worker asleep, and inboxes PARKED. What was pushed before is found by this look.
        let is_idle = self.inbox_try_park()
            && self.nothing_ready()
            && !core.has_background_work(background)
            && core.phase() != Phase::Stopping;
        if is_idle {
            core.notice_idle();
            self.note_park();
            match trim_in {
                None => self.remote().parker.park(),
                Some(left) => {
                    self.remote().parker.park_timeout(left);
                }
            }
            event::unparked();
        }
        self.remote().inbox.leave_parked();
        background.sleep.wake_self(index, false);
    }
}

/// How many jobs Background workers have ended.
pub(crate) fn jobs_ended(core: &SystemCore) -> u64 {
    let first = core.background.as_ref().map_or(core.remotes.len(), Background::first);
    core.remotes[first..].iter().map(|remote| remote.tally.finished.load(Ordering::Relaxed)).sum()
}
