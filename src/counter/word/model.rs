//! loom: no zero crossing is lost, every waiter is woken exactly once, and a latch is not touched after its release.

#![expect(unsafe_code, reason = "checked cells, and a latch that its waiter frees")]

use super::{Released, Signalled, WaitWord};
use crate::memory::node::{Kind, Node};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::sync::Notify;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::ptr;
use std::sync::Arc;

const WAITERS_MAX: usize = 2;

/// Somebody who waits: a node, and a token that may also come for no reason.
struct Waiter {
    node: Node,
    token: Notify,
    woken: AtomicUsize,
}

impl Waiter {
    fn all() -> [Waiter; WAITERS_MAX] {
        std::array::from_fn(|index| Waiter {
            node: Node::new(Kind::Fiber, index as u32 + 1),
            token: Notify::new(),
            woken: AtomicUsize::new(0),
        })
    }

    fn wake(&self) {
        // The parker and the inbox hand over what the waker did.
        let before = self.woken.fetch_add(1, Ordering::Release);
        assert_eq!(before, 0, "woken twice");
        self.token.notify();
    }

    /// Sleeps until woken; loom reports a deadlock if that never comes.
    fn sleep(&self) {
        while self.woken.load(Ordering::Acquire) == 0 {
            self.token.wait();
        }
    }
}

fn resolve(waiters: &[Waiter], id: u32) -> *mut Node {
    if id == 0 { ptr::null_mut() } else { waiters[id as usize - 1].node.as_ptr() }
}

/// A word and its waiters.
struct Model {
    word: WaitWord,
    waiters: [Waiter; WAITERS_MAX],
    /// What each signaller writes before it signals, and who waited reads afterwards.
    done: [UnsafeCell<bool>; 2],
}

// SAFETY: loom checks all accesses to the cells; nodes are atomic.
unsafe impl Sync for Model {}
// SAFETY: as above.
unsafe impl Send for Model {}

impl Model {
    fn new(count: u32) -> Arc<Self> {
        Arc::new(Self {
            word: WaitWord::new(count),
            waiters: Waiter::all(),
            done: std::array::from_fn(|_| UnsafeCell::new(false)),
        })
    }

    fn spawn(self: &Arc<Self>, f: impl FnOnce(&Self) + 'static) -> thread::JoinHandle<()> {
        let model = Arc::clone(self);
        thread::spawn(move || f(&model))
    }

    /// `Counter::signal`: wakes the list if this was the last.
    fn signal(&self) -> Signalled {
        let signalled = self.word.signal(1);
        if let Signalled::Zero { head } = signalled {
            self.wake_list(head);
        }
        signalled
    }

    /// Signals after having done something.
    fn work(&self, index: usize) -> Signalled {
        // SAFETY: loom checks the access.
        self.done[index].with_mut(|done| unsafe { *done = true });
        self.signal()
    }

    fn wake_list(&self, head: u32) {
        let mut node = resolve(&self.waiters, head);
        // SAFETY: the list belongs to this thread, and nodes live as long as the model.
        while let Some(current) = unsafe { node.as_ref() } {
            node = current.link();
            self.waiters[current.id() as usize - 1].wake();
        }
    }

    /// `Counter::wait`; whether it had to sleep.
    fn wait(&self, index: usize) -> bool {
        if self.word.count() == 0 {
            return false;
        }
        let waiter = &self.waiters[index];
        let linked = self.word.link(&waiter.node, |id| resolve(&self.waiters, id));
        if linked {
            waiter.sleep();
        }
        linked
    }

    /// Whoever has waited sees what was done before the signals.
    fn assert_done(&self, index: usize) {
        // SAFETY: loom checks the access.
        assert!(self.done[index].with(|done| unsafe { *done }));
    }

    fn assert_woken(&self, index: usize, slept: bool) {
        assert_eq!(self.waiters[index].woken.load(Ordering::Relaxed), usize::from(slept));
    }

    /// Nothing is left in the word: no count, list or flag.
    fn assert_empty(&self) {
        assert_eq!(self.word.0.load(Ordering::Relaxed), 0);
    }
}

/// 3 threads, preemption bound 3: two waiters against one signal.
#[test]
fn a_waiter_is_refused_or_woken_by_the_signal_that_makes_zero() {
    explore(3, || {
        let model = Model::new(1);
        let other = model.spawn(|model| {
            let slept = model.wait(1);
            model.assert_done(0);
            model.assert_woken(1, slept);
        });
        let signaller = model.spawn(|model| {
            assert!(matches!(model.work(0), Signalled::Zero { .. }));
        });
        let slept = model.wait(0);
        model.assert_done(0);
        model.assert_woken(0, slept);
        other.join().unwrap();
        signaller.join().unwrap();
        model.assert_empty();
    });
}

/// 3 threads, preemption bound 3: one waiter against two signals.
#[test]
fn of_two_signallers_one_detaches_the_list_and_the_waiter_sees_what_both_did() {
    explore(3, || {
        let model = Model::new(2);
        let signallers = [0, 1].map(|index| model.spawn(move |model| _ = model.work(index)));
        let slept = model.wait(0);
        model.assert_done(0);
        model.assert_done(1);
        for signaller in signallers {
            signaller.join().unwrap();
        }
        model.assert_woken(0, slept);
        model.assert_empty();
    });
}

/// 3 threads, preemption bound 3: the count comes back from zero while the waiter links itself.
#[test]
fn a_waiter_that_was_linked_before_zero_is_woken_although_the_count_comes_back() {
    explore(3, || {
        let model = Model::new(1);
        let adder = model.spawn(|model| {
            model.word.add(1).unwrap();
            let _ = model.signal();
        });
        let signaller = model.spawn(|model| _ = model.work(0));
        let slept = model.wait(0);
        signaller.join().unwrap();
        adder.join().unwrap();
        model.assert_woken(0, slept);
        model.assert_done(0);
        model.assert_empty();
    });
}

/// 2 threads, preemption bound 4: zero, one, zero by one thread.
#[test]
fn a_waiter_is_woken_once_by_a_count_that_reaches_zero_twice() {
    explore(4, || {
        let model = Model::new(1);
        let signaller = model.spawn(|model| {
            assert!(matches!(model.work(0), Signalled::Zero { .. }));
            model.word.add(1).unwrap();
            assert!(matches!(model.signal(), Signalled::Zero { .. }));
        });
        let slept = model.wait(0);
        model.assert_done(0);
        signaller.join().unwrap();
        model.assert_woken(0, slept);
        model.assert_empty();
    });
}

/// 3 threads, preemption bound 3: a waiter that comes after a zero and a new start waits for the next zero.
#[test]
fn a_waiter_of_the_next_round_is_not_woken_by_the_last_one() {
    explore(3, || {
        let model = Model::new(1);
        let last = model.spawn(|model| _ = model.work(0));
        let mut next = None;
        if model.word.count() == 0 {
            model.word.add(1).unwrap();
            next = Some(model.spawn(|model| _ = model.work(1)));
        }
        let slept = model.wait(0);
        if let Some(next) = next {
            model.assert_done(1);
            next.join().unwrap();
        }
        last.join().unwrap();
        model.assert_done(0);
        model.assert_woken(0, slept);
        model.assert_empty();
    });
}

/// 3 threads, preemption bound 3: `Counter::guard` adds and signals while another signals, and one waits.
#[test]
fn a_guard_neither_loses_a_waiter_nor_goes_below_zero() {
    explore(3, || {
        let model = Model::new(1);
        let guard = model.spawn(|model| {
            model.word.add(1).unwrap();
            assert!(!matches!(model.work(1), Signalled::TooMany { .. }));
        });
        let signaller = model.spawn(|model| {
            assert!(!matches!(model.work(0), Signalled::TooMany { .. }));
        });
        let slept = model.wait(0);
        model.assert_done(0);
        guard.join().unwrap();
        signaller.join().unwrap();
        model.assert_woken(0, slept);
        model.assert_empty();
    });
}

/// 2 threads, preemption bound 3: more is signalled than there is.
#[test]
fn of_two_signals_of_a_count_of_one_one_is_refused() {
    explore(3, || {
        let model = Model::new(1);
        let other = model.spawn(|model| _ = model.work(0));
        let mine = model.signal();
        other.join().unwrap();
        assert!(matches!(mine, Signalled::Zero { .. } | Signalled::TooMany { count: 0 }));
        model.assert_empty();
    });
}

/// A latch on its owner's stack, as in a scope: members release it, the owner waits and frees it.
struct Latch {
    word: WaitWord,
    /// Read by each member for as long as it is inside `release`, written by the owner when it frees the latch: loom finds
    /// an owner that does so while a member still uses it.
    memory: UnsafeCell<bool>,
}

/// What members and owner share besides the latch.
struct Members {
    latch: *const Latch,
    waiters: [Waiter; WAITERS_MAX],
    done: [UnsafeCell<bool>; 2],
    detached_ends: std::sync::atomic::AtomicUsize,
}

// SAFETY: loom checks all accesses to the cells; the latch is what the model is about.
unsafe impl Sync for Members {}
// SAFETY: as above.
unsafe impl Send for Members {}

impl Members {
    fn of(latch: &Latch) -> Arc<Self> {
        Arc::new(Self {
            latch,
            waiters: Waiter::all(),
            done: std::array::from_fn(|_| UnsafeCell::new(false)),
            detached_ends: Default::default(),
        })
    }

    /// A member's end, as in `Group::release`.
    fn end(&self, index: usize) {
        // SAFETY: loom checks the access.
        self.done[index].with_mut(|done| unsafe { *done = true });
        // SAFETY: the latch counts this member, so it is still there.
        let latch = unsafe { &*self.latch };
        match latch.memory.with(|_| latch.word.release(1)) {
            Released::Above | Released::Zero { waiter: 0, detached: false } => {}
            Released::Zero { waiter, detached: false } => self.waiters[waiter as usize - 1].wake(),
            Released::Zero { detached: true, .. } => {
                self.detached_ends.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }

    fn spawn(self: &Arc<Self>, index: usize) -> thread::JoinHandle<()> {
        let members = Arc::clone(self);
        thread::spawn(move || members.end(index))
    }
}

/// The owner's wait, as in `Group::wait`, and the end of its stack frame.
fn wait_and_free(mut latch: Box<Latch>, members: &Arc<Members>, count: usize) {
    if latch.word.count() != 1 {
        let waiter = &members.waiters[0];
        assert!(latch.word.link(&waiter.node, |id| resolve(&members.waiters, id)));
        if latch.word.release(1) == Released::Above {
            waiter.sleep();
        }
    }
    // SAFETY: loom checks the accesses.
    for done in &members.done[..count] {
        assert!(done.with(|done| unsafe { *done }));
    }
    latch.memory.with_mut(|memory| unsafe { *memory = true });
    // The memory becomes something else, which a late write would change.
    latch.word = WaitWord::new(7);
    thread::yield_now();
    assert_eq!(latch.word.0.load(Ordering::Relaxed), 7 << 32, "a latch was touched after it had been freed");
}

fn latch(count: u32) -> Box<Latch> {
    Box::new(Latch { word: WaitWord::new(count), memory: UnsafeCell::new(false) })
}

/// 2 threads, preemption bound 4.
#[test]
fn the_release_of_one_member_is_its_last_touch_of_the_latch() {
    explore(4, || {
        let latch = latch(2);
        let members = Members::of(&latch);
        let member = members.spawn(0);
        wait_and_free(latch, &members, 1);
        member.join().unwrap();
    });
}

/// 3 threads, preemption bound 3.
#[test]
fn the_release_of_two_members_is_their_last_touch_of_the_latch() {
    explore(3, || {
        let latch = latch(3);
        let members = Members::of(&latch);
        let ends = [members.spawn(0), members.spawn(1)];
        wait_and_free(latch, &members, 2);
        for end in ends {
            end.join().unwrap();
        }
    });
}

/// 3 threads, preemption bound 3: a batch whose handle is dropped while its members end.
#[test]
fn a_detached_latch_is_ended_by_exactly_one() {
    explore(3, || {
        let latch = latch(3);
        let members = Members::of(&latch);
        let ends = [members.spawn(0), members.spawn(1)];
        latch.word.detach();
        if let Released::Zero { waiter, detached } = latch.word.release(1) {
            assert!(detached && waiter == 0);
            members.detached_ends.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        for end in ends {
            end.join().unwrap();
        }
        assert_eq!(members.detached_ends.load(std::sync::atomic::Ordering::Relaxed), 1);
    });
}
