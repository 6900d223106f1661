//! 10,000 scripts that wait for their turn: each frame wakes a hundred of them.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use super::frame::pose;

pub(super) const SCRIPTS: usize = 10_000;
/// Scripts of one group wait for the same, and go on together.
pub(super) const GROUPS: usize = 100;

/// What scripts have done.
#[derive(Debug)]
pub(super) struct Scripts {
    rounds: u32,
    /// Scripts that are about to wait for the first time. Counted up by them, read by the pacing thread.
    started: AtomicUsize,
    /// Turns that scripts had.
    turns: AtomicUsize,
    /// Scripts that have ended.
    ended: AtomicUsize,
}

impl Scripts {
    pub(super) fn new(rounds: u32) -> Arc<Self> {
        let zero = || AtomicUsize::new(0);
        Arc::new(Self { rounds, started: zero(), turns: zero(), ended: zero() })
    }

    pub(super) fn start(&self) {
        self.started.fetch_add(1, Ordering::Relaxed);
    }

    /// What a script does in its turn.
    pub(super) fn turn(&self) {
        black_box(pose(black_box(1), self.rounds));
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn end(&self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn turns(&self) -> usize {
        self.turns.load(Ordering::Relaxed)
    }

    /// Waits until all are there.
    pub(super) fn wait_for_start(&self) {
        wait_for(&self.started);
    }

    /// Waits until all have gone.
    pub(super) fn wait_for_end(&self) {
        wait_for(&self.ended);
    }
}

fn wait_for(count: &AtomicUsize) {
    while count.load(Ordering::Relaxed) < SCRIPTS {
        thread::sleep(Duration::from_millis(1));
    }
}
