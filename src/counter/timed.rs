//! Waiters with a target above zero, a time limit, or both: the second list of a counter.
//!
//! The first list (`word.rs`) serves waits for zero without a limit, lock-free. This one is for the rest, under a
//! lock that is held for a few steps and never across a switch. While it is not empty, the word
//! says LISTED, and then every signal changes the count under the lock. So each signaller
//! sees exactly the waiters that registered before its change, each waiter registers at a count that
//! is above its target, and the count that wakes a waiter has existed since its call.
//!
//! A waiter that was woken takes its entry out by itself if it is still there (it is, when the clock
//! woke it). Which of signaller and clock wakes is decided by the waiter's claim word. Entries live on the waiters'
//! stacks; the list is intrusive and doubly linked.
//!
//! loom holds this in `timed/model.rs`.

#![expect(unsafe_code, reason = "entries live on the stacks of their waiters")]

use super::word::{Signalled, WaitWord};
use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::memory::node::Node;
use crate::primitives::{Mutex, lock};
use std::cell::Cell;
use std::ptr;

/// One waiter.
pub(crate) struct Entry {
    pub(crate) node: *mut Node,
    pub(crate) claim: *const Claim,
    pub(crate) ticket: Ticket,
    /// It waits for the count to be this or lower.
    pub(crate) target: usize,
    /// Neighbours; changed under the lock only.
    next: Cell<*const Entry>,
    previous: Cell<*const Entry>,
    linked: Cell<bool>,
}

impl Entry {
    pub(crate) fn new(node: *mut Node, claim: &Claim, ticket: Ticket, target: usize) -> Self {
        Self {
            node,
            claim,
            ticket,
            target,
            next: Cell::new(ptr::null()),
            previous: Cell::new(ptr::null()),
            linked: Cell::new(false),
        }
    }
}

struct List {
    head: *const Entry,
    /// No entry's target is above this; signals that leave the count above it need not look.
    target_max: usize,
}

// SAFETY: entries are reached under the lock only.
unsafe impl Send for List {}

/// See the [module](self).
pub(crate) struct TimedList(Mutex<List>);

impl TimedList {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(List { head: ptr::null(), target_max: 0 }))
    }

    /// Registers `entry`; false if the count is not above its target.
    ///
    /// # Safety
    ///
    /// `entry` stays in place until [`remove`](Self::remove) was called with it.
    #[must_use]
    pub(crate) unsafe fn insert(&self, word: &WaitWord, entry: &Entry) -> bool {
        let mut list = lock(&self.0);
        if !word.set_listed_above(entry.target) {
            list.clear_listed_if_empty(word);
            return false;
        }
        entry.next.set(list.head);
        // SAFETY: entries in the list are in place.
        if let Some(head) = unsafe { list.head.as_ref() } {
            head.previous.set(entry);
        }
        entry.linked.set(true);
        list.head = entry;
        list.target_max = list.target_max.max(entry.target);
        true
    }

    /// Takes `entry` out, if it is still in.
    pub(crate) fn remove(&self, word: &WaitWord, entry: &Entry) {
        let mut list = lock(&self.0);
        list.unlink(entry);
        list.clear_listed_if_empty(word);
    }

    /// Signals under the lock, and gives all that is to be woken by it to `wake`: timed waiters one by one,
    /// and the id of the detached first list. `Err` with the count if it is lower than `n`.
    pub(crate) fn signal(
        &self,
        word: &WaitWord,
        n: usize,
        mut wake: impl FnMut(*mut Node),
    ) -> Result<u32, usize> {
        let mut list = lock(&self.0);
        // The count that this signal made, whatever others have added since.
        let (head, count) = match word.signal_locked(n) {
            Signalled::TooMany { count } => return Err(count),
            Signalled::Zero { head } => (head, 0),
            Signalled::Above { count } => (0, count),
            Signalled::Listed => unreachable!("the lock is held"),
        };
        let woken = list.take_reached(count);
        list.clear_listed_if_empty(word);
        drop(list);
        let mut entry = woken;
        while !entry.is_null() {
            // SAFETY: the waiter was claimed but not woken, so its entry is still in place.
            let (node, next) = unsafe { ((*entry).node, (*entry).next.get()) };
            wake(node);
            entry = next;
        }
        Ok(head)
    }
}

impl List {
    fn clear_listed_if_empty(&mut self, word: &WaitWord) {
        if self.head.is_null() {
            word.clear_listed();
            self.target_max = 0;
        }
    }

    fn unlink(&mut self, entry: &Entry) {
        if !entry.linked.replace(false) {
            return;
        }
        let (previous, next) = (entry.previous.get(), entry.next.get());
        // SAFETY: neighbours are in the list, and entries in the list are in place.
        unsafe {
            match previous.as_ref() {
                Some(previous) => previous.next.set(next),
                None => self.head = next,
            }
            if let Some(next) = next.as_ref() {
                next.previous.set(previous);
            }
        }
    }

    /// Takes out every entry whose target `count` reaches, and chains those that were claimed for waking.
    fn take_reached(&mut self, count: usize) -> *const Entry {
        let mut woken: *const Entry = ptr::null();
        if count > self.target_max {
            return woken;
        }
        let mut at = self.head;
        // SAFETY: entries in the list are in place.
        while let Some(entry) = unsafe { at.as_ref() } {
            at = entry.next.get();
            if count > entry.target {
                continue;
            }
            self.unlink(entry);
            // SAFETY: claim words live in slots.
            if unsafe { &*entry.claim }.claim(entry.ticket, Reason::Signalled) {
                entry.next.set(woken);
                woken = entry;
            }
            // Otherwise the clock was faster, and the waiter finds its entry gone.
        }
        woken
    }
}

/// For models: whether anybody is registered.
#[cfg(all(test, loom))]
impl TimedList {
    pub(crate) fn is_empty(&self) -> bool {
        let guard = lock(&self.0);
        guard.head.is_null()
    }
}

#[cfg(all(test, loom))]
mod model;
