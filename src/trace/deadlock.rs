//! Who waits for whom, on request: so that a deadlock is named, and not guessed.
//!
//! While somebody has asked for it, it is written down which jobs a fiber is inside of, which locks it has, and for which lock, job or group of jobs it
//! waits without a limit. One that waits to lock waits for all who have the lock, one that waits to read for the one who writes, and one that waits for a
//! group for all of its jobs; so wherever the edges from fiber to fiber come back to where they began, nobody of the circle can go on. What need not be
//! so has no edge: a reader that waits behind a writer of the queue, which may have a limit; counters, events, conditions and messages, which are given by
//! whoever likes.
//!
//! It is written down in tables under one lock, by every job and every lock: for finding faults. The thread that looks for stuck
//! workers copies it, searches the copy, and reports a circle that it sees twice.

use super::dump::{FiberActivity, FiberInfo};
use super::hooks;
use crate::sched::current;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::panic::Location;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What somebody waits for: addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// To have a lock alone.
    Lock(usize),
    /// To share it.
    Read(usize),
    Job(usize),
    /// A scope, a batch, or the other half of a join.
    Group(usize),
}

#[derive(Clone, Default)]
struct OnFiber {
    /// Its jobs, the innermost last: where they were queued, and what they are members of.
    jobs: Vec<(usize, usize)>,
    /// The locks that they have taken.
    locks: Vec<usize>,
    waits: Option<Target>,
}

#[derive(Clone, Copy)]
struct Holder {
    fiber: u32,
    is_alone: bool,
    site: &'static Location<'static>,
}

#[derive(Clone, Default)]
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
    known().get_or_insert_default();
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
            // What it has not given up nobody will: guards are not sent, so these were forgotten.
            let forgotten = known.fibers.remove(&fiber).map_or(Vec::new(), |on_fiber| on_fiber.locks);
            forgotten.into_iter().for_each(|lock| known.give_up(lock, Some(fiber)));
        }
    });
}

/// The running fiber has got a lock.
pub(crate) fn locked(lock: usize, is_alone: bool, site: &'static Location<'static>) {
    let Some(fiber) = fiber_here() else { return };
    change(|known| {
        known.locks.entry(lock).or_default().push(Holder { fiber, is_alone, site });
        known.fibers.entry(fiber).or_default().locks.push(lock);
    });
}

/// Somebody gives a lock up: mostly the running fiber.
pub(crate) fn unlocked(lock: usize) {
    let fiber = fiber_here();
    change(|known| known.give_up(lock, fiber));
}

/// The running fiber goes on to share a lock that it had alone.
pub(crate) fn downgraded(lock: usize) {
    let fiber = fiber_here();
    change(|known| {
        let holders = known.locks.get_mut(&lock).into_iter().flatten();
        holders.filter(|holder| Some(holder.fiber) == fiber).for_each(|holder| holder.is_alone = false);
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
    /// This fiber no longer has the lock; or, if it had not, the one that has it alone: its guard was forgotten, and the lock forced open.
    fn give_up(&mut self, lock: usize, fiber: Option<u32>) {
        let Some(holders) = self.locks.get_mut(&lock) else { return };
        let own = holders.iter().rposition(|holder| Some(holder.fiber) == fiber);
        let forced = holders.iter().position(|holder| holder.is_alone);
        let Some(index) = own.or(forced) else { return };
        let fiber = holders.swap_remove(index).fiber;
        if holders.is_empty() {
            self.locks.remove(&lock);
        }
        if let Some(on_fiber) = self.fibers.get_mut(&fiber) {
            if let Some(index) = on_fiber.locks.iter().rposition(|held| *held == lock) {
                on_fiber.locks.swap_remove(index);
            }
        }
    }
}

/// Who waits for whom, at one moment.
struct Graph {
    /// For whom each fiber waits that does; in order.
    edges: HashMap<u32, Vec<(Edge, u32)>>,
}

impl Graph {
    fn of(known: &Known) -> Self {
        let (mut by_block, mut by_group) = (HashMap::new(), HashMap::new());
        for (fiber, on_fiber) in &known.fibers {
            for (block, group) in &on_fiber.jobs {
                by_block.entry(*block).or_insert_with(Vec::new).push(*fiber);
                by_group.entry(*group).or_insert_with(Vec::new).push(*fiber);
            }
        }
        let edges = known.fibers.iter().filter_map(|(&fiber, on_fiber)| {
            let target = on_fiber.waits?;
            let edge = |locked_at| Edge { fiber, target, locked_at };
            let inside = |fibers: Option<&Vec<u32>>| -> Vec<(Edge, u32)> {
                fibers.into_iter().flatten().map(|other| (edge(None), *other)).collect()
            };
            let holders = |lock, all: bool| -> Vec<(Edge, u32)> {
                let holders = known.locks.get(&lock).into_iter().flatten();
                let holders = holders.filter(|holder| all || holder.is_alone);
                holders.map(|holder| (edge(Some(holder.site)), holder.fiber)).collect()
            };
            let mut edges = match target {
                Target::Lock(lock) => holders(lock, true),
                Target::Read(lock) => holders(lock, false),
                Target::Job(block) => inside(by_block.get(&block)),
                Target::Group(group) => inside(by_group.get(&group)),
            };
            edges.sort_by_key(|(_, other)| *other);
            edges.dedup_by_key(|(_, other)| *other);
            Some((fiber, edges))
        });
        Self { edges: edges.collect() }
    }

    /// Takes out those who will go on when others do that wait for nobody, and so on: what is left waits for a circle.
    fn prune(&mut self) {
        let mut waiters: HashMap<u32, Vec<u32>> = HashMap::new();
        for (fiber, edges) in &self.edges {
            edges.iter().for_each(|(_, other)| waiters.entry(*other).or_default().push(*fiber));
        }
        let goes_on =
            |fiber: &u32, edges: &HashMap<u32, Vec<(Edge, u32)>>| edges.get(fiber).is_none_or(Vec::is_empty);
        let all = waiters.keys().chain(self.edges.keys());
        let mut left: Vec<u32> = all.filter(|fiber| goes_on(fiber, &self.edges)).copied().collect();
        while let Some(fiber) = left.pop() {
            self.edges.remove(&fiber);
            for waiter in waiters.remove(&fiber).unwrap_or_default() {
                if let Some(edges) = self.edges.get_mut(&waiter) {
                    edges.retain(|(_, other)| *other != fiber);
                    if edges.is_empty() {
                        left.push(waiter);
                    }
                }
            }
        }
    }

    /// Whether all edges of a circle are there.
    fn has(&self, circle: &[Edge]) -> bool {
        let nexts = circle.iter().cycle().skip(1);
        circle.iter().zip(nexts).all(|(edge, next)| {
            self.edges.get(&edge.fiber).is_some_and(|edges| edges.contains(&(*edge, next.fiber)))
        })
    }

    /// The shortest way from a fiber back to it, over those of which it is the lowest.
    fn circle_from(&self, first: u32) -> Option<Vec<Edge>> {
        let mut came_by: HashMap<u32, Edge> = HashMap::new();
        let mut left = VecDeque::from([first]);
        while let Some(fiber) = left.pop_front() {
            for (edge, other) in self.edges.get(&fiber).into_iter().flatten() {
                if *other == first {
                    let mut circle = vec![*edge];
                    while circle.last().is_some_and(|edge| edge.fiber != first) {
                        circle.push(came_by[&circle[circle.len() - 1].fiber]);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if *other > first && !came_by.contains_key(other) {
                    came_by.insert(*other, *edge);
                    left.push_back(*other);
                }
            }
        }
        None
    }
}

/// At most so many circles are found at once; the next ones when these are known.
const CIRCLES_MAX: usize = 16;

/// Circles of fibers that wait for each other, each beginning with its lowest fiber: first those of `known` that are still there, then those without a
/// fiber of theirs.
pub(super) fn circles(known_before: &[Vec<Edge>]) -> Vec<Vec<Edge>> {
    // What runs must not wait for the search.
    let Some(known) = known().clone() else { return Vec::new() };
    let mut graph = Graph::of(&known);
    graph.prune();
    let mut circles: Vec<Vec<Edge>> =
        known_before.iter().filter(|circle| graph.has(circle)).cloned().collect();
    circles.iter().flatten().for_each(|edge| drop(graph.edges.remove(&edge.fiber)));
    // Those who wait for nobody else are in no other circle. One in which a fiber of a known circle is as well is found when that one is gone.
    graph.prune();
    let mut fibers: Vec<u32> = graph.edges.keys().copied().collect();
    fibers.sort_unstable();
    circles.extend(fibers.into_iter().filter_map(|fiber| graph.circle_from(fiber)).take(CIRCLES_MAX));
    circles
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
    /// The circle in words; `None` if one of its fibers does not wait any more.
    pub(super) fn all(circle: &[Edge]) -> Option<Vec<Self>> {
        let next = circle.iter().cycle().skip(1);
        circle
            .iter()
            .zip(next)
            .map(|(edge, next)| {
                let fiber = FiberInfo::of_id(edge.fiber)?;
                (fiber.activity == FiberActivity::Waiting).then_some(Self {
                    fiber,
                    waits_for_fiber: next.fiber,
                    locked_at: edge.locked_at,
                })
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
