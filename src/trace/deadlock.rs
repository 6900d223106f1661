//! Who waits for whom, on request: so that a deadlock is named, and not guessed.
//!
//! While somebody has asked for it, it is written down which jobs a fiber is inside of, which locks it has, and for which lock, job or group of jobs it
//! waits without a limit. A fiber that waits for a lock waits for all who have it, and one that waits for a group for all of its jobs; so wherever the
//! edges from fiber to fiber come back to where they began, nobody of the circle can go on. Counters, events, conditions and messages are given by
//! whoever likes: there are no edges for them.
//!
//! All of it is under one lock, and costs every job and every lock some hundred nanoseconds: for finding faults. The thread that looks for stuck workers
//! reports a circle that it sees twice.

use super::dump::FiberInfo;
use super::hooks;
use crate::sched::current;
use std::collections::HashMap;
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What somebody waits for: addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Lock(usize),
    Job(usize),
    /// A scope, a batch, or the other half of a join.
    Group(usize),
}

#[derive(Default)]
struct OnFiber {
    /// Its jobs, the innermost last: where they were queued, and what they are members of.
    jobs: Vec<(usize, usize)>,
    waits: Option<Target>,
}

struct Holder {
    fiber: u32,
    site: &'static Location<'static>,
}

struct Known {
    fibers: HashMap<u32, OnFiber>,
    /// Those who have a lock, by its address.
    locks: HashMap<usize, Vec<Holder>>,
}

static KNOWN: Mutex<Option<Known>> = Mutex::new(None);

fn known() -> MutexGuard<'static, Option<Known>> {
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Writes down from now on, for all systems.
pub(crate) fn enable() {
    known().get_or_insert_with(|| Known { fibers: HashMap::new(), locks: HashMap::new() });
    hooks::set(hooks::FINDS_DEADLOCKS, true);
}

/// Whether it is written down.
#[inline(always)]
pub(crate) fn is_enabled() -> bool {
    hooks::wanted() & hooks::FINDS_DEADLOCKS != 0
}

fn change(f: impl FnOnce(&mut Known)) {
    if let Some(known) = known().as_mut() {
        f(known);
    }
}

fn fiber_here() -> Option<u32> {
    current::worker().filter(|worker| worker.in_fiber()).map(|worker| worker.current_fiber().node().id())
}

pub(super) fn job_started(fiber: u32, block: usize, group: usize) {
    change(|known| known.fibers.entry(fiber).or_default().jobs.push((block, group)));
}

pub(super) fn job_ended(fiber: u32) {
    change(|known| {
        let on_fiber = known.fibers.entry(fiber).or_default();
        on_fiber.jobs.pop();
        if on_fiber.jobs.is_empty() {
            known.fibers.remove(&fiber);
        }
    });
}

/// The running fiber has got a lock.
pub(crate) fn locked(lock: usize, site: &'static Location<'static>) {
    if let Some(fiber) = fiber_here() {
        change(|known| known.locks.entry(lock).or_default().push(Holder { fiber, site }));
    }
}

/// The running fiber gives a lock up.
pub(crate) fn unlocked(lock: usize) {
    let Some(fiber) = fiber_here() else { return };
    change(|known| {
        let Some(holders) = known.locks.get_mut(&lock) else { return };
        if let Some(index) = holders.iter().rposition(|holder| holder.fiber == fiber) {
            holders.swap_remove(index);
        }
        if holders.is_empty() {
            known.locks.remove(&lock);
        }
    });
}

/// The running fiber waits for something until this is dropped.
#[must_use]
pub(crate) struct Waiting(Option<u32>);

#[inline(always)]
pub(crate) fn waiting(target: impl FnOnce() -> Target) -> Waiting {
    if is_enabled() { begin(target()) } else { Waiting(None) }
}

#[cold]
#[inline(never)]
fn begin(target: Target) -> Waiting {
    let fiber = fiber_here();
    if let Some(fiber) = fiber {
        change(|known| known.fibers.entry(fiber).or_default().waits = Some(target));
    }
    Waiting(fiber)
}

impl Drop for Waiting {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(fiber) = self.0 {
            end(fiber);
        }
    }
}

#[cold]
#[inline(never)]
fn end(fiber: u32) {
    change(|known| known.fibers.entry(fiber).or_default().waits = None);
}

/// One edge of a circle: `fiber` waits for the next one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) fiber: u32,
    target: Target,
    /// Where the next one has taken the lock.
    locked_at: Option<&'static Location<'static>>,
}

impl Known {
    /// For whom a fiber waits.
    fn edges(&self, fiber: u32) -> Vec<(Edge, u32)> {
        let Some(target) = self.fibers.get(&fiber).and_then(|on_fiber| on_fiber.waits) else {
            return Vec::new();
        };
        let edge = |locked_at| Edge { fiber, target, locked_at };
        let inside = |wanted: &dyn Fn(&(usize, usize)) -> bool| {
            let of = self.fibers.iter().filter(|(_, on_fiber)| on_fiber.jobs.iter().any(wanted));
            of.map(|(other, _)| (edge(None), *other)).collect()
        };
        match target {
            Target::Lock(lock) => {
                let holders = self.locks.get(&lock).into_iter().flatten();
                holders.map(|holder| (edge(Some(holder.site)), holder.fiber)).collect()
            }
            Target::Job(wanted) => inside(&|(block, _)| *block == wanted),
            Target::Group(wanted) => inside(&|(_, group)| *group == wanted),
        }
    }

    /// A circle that begins at `first`, if there is one.
    fn circle_from(&self, first: u32) -> Option<Vec<Edge>> {
        let mut path: Vec<(Edge, u32)> = Vec::new();
        let mut left = vec![(0, self.edges(first))];
        let mut seen = vec![first];
        while let Some((depth, edges)) = left.last_mut() {
            path.truncate(*depth);
            let Some((edge, next)) = edges.pop() else {
                left.pop();
                continue;
            };
            path.push((edge, next));
            if next == first {
                return Some(path.into_iter().map(|(edge, _)| edge).collect());
            }
            if !seen.contains(&next) {
                seen.push(next);
                left.push((path.len(), self.edges(next)));
            }
        }
        None
    }
}

/// All circles, each once: beginning with its lowest fiber.
pub(super) fn circles() -> Vec<Vec<Edge>> {
    let known = known();
    let Some(known) = known.as_ref() else { return Vec::new() };
    let mut waiting: Vec<u32> = known
        .fibers
        .iter()
        .filter(|(_, on_fiber)| on_fiber.waits.is_some())
        .map(|(fiber, _)| *fiber)
        .collect();
    waiting.sort_unstable();
    let circles = waiting.into_iter().filter_map(|fiber| known.circle_from(fiber));
    circles.filter(|circle| circle.iter().all(|edge| edge.fiber >= circle[0].fiber)).collect()
}

/// One of those who wait for each other: see [`StallKind::Deadlock`](crate::StallKind::Deadlock).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WaitEdge {
    /// Who waits, for what and where.
    pub fiber: FiberInfo,
    /// The number of the fiber whose job must go on first: the next one of the circle.
    pub waits_for_fiber: u32,
    /// Where that one has taken the lock that is waited for, if it is one.
    pub locked_at: Option<&'static Location<'static>>,
}

impl WaitEdge {
    /// The circle in words; `None` if one of its fibers has gone on.
    pub(super) fn all(circle: &[Edge]) -> Option<Vec<Self>> {
        let next = circle.iter().cycle().skip(1);
        circle
            .iter()
            .zip(next)
            .map(|(edge, next)| {
                let fiber = FiberInfo::of_id(edge.fiber)?;
                Some(Self { fiber, waits_for_fiber: next.fiber, locked_at: edge.locked_at })
            })
            .collect()
    }
}

impl fmt::Display for WaitEdge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: fiber {}", self.fiber, self.waits_for_fiber)?;
        match self.locked_at {
            Some(place) => write!(f, " has locked it at {place}"),
            None => f.write_str(" runs it"),
        }
    }
}
