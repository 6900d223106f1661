//! loom: a fiber that is woken during its switch is resumed once, and not before its registers are saved.

use super::{FiberState, State};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use std::sync::Arc;

struct Model {
    state: State,
    /// What the switch saves, and a resume reads.
    registers: UnsafeCell<u32>,
    /// 1 if somebody may resume the fiber: a queue of one.
    queue: AtomicUsize,
    pushed_count: AtomicUsize,
}

// SAFETY: `registers` is what loom checks.
#[expect(unsafe_code, reason = "shares a cell that loom watches")]
unsafe impl Sync for Model {}

impl Model {
    fn new() -> Arc<Self> {
        let state = State::new();
        state.set(FiberState::Suspending);
        Arc::new(Self {
            state,
            registers: UnsafeCell::new(0),
            queue: AtomicUsize::new(0),
            pushed_count: AtomicUsize::new(0),
        })
    }

    fn push(&self) {
        self.pushed_count.fetch_add(1, Ordering::Relaxed);
        self.queue.fetch_or(1, Ordering::Release);
    }

    /// `Worker::run_fiber`, after the fiber has come back to the root.
    #[expect(unsafe_code, reason = "loom's cell hands out a pointer")]
    fn switch(&self) {
        // SAFETY: loom fails the model if anybody else is at the cell.
        self.registers.with_mut(|registers| unsafe { *registers = 7 });
        if self.state.switched() {
            self.push();
        }
    }

    fn wake(&self) {
        if self.state.woken() {
            self.push();
        }
    }

    #[expect(unsafe_code, reason = "loom's cell hands out a pointer")]
    fn resume_if_pushed(&self) -> bool {
        if self.queue.fetch_and(0, Ordering::Acquire) == 0 {
            return false;
        }
        self.state.set(FiberState::Running);
        // SAFETY: as in `switch`.
        assert_eq!(self.registers.with(|registers| unsafe { *registers }), 7);
        true
    }
}

/// 3 threads, preemption bound 3: the root, the waker, and a thief.
#[test]
fn a_fiber_woken_during_its_switch_is_published_once_and_complete() {
    explore(3, || {
        let model = Model::new();
        let root = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.switch())
        };
        let thief = {
            let model = Arc::clone(&model);
            thread::spawn(move || model.resume_if_pushed())
        };
        model.wake();
        root.join().unwrap();
        let stolen = thief.join().unwrap();
        assert_eq!(model.pushed_count.load(Ordering::Relaxed), 1, "published once");
        assert!(stolen || model.resume_if_pushed(), "published, and not lost");
    });
}
