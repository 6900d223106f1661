//! loom: nothing that is pushed gets lost, and the owner never sleeps for good beside a full inbox.

#![expect(unsafe_code, reason = "follows the links of the list")]

use super::Inbox;
use crate::memory::node::{Kind, Node};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;

const NODES_MAX: usize = 3;

/// An inbox, its owner's token, and nodes to push.
struct Model {
    inbox: Inbox,
    /// May also wake the owner for no reason, as a stale token does.
    token: Notify,
    nodes: [Node; NODES_MAX],
    /// Written before the push, read by the owner: loom finds a missing edge between the two.
    behind: [UnsafeCell<bool>; NODES_MAX],
}

// SAFETY: loom checks all accesses to the cells; nodes are atomic.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            inbox: Inbox::new(),
            token: Notify::new(),
            nodes: std::array::from_fn(|index| Node::new(Kind::Fiber, index as u32 + 1)),
            behind: std::array::from_fn(|_| UnsafeCell::new(false)),
        })
    }

    /// Delivers the nodes `first..=last` as one chain, as `Remote::deliver` does.
    fn deliver(&self, first: usize, last: usize) {
        for index in first..=last {
            // SAFETY: loom checks the access.
            self.behind[index].with_mut(|behind| unsafe { *behind = true });
            if index < last {
                self.nodes[index].set_link(self.nodes[index + 1].as_ptr());
            }
        }
        if self.inbox.push_chain(&self.nodes[first], &self.nodes[last]) {
            self.token.notify();
        }
    }

    /// Takes everything; tells how much that was.
    fn take(&self) -> usize {
        let mut list = self.inbox.take_all();
        let mut count = 0;
        // SAFETY: the list is the owner's, and the nodes live as long as the model.
        while let Some(node) = unsafe { list.as_ref() } {
            list = node.link();
            let behind = &self.behind[node.id() as usize - 1];
            // SAFETY: loom checks the access.
            assert!(
                behind.with_mut(|behind| unsafe { behind.replace(false) }),
                "taken twice or before it was written"
            );
            count += 1;
        }
        count
    }

    /// The owner: takes `count` nodes, and sleeps whenever there is none. loom reports a deadlock if it sleeps for good.
    fn own(&self, count: usize) {
        let mut taken = 0;
        while taken < count {
            if !self.inbox.is_empty() {
                taken += self.take();
                continue;
            }
            if self.inbox.try_park() {
                self.token.wait();
                self.inbox.leave_parked();
            }
        }
        assert_eq!(taken, count);
        assert!(self.inbox.is_empty());
    }
}

/// 2 threads, preemption bound 4.
#[test]
fn an_owner_that_goes_to_sleep_meets_one_pusher() {
    explore(4, || {
        let model = Model::new();
        let theirs = Arc::clone(&model);
        let pusher = thread::spawn(move || {
            theirs.deliver(0, 0);
            theirs.deliver(1, 1);
        });
        model.own(2);
        pusher.join().unwrap();
    });
}

/// 3 threads, preemption bound 3.
#[test]
fn an_owner_that_goes_to_sleep_meets_two_pushers() {
    explore(3, || {
        let model = Model::new();
        let pushers = [(0, 0), (1, 2)].map(|(first, last)| {
            let theirs = Arc::clone(&model);
            thread::spawn(move || theirs.deliver(first, last))
        });
        model.own(3);
        for pusher in pushers {
            pusher.join().unwrap();
        }
    });
}

/// 2 threads, preemption bound 4. The owner changes its mind after it has said that it parks, as a worker does whose
/// last look found work elsewhere.
#[test]
fn an_owner_that_takes_its_announcement_back_loses_nothing() {
    explore(4, || {
        let model = Model::new();
        let theirs = Arc::clone(&model);
        let pusher = thread::spawn(move || {
            theirs.deliver(0, 0);
            theirs.deliver(1, 1);
        });
        if model.inbox.try_park() {
            model.inbox.leave_parked();
        }
        model.own(2);
        pusher.join().unwrap();
    });
}
