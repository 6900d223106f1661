//! Waking: everything that a signal set free, in one go.
//!
//! The detached list of a counter holds its newest waiter first, what a primitive of `sync` has claimed its oldest. Fibers are
//! collected into one chain per owner, so that each owner gets one splice and at most one unpark; the chains are newest
//! first for inboxes (which are read backwards) and oldest first for the waker's own ready queue. Waiters run in the order in
//! which they came.

#![expect(unsafe_code, reason = "follows links between slots")]

use super::current;
use super::priority::{self, Priority};
use super::wait::ThreadWaiter;
use super::worker::{Remote, Worker};
use crate::counter::Link;
use crate::fiber::{Fiber, FiberState};
use crate::interop::poll_waiter::PollWaiter;
use crate::memory::node::{Kind, Node};
use crate::memory::slots;
use crate::trace::event;
use std::ptr;

/// Chains collected at once. With more owners than this some get more than one splice.
const CHAINS_MAX: usize = 16;

#[derive(Clone, Copy)]
struct Chain {
    owner: Option<&'static Remote>,
    first: *mut Node,
    last: *mut Node,
    /// How many of them are of priority High.
    high_count: u64,
}

/// Which end of a list of waiters comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    NewestFirst,
    OldestFirst,
}

impl Chain {
    const EMPTY: Chain = Chain { owner: None, first: ptr::null_mut(), last: ptr::null_mut(), high_count: 0 };

    /// Adds a node, which the caller owns, before all others or behind them.
    fn add(&mut self, node: &Node, in_front: bool) {
        // SAFETY: the chain's nodes live in slots and are owned by this thread.
        match unsafe { self.last.as_ref() } {
            None => (self.first, self.last) = (node.as_ptr(), node.as_ptr()),
            Some(_) if in_front => {
                node.set_link(self.first);
                self.first = node.as_ptr();
            }
            Some(last) => {
                last.set_link(node.as_ptr());
                self.last = node.as_ptr();
            }
        }
    }

    fn send(&mut self) {
        if let Some(owner) = self.owner.take() {
            // SAFETY: the chain's nodes live in slots and are owned by this thread.
            unsafe { owner.deliver(&*self.first, &*self.last, self.high_count) };
        }
    }

    /// Wakes its fibers, which migrate, one by one.
    fn wake_each(&self, worker: Option<&Worker>) {
        let mut node = self.first;
        while !node.is_null() {
            let is_last = node == self.last;
            // SAFETY: as in `add`; once it is woken, the node may be in another list at once.
            let (fiber, next) = unsafe { (Fiber::from_node(node), (*node).link()) };
            wake_migrating(worker, fiber);
            node = if is_last { ptr::null_mut() } else { next };
        }
    }
}

/// Wakes the waiter with this id; nobody for 0. The caller owns the wake.
#[inline]
pub(crate) fn wake_id(id: u32) {
    if id != 0 {
        wake_one(slots::node(id));
    }
}

/// Wakes the waiter behind `node`, which stands in a slot and in no list. The caller owns the wake.
#[inline]
pub(crate) fn wake_one(node: *mut Node) {
    // SAFETY: nodes live in slots, for ever.
    let waiter = unsafe { &*node };
    event::wakes(waiter);
    match waiter.kind() {
        Kind::Fiber => wake_fiber(current::worker(), node),
        _ => wake_other(node),
    }
}

#[inline]
fn wake_fiber(worker: Option<&Worker>, node: *mut Node) {
    // SAFETY: the caller has looked at the kind.
    let fiber = unsafe { Fiber::from_node(node) };
    if !fiber.is_sticky() {
        return wake_migrating(worker, fiber);
    }
    let owner = fiber.owner();
    fiber.set_state(FiberState::Ready);
    match worker {
        Some(worker) if ptr::eq(worker.remote(), owner) => worker.make_ready(fiber.priority(), node, node),
        // SAFETY: a slot's node.
        _ => unsafe { owner.deliver(&*node, &*node, u64::from(fiber.priority() == Priority::High)) },
    }
}

/// Wakes a fiber of a system whose fibers migrate.
#[cold]
fn wake_migrating(worker: Option<&Worker>, fiber: &'static Fiber) {
    // SAFETY: the fiber to wake is this thread's, and keeps its system until it is published, which is below.
    let core = unsafe { fiber.owner().core() };
    match worker.filter(|worker| worker.belongs_to(core)) {
        Some(worker) => {
            if fiber.state.woken() {
                worker.publish(fiber);
            }
        }
        None => {
            let core = core.shared();
            if fiber.state.woken() {
                core.publish(fiber);
            }
        }
    }
}

fn wake_other(node: *mut Node) {
    // SAFETY: nodes live in slots; the kind says of which type.
    unsafe {
        match (*node).kind() {
            Kind::Thread => ThreadWaiter::wake(node),
            Kind::Link => Link::fire(node),
            Kind::Poll => PollWaiter::fire(node),
            kind => unreachable!("a {kind:?} waited"),
        }
    }
}

/// Wakes all of a list that a signal detached and that begins with the node of this id.
pub(crate) fn wake_list(head: u32) {
    let head = slots::node(head);
    if head.is_null() {
        return;
    }
    // SAFETY: the list belongs to this thread since it was detached; nodes live in slots.
    if unsafe { &*head }.link().is_null() {
        return wake_one(head);
    }
    wake_many(head, Order::NewestFirst);
}

/// Wakes all of a chain, which the caller owns and of which the newest comes first.
pub(crate) fn wake_chain(head: *mut Node) {
    if !head.is_null() {
        wake_many(head, Order::NewestFirst);
    }
}

/// Wakes all of a list that the caller owns and that begins with its oldest waiter, which has others behind it.
pub(crate) fn wake_oldest_first(head: *mut Node) {
    wake_many(head, Order::OldestFirst);
}

fn wake_many(head: *mut Node, order: Order) {
    let newest_first = order == Order::NewestFirst;
    let worker = current::worker();
    let mut own = [Chain::EMPTY; priority::COUNT];
    let mut chains = [Chain::EMPTY; CHAINS_MAX];
    let mut evicted = 0;
    let mut polls: *mut Node = ptr::null_mut();
    // Fibers for the top of the waker's deque, which is taken from first: the oldest must come last.
    let mut stacked = Chain::EMPTY;
    let mut node = head;
    while !node.is_null() {
        // SAFETY: as in `wake_list`.
        let current = unsafe { &*node };
        // Once it is woken, the node may be in another list at once.
        let next = current.link();
        event::wakes(current);
        match current.kind() {
            Kind::Fiber => {}
            Kind::Poll => {
                // It calls code of users, which must not hold up the others.
                current.set_link(polls);
                polls = node;
                node = next;
                continue;
            }
            _ => {
                wake_other(node);
                node = next;
                continue;
            }
        }
        // SAFETY: the kind was just looked at.
        let fiber = unsafe { Fiber::from_node(node) };
        let owner = fiber.owner();
        if !fiber.is_sticky() {
            // SAFETY: as in `wake_migrating`.
            let is_stacked =
                !newest_first && worker.is_some_and(|worker| worker.belongs_to(unsafe { owner.core() }));
            if is_stacked {
                stacked.add(current, true);
            } else {
                wake_migrating(worker, fiber);
            }
            node = next;
            continue;
        }
        fiber.set_state(FiberState::Ready);
        if worker.is_some_and(|worker| ptr::eq(worker.remote(), owner)) {
            own[fiber.priority() as usize].add(current, newest_first);
        } else {
            let known = chains.iter().position(|chain| chain.owner.is_none_or(|known| ptr::eq(known, owner)));
            let chain = &mut chains[known.unwrap_or(evicted)];
            if known.is_none() {
                chain.send();
                evicted = (evicted + 1) % CHAINS_MAX;
            }
            if chain.owner.is_none() {
                *chain = Chain { owner: Some(owner), ..Chain::EMPTY };
            }
            chain.add(current, !newest_first);
            chain.high_count += u64::from(fiber.priority() == Priority::High);
        }
        node = next;
    }
    for chain in &mut chains {
        chain.send();
    }
    stacked.wake_each(worker);
    for (bits, own) in own.iter().enumerate() {
        if let (Some(worker), false) = (worker, own.first.is_null()) {
            worker.make_ready(Priority::from_bits(bits as u32), own.first, own.last);
        }
    }
    while !polls.is_null() {
        let node = polls;
        // SAFETY: as above.
        polls = unsafe { &*node }.link();
        wake_other(node);
    }
}
