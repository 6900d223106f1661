//! loom: wakes that come early, late, twice and at once. Each poll that follows a wake sees what was done before it, and none is lost.

use super::WakeWord;
use crate::memory::node::{Kind, Node};
use crate::primitives::{AtomicUsize, Ordering, explore};
use loom::sync::{Arc, Notify};

struct Model {
    word: WakeWord,
    node: Node,
    /// Stands for the fiber's suspension.
    token: Notify,
    /// How many things have happened that the future waits for.
    progress: AtomicUsize,
    /// Wakes of the suspended fiber.
    woken: AtomicUsize,
}

impl Model {
    fn wake(&self) {
        self.progress.fetch_add(1, Ordering::Relaxed);
        if let Some(node) = self.word.notify() {
            assert_eq!(node, self.node.as_ptr());
            // The inbox hands over what the waker did.
            assert_eq!(self.woken.fetch_add(1, Ordering::Release), 0, "woken twice");
            self.token.notify();
        }
    }

    /// Waits until there is a notification, as `block_on` does.
    fn wait(&self) {
        while !self.word.take() {
            if self.word.wait(self.node.as_ptr()) {
                while self.woken.load(Ordering::Acquire) == 0 {
                    self.token.wait();
                }
                self.woken.store(0, Ordering::Relaxed);
            }
        }
    }
}

fn wakes_are_not_lost(wakers: usize, wakes_each: usize) {
    explore(3, move || {
        let model = Arc::new(Model {
            word: WakeWord::new(),
            node: Node::new(Kind::Fiber, 1),
            token: Notify::new(),
            progress: AtomicUsize::new(0),
            woken: AtomicUsize::new(0),
        });
        let threads: Vec<_> = (0..wakers)
            .map(|_| {
                let model = Arc::clone(&model);
                loom::thread::spawn(move || (0..wakes_each).for_each(|_| model.wake()))
            })
            .collect();
        // The future is ready when all of it has happened; it is polled after each notification.
        while model.progress.load(Ordering::Relaxed) < wakers * wakes_each {
            model.wait();
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

#[test]
fn a_wake_from_another_thread() {
    wakes_are_not_lost(1, 2);
}

#[test]
fn two_wake_at_once() {
    wakes_are_not_lost(2, 1);
}
