//! How a fiber, or any other thread, waits in a primitive's queue.

#![expect(unsafe_code, reason = "entries live on the stacks of their waiters")]

use super::cancel::CancelToken;
use super::queue::{Contest, Entry, List, Queue, Woken};
use crate::fiber::WaitKind;
use crate::fiber::claim::Reason;
use crate::memory::node::Node;
use crate::sched::wait::{self, Bounds, FiberLimit, WaitFor};
use crate::sched::{current, wake};
use std::cell::Cell;
use std::panic::Location;
use std::time::{Duration, Instant};

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// It was not necessary.
    NotNeeded,
    /// Somebody has given this to the waiter.
    Given(u32),
    TimedOut,
    /// The token was cancelled.
    Cancelled,
}

/// What is decided under the lock before a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enter {
    /// There is nothing to wait for.
    Not,
    Back,
    Front,
}

/// What a wait is for, and for how long.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms {
    pub(super) kind: WaitKind,
    pub(super) wants: u32,
    pub(super) limit: Option<Duration>,
    pub(super) site: &'static Location<'static>,
}

/// Waits in `queue`, if `enter` says so under its lock. `entered` is called after that, when the waiter can be woken already;
/// it must neither unwind nor wait. `left` is called under the lock if the time is over, after the waiter was taken out.
///
/// PERF: without a time limit everything is inlined into the caller, as in `sched::wait::wait`, and no claim word is needed: only who finds the entry
/// in the list can wake.
#[inline(always)]
pub(super) fn wait_in(
    queue: &Queue,
    terms: Terms,
    enter: impl FnOnce(&mut List, &mut Woken) -> Enter,
    entered: impl FnOnce(),
    left: impl FnOnce(&mut List, &mut Woken),
) -> Result<Waited, FiberLimit> {
    wait_in_with(queue, terms, None, enter, entered, left)
}

/// As [`wait_in`], until a token is cancelled, if there is one; `left` is called then as when the time is over.
#[inline(always)]
pub(super) fn wait_in_with(
    queue: &Queue,
    terms: Terms,
    token: Option<&CancelToken>,
    enter: impl FnOnce(&mut List, &mut Woken) -> Enter,
    entered: impl FnOnce(),
    left: impl FnOnce(&mut List, &mut Woken),
) -> Result<Waited, FiberLimit> {
    if terms.limit.is_some() || token.is_some() {
        return wait_contested(queue, terms, token, enter, entered, left);
    }
    let (entry, mut waits) = (Entry::new(terms.wants), false);
    let what = WaitFor { kind: terms.kind, object: 0, site: terms.site };
    wait::wait(what, |node| {
        // SAFETY: 1. The node of a fiber or a thread waiter that is about to wait. 2. Nobody else knows of this wait.
        unsafe { entry.enrol(node, None) };
        // SAFETY: the entry is in this stack frame, which is left after the wait: then somebody has taken it out.
        waits = unsafe { enter_queue(queue, &entry, enter, entered) };
        waits
    })?;
    Ok(if waits { Waited::Given(entry.given.get()) } else { Waited::NotNeeded })
}

/// The wait of somebody whom not only signallers may wake.
#[inline(never)]
fn wait_contested(
    queue: &Queue,
    terms: Terms,
    token: Option<&CancelToken>,
    enter: impl FnOnce(&mut List, &mut Woken) -> Enter,
    entered: impl FnOnce(),
    left: impl FnOnce(&mut List, &mut Woken),
) -> Result<Waited, FiberLimit> {
    // The caller has just looked. A condition variable gives its mutex up first.
    if terms.kind != WaitKind::Condvar {
        if token.is_some_and(CancelToken::is_cancelled) {
            return Ok(Waited::Cancelled);
        }
        if terms.limit == Some(Duration::ZERO) {
            return Ok(Waited::TimedOut);
        }
    }
    let (entry, waited) = (Entry::new(terms.wants), Cell::new(Waited::NotNeeded));
    let what = WaitFor { kind: terms.kind, object: 0, site: terms.site };
    let register = |node: &'static Node, ticket| {
        // SAFETY: the node of a fiber or a thread waiter that is about to wait.
        let claim = unsafe { wait::claim_of(node.as_ptr()) };
        // SAFETY: 1. As above. 2. Everybody else has the ticket.
        unsafe { entry.enrol(node, Some(Contest { claim, ticket })) };
        // SAFETY: the entry is in this stack frame, which is left after the wait: then somebody has claimed the entry and so taken it out, or
        // `settle` has.
        unsafe { enter_queue(queue, &entry, enter, entered) }
    };
    let settle = |reason| {
        waited.set(match reason {
            Reason::Signalled => Waited::Given(entry.given.get()),
            Reason::TimedOut | Reason::Cancelled => {
                let mut woken = Woken::none();
                let mut list = queue.lock();
                list.remove(&entry);
                left(&mut list, &mut woken);
                drop(list);
                wake_all(woken);
                if reason == Reason::Cancelled { Waited::Cancelled } else { Waited::TimedOut }
            }
        });
    };
    wait::wait_bounded(what, Bounds { limit: terms.limit, token }, register, settle)?;
    Ok(waited.get())
}

/// Puts `entry` where `enter` says; whether it did.
///
/// # Safety
///
/// As for [`List::push_back`].
#[inline(always)]
unsafe fn enter_queue(
    queue: &Queue,
    entry: &Entry,
    enter: impl FnOnce(&mut List, &mut Woken) -> Enter,
    entered: impl FnOnce(),
) -> bool {
    let mut woken = Woken::none();
    let mut list = queue.lock();
    let enters = enter(&mut list, &mut woken);
    // SAFETY: promised by the caller.
    unsafe {
        match enters {
            Enter::Not => {}
            Enter::Back => list.push_back(entry),
            Enter::Front => list.push_front(entry),
        }
    }
    drop(list);
    wake_all(woken);
    if enters != Enter::Not {
        entered();
    }
    enters != Enter::Not
}

/// Whether the calling thread is a worker's that unwinds, and so blocks where it is.
pub(super) fn blocks_in_place() -> bool {
    std::thread::panicking() && current::worker().is_some_and(|worker| worker.in_fiber())
}

/// Whether the calling fiber's worker is the only one of its system.
pub(super) fn is_alone() -> bool {
    current::worker().is_some_and(|worker| worker.in_fiber() && worker.system().workers() == 1)
}

/// Wakes those who were claimed.
#[inline]
pub(super) fn wake_all(woken: Woken) {
    woken.wake_with(wake::wake_one, wake::wake_oldest_first);
}

/// When the time of a wait is over that goes on in several steps, on the clock by which the caller's limits pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deadline {
    Never,
    At(Instant),
    /// In nanoseconds of the clock of the calling fiber's deterministic system.
    Seeded(u64),
}

impl Deadline {
    /// The end of this time from now on.
    pub(super) fn after(limit: Option<Duration>) -> Self {
        // A time that the clock cannot express is never reached.
        let Some((limit, at)) = limit.and_then(|limit| Some((limit, Instant::now().checked_add(limit)?)))
        else {
            return Self::Never;
        };
        match seeded_now_ns() {
            Some(now_ns) => {
                let limit_ns = u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX);
                Self::Seeded(now_ns.saturating_add(limit_ns))
            }
            None => Self::At(at),
        }
    }

    /// What is left until then; `None` without an end.
    pub(super) fn left(self) -> Option<Duration> {
        match self {
            Self::Never => None,
            Self::At(at) => Some(at.saturating_duration_since(Instant::now())),
            Self::Seeded(at_ns) => {
                let now_ns = seeded_now_ns().expect("a fiber does not change its system while it waits");
                Some(Duration::from_nanos(at_ns.saturating_sub(now_ns)))
            }
        }
    }
}

/// The clock of the calling fiber's system, if that is a deterministic one, and the fiber does not block in place.
fn seeded_now_ns() -> Option<u64> {
    let worker = current::worker().filter(|worker| worker.is_seeded() && worker.in_fiber())?;
    (!std::thread::panicking()).then(|| worker.seeded_now_ns())
}
