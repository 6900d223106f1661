//! loom: one source wins each wait, and nobody wins a wait that is over.

#![expect(unsafe_code, reason = "checked cells")]

use super::{Claim, Reason, Ticket};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::thread;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A waiter and what the winners of its waits leave for it.
struct Model {
    claim: Claim,
    token: Notify,
    /// Each source writes its own before it claims; the waiter reads the winner's.
    left_by: [UnsafeCell<bool>; 2],
    /// Not part of the model: how many claims succeeded.
    wins: AtomicUsize,
}

// SAFETY: loom checks all accesses to the cells.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            claim: Claim::new(),
            token: Notify::new(),
            left_by: std::array::from_fn(|_| UnsafeCell::new(false)),
            wins: AtomicUsize::new(0),
        })
    }

    /// Tries to wake the wait of `ticket`, after it has left something for the waiter.
    fn wake(&self, ticket: Ticket, reason: Reason) {
        // SAFETY: loom checks the access.
        self.left_by[reason as usize - 2].with_mut(|left| unsafe { *left = true });
        if self.claim.claim(ticket, reason) {
            self.wins.fetch_add(1, Ordering::Relaxed);
            self.token.notify();
        }
    }

    fn source(self: &Arc<Self>, ticket: Ticket, reason: Reason) -> thread::JoinHandle<()> {
        let model = Arc::clone(self);
        thread::spawn(move || model.wake(ticket, reason))
    }

    /// Sleeps until the wait was won. The token may come for no reason, so the word is looked at.
    fn sleep(&self) {
        while self.claim.0.load(crate::primitives::Ordering::Relaxed) & super::STATE_MASK == super::ARMED {
            self.token.wait();
        }
    }
}

/// 3 threads, preemption bound 4.
#[test]
fn of_signaller_and_clock_exactly_one_wakes_the_waiter() {
    explore(4, || {
        let model = Model::new();
        let ticket = model.claim.arm();
        let sources = [Reason::Signalled, Reason::TimedOut].map(|reason| model.source(ticket, reason));
        model.sleep();
        let reason = model.claim.finish();
        // SAFETY: loom checks the access: the winner's writes happen before this.
        assert!(model.left_by[reason as usize - 2].with(|left| unsafe { *left }));
        for source in sources {
            source.join().unwrap();
        }
        assert_eq!(model.wins.load(Ordering::Relaxed), 1);
    });
}

/// 2 threads, preemption bound 5. The clock of the first wait fires at any moment of the second.
#[test]
fn a_stale_ticket_never_ends_a_later_wait() {
    explore(5, || {
        let model = Model::new();
        let first = model.claim.arm();
        let clock = model.source(first, Reason::TimedOut);
        let won_first = model.claim.claim(first, Reason::Signalled);
        if !won_first {
            assert_eq!(model.claim.finish(), Reason::TimedOut);
        } else {
            assert_eq!(model.claim.finish(), Reason::Signalled);
        }
        let second = model.claim.arm();
        assert_ne!(first, second);
        assert!(model.claim.claim(second, Reason::Signalled), "a stale ticket ended this wait");
        assert_eq!(model.claim.finish(), Reason::Signalled);
        clock.join().unwrap();
        assert_eq!(model.wins.load(Ordering::Relaxed), usize::from(!won_first));
        assert!(!model.claim.claim(first, Reason::TimedOut) && !model.claim.claim(second, Reason::TimedOut));
    });
}
