//! loom: a waiter with a target or a time limit is woken exactly once, for the right reason, and leaves nothing behind.

#![expect(unsafe_code, reason = "entries on the waiters' stacks")]

use super::{Entry, TimedList};
use crate::counter::word::{Signalled, WaitWord};
use crate::fiber::claim::{Claim, Reason, Ticket};
use crate::memory::node::{Kind, Node};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::ptr;
use std::sync::Arc;

const WAITERS_MAX: usize = 2;

/// Somebody who waits; the token may also come for no reason.
struct Waiter {
    node: Node,
    claim: Claim,
    token: Notify,
    woken: AtomicUsize,
}

impl Waiter {
    fn wake(&self) {
        // The parker and the inbox hand over what the waker did.
        let before = self.woken.fetch_add(1, Ordering::Release);
        assert_eq!(before, 0, "woken twice");
        self.token.notify();
    }

    fn sleep(&self) {
        while self.woken.load(Ordering::Acquire) == 0 {
            self.token.wait();
        }
    }

    /// The clock's side, as in `interop/timer.rs`.
    fn time_out(&self, ticket: Ticket) {
        if self.claim.claim(ticket, Reason::TimedOut) {
            self.wake();
        }
    }
}

/// A counter's cell.
struct Model {
    word: WaitWord,
    timed: TimedList,
    waiters: [Waiter; WAITERS_MAX],
    /// Written before the signal; read by who was woken by it.
    done: UnsafeCell<bool>,
}

// SAFETY: loom checks all accesses to the cell; the rest is atomic or under the list's lock.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

/// How a wait ended.
#[derive(Debug, PartialEq, Eq)]
enum Waited {
    /// It was not necessary.
    Not,
    Until(Reason),
}

impl Model {
    fn new(count: u32) -> Arc<Self> {
        Arc::new(Self {
            word: WaitWord::new(count),
            timed: TimedList::new(),
            waiters: std::array::from_fn(|index| Waiter {
                node: Node::new(Kind::Fiber, index as u32 + 1),
                claim: Claim::new(),
                token: Notify::new(),
                woken: AtomicUsize::new(0),
            }),
            done: UnsafeCell::new(false),
        })
    }

    fn spawn(self: &Arc<Self>, f: impl FnOnce(&Arc<Self>) + 'static) -> thread::JoinHandle<()> {
        let model = Arc::clone(self);
        thread::spawn(move || f(&model))
    }

    fn resolve(&self, id: u32) -> *mut Node {
        if id == 0 { ptr::null_mut() } else { self.waiters[id as usize - 1].node.as_ptr() }
    }

    fn wake_node(&self, node: *mut Node) {
        // SAFETY: nodes live as long as the model.
        self.waiters[unsafe { &*node }.id() as usize - 1].wake();
    }

    fn wake_list(&self, head: u32) {
        let mut node = self.resolve(head);
        // SAFETY: the list belongs to this thread, and nodes live as long as the model.
        while let Some(current) = unsafe { node.as_ref() } {
            node = current.link();
            self.wake_node(current.as_ptr());
        }
    }

    /// `CounterCell::signal`.
    fn signal(&self) {
        match self.word.signal(1) {
            Signalled::Above { .. } => {}
            Signalled::Zero { head } => self.wake_list(head),
            Signalled::TooMany { .. } => panic!("the model signals what was added"),
            Signalled::Listed => {
                let head = self.timed.signal(&self.word, 1, |node| self.wake_node(node)).unwrap();
                self.wake_list(head);
            }
        }
    }

    /// Signals after having done something.
    fn work(&self) {
        // SAFETY: loom checks the access.
        self.done.with_mut(|done| unsafe { *done = true });
        self.signal();
    }

    fn assert_done(&self) {
        // SAFETY: loom checks the access.
        assert!(self.done.with(|done| unsafe { *done }));
    }

    /// `CounterCell::wait_target`; `start_clock` gets the ticket once the waiter is registered.
    fn wait_target(&self, index: usize, target: usize, start_clock: impl FnOnce(Ticket)) -> Waited {
        if self.word.count() <= target {
            return Waited::Not;
        }
        let waiter = &self.waiters[index];
        let ticket = waiter.claim.arm();
        let entry = Entry::new(waiter.node.as_ptr(), &waiter.claim, ticket, target);
        // SAFETY: the entry stays in this stack frame, and is removed below.
        if !unsafe { self.timed.insert(&self.word, &entry) } {
            assert!(waiter.claim.claim(ticket, Reason::Signalled), "nobody else had the ticket");
            waiter.claim.finish();
            return Waited::Not;
        }
        start_clock(ticket);
        waiter.sleep();
        let reason = waiter.claim.finish();
        self.timed.remove(&self.word, &entry);
        assert!(!entry.linked.get());
        assert_eq!(waiter.woken.load(Ordering::Relaxed), 1);
        Waited::Until(reason)
    }

    /// `CounterCell::wait_zero`.
    fn wait_zero(&self, index: usize) {
        let waiter = &self.waiters[index];
        if self.word.link(&waiter.node, |id| self.resolve(id)) {
            waiter.sleep();
        }
    }

    /// All waits are over: the list is empty and the word does not say LISTED.
    fn assert_nobody_waits(&self, count: usize) {
        assert!(self.timed.is_empty());
        assert_eq!(self.word.count(), count);
        self.word.add(1).unwrap();
        let signalled = self.word.signal(1);
        assert_ne!(signalled, Signalled::Listed, "LISTED was left behind");
    }
}

/// 2 threads, preemption bound 4.
#[test]
fn a_signal_to_zero_wakes_or_refuses_a_listed_waiter() {
    explore(4, || {
        let model = Model::new(1);
        let signaller = model.spawn(|model| model.work());
        let waited = model.wait_target(0, 0, |_| {});
        assert!(matches!(waited, Waited::Not | Waited::Until(Reason::Signalled)));
        model.assert_done();
        signaller.join().unwrap();
        model.assert_nobody_waits(0);
    });
}

/// 2 threads, preemption bound 4: the count goes down to the target, and comes back.
#[test]
fn a_count_that_reaches_the_target_and_comes_back_wakes_who_was_listed() {
    explore(4, || {
        let model = Model::new(2);
        let signaller = model.spawn(|model| {
            model.work();
            model.word.add(1).unwrap();
            model.signal();
        });
        let waited = model.wait_target(0, 1, |_| {});
        assert!(matches!(waited, Waited::Not | Waited::Until(Reason::Signalled)));
        model.assert_done();
        signaller.join().unwrap();
        model.assert_nobody_waits(1);
    });
}

/// 3 threads, preemption bound 3: what another thread adds after the target was reached hides nothing.
#[test]
fn a_listed_waiter_is_woken_although_another_thread_adds_at_once() {
    explore(3, || {
        let model = Model::new(2);
        let mut others = Vec::new();
        let waited = model.wait_target(0, 1, |_| {
            others.push(model.spawn(|model| model.work()));
            others.push(model.spawn(|model| {
                if model.word.count() == 1 {
                    model.word.add(1).unwrap();
                }
            }));
        });
        assert_eq!(waited, Waited::Until(Reason::Signalled));
        model.assert_done();
        for other in others {
            other.join().unwrap();
        }
        model.assert_nobody_waits(model.word.count());
    });
}

/// 3 threads, preemption bound 2: two signals, of which either may reach the target.
#[test]
fn two_signallers_wake_a_waiter_with_a_target_once() {
    explore(2, || {
        let model = Model::new(2);
        let signallers = [model.spawn(|model| model.signal()), model.spawn(|model| model.signal())];
        let waited = model.wait_target(0, 1, |_| {});
        assert!(matches!(waited, Waited::Not | Waited::Until(Reason::Signalled)));
        for signaller in signallers {
            signaller.join().unwrap();
        }
        model.assert_nobody_waits(0);
    });
}

/// 3 threads, preemption bound 3: a signaller, a waiter, and its clock.
#[test]
fn of_signal_and_clock_one_wakes_and_the_waiter_learns_which() {
    explore(3, || {
        let model = Model::new(1);
        let signaller = model.spawn(|model| model.work());
        let mut clock = None;
        let waited = model.wait_target(0, 0, |ticket| {
            clock = Some(model.spawn(move |model| model.waiters[0].time_out(ticket)));
        });
        if waited != Waited::Until(Reason::TimedOut) {
            model.assert_done();
        }
        signaller.join().unwrap();
        assert_eq!(clock.is_some(), waited != Waited::Not);
        if let Some(clock) = clock {
            clock.join().unwrap();
        }
        model.assert_nobody_waits(0);
    });
}

/// 3 threads, preemption bound 2: two waiters with different targets against two signals of one thread.
#[test]
fn each_waiter_is_woken_by_the_signal_that_reaches_its_target() {
    explore(2, || {
        let model = Model::new(2);
        let other = model.spawn(|model| {
            model.wait_target(1, 1, |_| {});
        });
        let signaller = model.spawn(|model| {
            model.signal();
            model.work();
        });
        model.wait_target(0, 0, |_| {});
        model.assert_done();
        other.join().unwrap();
        signaller.join().unwrap();
        model.assert_nobody_waits(0);
    });
}

/// 3 threads, preemption bound 2: the lock-free list and the timed one.
#[test]
fn one_signal_wakes_both_lists() {
    explore(2, || {
        let model = Model::new(1);
        let other = model.spawn(|model| {
            model.wait_zero(1);
            model.assert_done();
        });
        let signaller = model.spawn(|model| model.work());
        model.wait_target(0, 0, |_| {});
        model.assert_done();
        other.join().unwrap();
        signaller.join().unwrap();
        model.assert_nobody_waits(0);
    });
}

/// 3 threads, preemption bound 2: one waiter times out and leaves while another stays.
#[test]
fn a_waiter_that_leaves_does_not_hide_the_other_from_signals() {
    explore(2, || {
        let model = Model::new(1);
        let other = model.spawn(|model| {
            model.wait_target(1, 0, |_| {});
            model.assert_done();
        });
        let signaller = model.spawn(|model| model.work());
        // Its time is up at once: this thread is its own clock.
        model.wait_target(0, 0, |ticket| model.waiters[0].time_out(ticket));
        other.join().unwrap();
        signaller.join().unwrap();
        model.assert_nobody_waits(0);
    });
}
