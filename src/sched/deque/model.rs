//! loom: every item of the deque is taken exactly once, and what was written before the push is seen by the taker.

#![expect(unsafe_code, reason = "the owner's operations")]

use super::{Deque, Leaves, Place, Stale, Steal};
use crate::primitives::explore;
use loom::cell::UnsafeCell;
use loom::thread;
use std::ptr;
use std::sync::Arc;

const ITEMS_MAX: usize = 5;

/// A deque whose items are numbers from 1 on, and what lies behind each of them.
struct Model {
    deque: Deque,
    /// Written before the push, taken by whoever gets the item; loom finds any two accesses that race.
    behind: [UnsafeCell<bool>; ITEMS_MAX],
}

// SAFETY: loom checks all accesses to the cells.
unsafe impl Sync for Model {}

impl Model {
    fn new() -> Arc<Self> {
        Arc::new(Self { deque: Deque::new(), behind: std::array::from_fn(|_| UnsafeCell::new(false)) })
    }

    fn push(&self, item: usize) {
        // SAFETY: only the model's owner thread pushes and pops.
        self.behind[item - 1].with_mut(|behind| unsafe { *behind = true });
        _ = unsafe { self.deque.push(ptr::without_provenance_mut(item)) };
    }

    /// Accounts for a taken item.
    fn taken(&self, item: *mut ()) {
        let item = item.addr();
        assert!((1..=ITEMS_MAX).contains(&item), "an item that was never pushed: {item}");
        // SAFETY: loom checks that nobody else accesses the cell.
        let was_there = self.behind[item - 1].with_mut(|behind| unsafe { behind.replace(false) });
        assert!(was_there, "item {item} was taken twice");
    }

    fn pop(&self) -> bool {
        // SAFETY: as in `push`.
        let Some(item) = (unsafe { self.deque.pop() }) else { return false };
        self.taken(item);
        true
    }

    /// As `push`, and says where.
    fn push_half(&self, item: usize) -> Place {
        // SAFETY: as in `push`.
        self.behind[item - 1].with_mut(|behind| unsafe { *behind = true });
        unsafe { self.deque.push(ptr::without_provenance_mut(item)) }
    }

    /// Takes an item back as a join does; what comes instead goes back as well. Whether it was there.
    fn take_back(&self, item: usize, place: Place) -> bool {
        let item = ptr::without_provenance_mut(item);
        // SAFETY: as in `push`.
        match unsafe { self.deque.pop_exactly(item, place) } {
            Ok(()) => {
                self.taken(item);
                true
            }
            Err(None) => false,
            Err(Some(other)) => {
                assert_ne!(other, item);
                // SAFETY: as in `push`.
                _ = unsafe { self.deque.push(other) };
                false
            }
        }
    }

    fn steal(&self) -> bool {
        let Steal::Item(item) = self.deque.steal() else { return false };
        self.taken(item);
        true
    }

    /// Steals up to three items at once.
    fn steal_some(&self) -> usize {
        let mut items = [ptr::null_mut(); 3];
        let Steal::Item(count) = self.deque.steal_some(&mut items, |_| Leaves::Together) else { return 0 };
        for item in &items[..count] {
            self.taken(*item);
        }
        count
    }

    /// Spawns a thief that tries to steal several items at once, `count` times.
    fn greedy_thief(self: &Arc<Self>, count: usize) -> thread::JoinHandle<()> {
        let model = Arc::clone(self);
        thread::spawn(move || {
            for _ in 0..count {
                model.steal_some();
            }
        })
    }

    /// Spawns a thief that tries `count` times.
    fn thief(self: &Arc<Self>, count: usize) -> thread::JoinHandle<()> {
        let model = Arc::clone(self);
        thread::spawn(move || {
            for _ in 0..count {
                model.steal();
            }
        })
    }

    /// The thieves are gone: what is left belongs to the owner, and then all was taken.
    fn end(&self) {
        while self.pop() {}
        assert_eq!(self.deque.steal(), Steal::Empty);
        for behind in &self.behind {
            // SAFETY: all other threads have ended.
            assert!(!behind.with(|behind| unsafe { *behind }), "an item was lost");
        }
    }
}

std::thread_local! {
    /// Stale items that the owner has dropped. loom runs all of its threads on one.
    static DROPPED: std::cell::RefCell<Vec<usize>> = const { std::cell::RefCell::new(Vec::new()) };
}

/// Odd items are stale.
static ODD: Stale = Stale {
    is: |item| item.addr() % 2 == 1,
    drop: |item| DROPPED.with_borrow_mut(|dropped| dropped.push(item.addr())),
};

/// 2 threads, preemption bound 3. The ring has two slots; at the third and fifth push the owner gets rid of what is stale, and
/// moves the others, while the thief steals.
#[test]
fn getting_rid_of_stale_items_races_with_a_thief() {
    explore(3, || {
        DROPPED.with_borrow_mut(Vec::clear);
        let behind = std::array::from_fn(|_| UnsafeCell::new(false));
        let model = Arc::new(Model { deque: Deque::with_stale(&ODD), behind });
        model.push(1);
        let thief = model.thief(2);
        for item in 2..=5 {
            model.push(item);
        }
        model.pop();
        thief.join().unwrap();
        for item in DROPPED.with_borrow_mut(std::mem::take) {
            assert_eq!(item % 2, 1);
            model.taken(ptr::without_provenance_mut(item));
        }
        model.end();
    });
}

/// 2 threads, preemption bound 4.
#[test]
fn the_last_item_goes_to_the_owner_or_to_the_thief() {
    explore(4, || {
        let model = Model::new();
        model.push(1);
        let thief = model.thief(1);
        model.pop();
        thief.join().unwrap();
        model.end();
    });
}

/// 2 threads, preemption bound 3. Two items are pushed and one popped, so that the thief may read a `bottom` that was
/// written by a pop.
#[test]
fn a_thief_that_sees_a_lowered_bottom_sees_the_items_below() {
    explore(3, || {
        let model = Model::new();
        let thief = model.thief(2);
        model.push(1);
        model.push(2);
        model.pop();
        thief.join().unwrap();
        model.end();
    });
}

/// 2 threads, preemption bound 3.
#[test]
fn pushes_and_pops_against_one_thief_take_each_item_once() {
    explore(3, || {
        let model = Model::new();
        model.push(1);
        let thief = model.thief(2);
        model.push(2);
        model.pop();
        model.push(3);
        model.pop();
        thief.join().unwrap();
        model.end();
    });
}

/// 2 threads, preemption bound 3. The ring has two slots and grows at the third and fifth push.
#[test]
fn items_survive_the_growth_of_the_ring() {
    explore(3, || {
        let model = Model::new();
        model.push(1);
        let thief = model.thief(3);
        for item in 2..=5 {
            model.push(item);
        }
        thief.join().unwrap();
        model.end();
    });
}

/// 2 threads, preemption bound 3. Items leave while others come, so that ring positions are used again.
#[test]
fn positions_of_the_ring_are_used_again_only_after_their_items_left() {
    explore(3, || {
        let model = Model::new();
        model.push(1);
        model.push(2);
        let thief = model.thief(2);
        if model.steal() {
            model.push(3);
        }
        model.push(4);
        model.pop();
        thief.join().unwrap();
        model.end();
    });
}

/// 3 threads, preemption bound 2.
#[test]
fn two_thieves_and_the_owner_take_each_item_once() {
    explore(2, || {
        let model = Model::new();
        model.push(1);
        model.push(2);
        let thieves = [model.thief(1), model.thief(1)];
        model.pop();
        model.push(3);
        for thief in thieves {
            thief.join().unwrap();
        }
        model.end();
    });
}

/// 2 threads, preemption bound 4. A thief claims two of three items while the owner takes them back, one by one.
#[test]
fn items_that_are_claimed_are_taken_back_or_stolen() {
    explore(4, || {
        let model = Model::new();
        for item in 1..=3 {
            model.push(item);
        }
        let thief = model.greedy_thief(1);
        while model.pop() {}
        thief.join().unwrap();
        model.end();
    });
}

/// 3 threads, preemption bound 3. What the owner pushes after it has taken an item out of a claim has that item's place in the
/// ring, and may be claimed by the second thief, so that the word says what it said when the first thief read the place, but
/// for its epoch.
#[test]
fn an_item_that_replaces_a_claimed_one_is_not_mistaken_for_it() {
    explore(3, || {
        let model = Model::new();
        model.push(1);
        let thieves = [model.greedy_thief(1), model.greedy_thief(1)];
        if model.pop() {
            model.push(2);
        }
        for thief in thieves {
            thief.join().unwrap();
        }
        model.end();
    });
}

/// 3 threads, preemption bound 2. The second thief may go on with the claim of the first.
#[test]
fn a_claim_is_taken_by_one_of_two_thieves() {
    explore(2, || {
        let model = Model::new();
        for item in 1..=3 {
            model.push(item);
        }
        let thieves = [model.greedy_thief(1), model.greedy_thief(1)];
        model.pop();
        for thief in thieves {
            thief.join().unwrap();
        }
        model.end();
    });
}

/// 2 threads, preemption bound 3. The ring has two slots and grows while several items are being stolen.
#[test]
fn several_items_survive_the_growth_of_the_ring() {
    explore(3, || {
        let model = Model::new();
        model.push(1);
        model.push(2);
        let thief = model.greedy_thief(2);
        for item in 3..=5 {
            model.push(item);
        }
        thief.join().unwrap();
        model.end();
    });
}

/// 3 threads, preemption bound 2: `Worker::raise_all`. Items are raised by being moved to a deque of another priority
/// while their owner and a thief take them; each is taken once, from one deque or the other.
#[test]
fn an_item_that_is_raised_is_taken_once() {
    explore(2, || {
        let (low, high) = (Model::new(), Arc::new(Deque::new()));
        low.push(1);
        low.push(2);
        let raiser = {
            let (low, high) = (Arc::clone(&low), Arc::clone(&high));
            thread::spawn(move || {
                if let Steal::Item(item) = low.deque.steal() {
                    // SAFETY: only this thread pushes onto and pops from `high` until it has ended.
                    _ = unsafe { high.push(item) };
                }
            })
        };
        let thief = {
            let (low, high) = (Arc::clone(&low), Arc::clone(&high));
            thread::spawn(move || {
                if let Steal::Item(item) = high.steal() {
                    low.taken(item);
                }
            })
        };
        low.pop();
        raiser.join().unwrap();
        thief.join().unwrap();
        // SAFETY: its owner has ended.
        while let Some(item) = unsafe { high.pop() } {
            low.taken(item);
        }
        low.end();
    });
}

/// 3 threads, preemption bound 2. Nested joins take their halves back while thieves are after them: each half is taken once, by
/// whoever gets it.
#[test]
fn halves_are_taken_back_or_stolen() {
    explore(2, || {
        let model = Model::new();
        let thieves = [model.greedy_thief(1), model.thief(1)];
        let outer = model.push_half(1);
        let inner = model.push_half(2);
        model.take_back(2, inner);
        model.take_back(1, outer);
        for thief in thieves {
            thief.join().unwrap();
        }
        model.end();
    });
}

/// 2 threads, preemption bound 3. The half that an owner wants back has been popped by somebody else on the same thread, as while
/// its join was suspended in the meantime, and another item lies in its place: it is not taken for the half.
#[test]
fn another_item_in_a_halfs_place_is_not_taken_for_it() {
    explore(3, || {
        let model = Model::new();
        let place = model.push_half(1);
        let thief = model.thief(1);
        model.pop();
        model.push(2);
        assert!(!model.take_back(1, place));
        thief.join().unwrap();
        model.end();
    });
}
