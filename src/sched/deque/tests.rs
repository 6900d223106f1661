//! Sequential use; `model.rs` has the races.
#![cfg(not(any(loom, shuttle)))]
#![expect(unsafe_code, reason = "the owner's operations")]

use super::{CLAIM_MAX, Deque, FIRST_CAPACITY, Leaves, Stale, Steal};
use crate::primitives::Ordering;
use std::ptr;

fn item(number: usize) -> *mut () {
    ptr::without_provenance_mut(number)
}

/// Pushes the numbers of the range.
fn fill(deque: &Deque, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        // SAFETY: these tests use a deque from one thread only.
        _ = unsafe { deque.push(item(number)) };
    }
}

fn pop(deque: &Deque) -> Option<*mut ()> {
    // SAFETY: as above.
    unsafe { deque.pop() }
}

#[test]
fn an_empty_deque_gives_nothing_however_often_it_is_asked() {
    let deque = Deque::new();
    for _ in 0..3 {
        assert_eq!(pop(&deque), None);
        assert_eq!(deque.steal(), Steal::Empty);
        assert!(deque.is_empty());
    }
    fill(&deque, 1..=1);
    assert_eq!(pop(&deque), Some(item(1)));
    assert_eq!(pop(&deque), None);
}

#[test]
fn the_owner_takes_the_newest_and_a_thief_the_oldest() {
    let deque = Deque::new();
    fill(&deque, 1..=4);
    assert_eq!(deque.len(), 4);
    assert_eq!(pop(&deque), Some(item(4)));
    assert_eq!(deque.steal(), Steal::Item(item(1)));
    assert_eq!(deque.steal(), Steal::Item(item(2)));
    assert_eq!(pop(&deque), Some(item(3)));
    assert_eq!(pop(&deque), None);
    assert_eq!(deque.steal(), Steal::Empty);
}

/// Steals as many as it gets.
fn steal_some(deque: &Deque, room: usize, may_leave_together: impl Fn(usize) -> bool) -> Vec<usize> {
    let mut items = vec![ptr::null_mut(); room];
    match deque.steal_some(&mut items, |item| {
        if may_leave_together(item.addr()) { Leaves::Together } else { Leaves::Alone }
    }) {
        Steal::Item(count) => items[..count].iter().map(|item| item.addr()).collect(),
        Steal::Empty => vec![],
        Steal::Retry => unreachable!("nobody else steals"),
    }
}

#[test]
fn a_thief_takes_half_of_the_items_the_oldest_first() {
    let deque = Deque::new();
    assert!(steal_some(&deque, CLAIM_MAX, |_| true).is_empty());
    fill(&deque, 1..=7);
    assert_eq!(steal_some(&deque, CLAIM_MAX, |_| true), [1, 2, 3, 4]);
    assert_eq!(steal_some(&deque, CLAIM_MAX, |_| true), [5, 6]);
    assert_eq!(steal_some(&deque, CLAIM_MAX, |_| true), [7]);
    assert!(steal_some(&deque, CLAIM_MAX, |_| true).is_empty());
    assert_eq!(pop(&deque), None);
    fill(&deque, 1..=200);
    assert_eq!(steal_some(&deque, 3, |_| true), [1, 2, 3]);
    assert_eq!(steal_some(&deque, CLAIM_MAX, |_| true), (4..=3 + CLAIM_MAX).collect::<Vec<_>>());
    assert_eq!(deque.len(), 200 - 3 - CLAIM_MAX);
}

#[test]
fn items_that_may_not_leave_together_leave_alone() {
    let deque = Deque::new();
    fill(&deque, 1..=12);
    let even = |number: usize| number % 2 == 0;
    assert_eq!(steal_some(&deque, CLAIM_MAX, even), [1]);
    assert_eq!(steal_some(&deque, CLAIM_MAX, even), [2]);
    assert_eq!(steal_some(&deque, CLAIM_MAX, |number| number < 5), [3, 4]);
    assert_eq!(pop(&deque), Some(item(12)));
}

/// The owner's half of what loom explores in all orders: what a thief has claimed and not taken yet is taken back.
#[test]
fn the_owner_takes_claimed_items_back() {
    let deque = Deque::new();
    fill(&deque, 1..=4);
    let before = deque.word(Ordering::Relaxed);
    let claimed = before.with_claim(3);
    deque.word.store(claimed.0, Ordering::Relaxed);
    assert_eq!(deque.len(), 4);
    // The fourth is not claimed.
    assert_eq!(pop(&deque), Some(item(4)));
    assert!(deque.word(Ordering::Relaxed) == claimed);
    assert_eq!(pop(&deque), Some(item(3)));
    assert_eq!(deque.word(Ordering::Relaxed).claim(), 2);
    // The thief comes too late.
    let mut items = [ptr::null_mut(); 3];
    assert_eq!(deque.take(claimed, &mut items, |_| Leaves::Together), Steal::Retry);
    // Another one goes on with what is left of the claim.
    assert_eq!(steal_some(&deque, 3, |_| true), [1, 2]);
    assert_eq!(pop(&deque), None);
    fill(&deque, 5..=5);
    assert_eq!(deque.steal(), Steal::Item(item(5)));
}

#[test]
fn indices_go_on_past_the_bits_that_the_word_has_for_them() {
    for start in [(1 << 31) - 3, (1 << 32) - 3, (1 << 40) - 3, (7 << 32) + (1 << 31) - 2] {
        let deque = Deque::starting_at(start, None);
        for number in 1..=20 {
            fill(&deque, number..=number);
            fill(&deque, number + 100..=number + 100);
            assert_eq!(deque.len(), 2);
            assert_eq!(deque.steal(), Steal::Item(item(number)));
            assert_eq!(pop(&deque), Some(item(number + 100)));
            assert_eq!(pop(&deque), None);
            assert!(deque.is_empty());
        }
        fill(&deque, 1..=3 * FIRST_CAPACITY);
        assert_eq!(steal_some(&deque, 2, |_| true), [1, 2]);
        assert_eq!(deque.len(), 3 * FIRST_CAPACITY - 2);
        assert_eq!(pop(&deque), Some(item(3 * FIRST_CAPACITY)));
    }
}

#[test]
fn newest_looks_and_does_not_take() {
    let deque = Deque::new();
    // SAFETY: as above.
    let newest = || unsafe { deque.newest() };
    assert_eq!(newest(), None);
    fill(&deque, 1..=2);
    assert_eq!(newest(), Some(item(2)));
    assert_eq!(pop(&deque), Some(item(2)));
    assert_eq!(newest(), Some(item(1)));
    assert_eq!(deque.len(), 1);
}

#[test]
fn the_ring_grows_and_keeps_the_order() {
    let deque = Deque::new();
    let count = 5 * FIRST_CAPACITY;
    // Two steals first, so that the ring's positions are not the indices when it grows.
    fill(&deque, 1..=3);
    assert_eq!(deque.steal(), Steal::Item(item(1)));
    assert_eq!(deque.steal(), Steal::Item(item(2)));
    fill(&deque, 4..=count);
    assert_eq!(deque.len(), count - 2);
    for number in 3..=count / 2 {
        assert_eq!(deque.steal(), Steal::Item(item(number)));
    }
    for number in (count / 2 + 1..=count).rev() {
        assert_eq!(pop(&deque), Some(item(number)));
    }
    assert!(deque.is_empty());
}

#[test]
fn a_ring_that_never_fills_up_does_not_grow_however_many_items_pass() {
    let deque = Deque::new();
    for number in 1..=10 * FIRST_CAPACITY {
        fill(&deque, number..=number);
        let taken = if number % 2 == 0 { pop(&deque) } else { None };
        if taken.is_none() {
            assert_eq!(deque.steal(), Steal::Item(item(number)));
        }
    }
    // SAFETY: as above; the ring lives as long as the deque.
    let ring = unsafe { &*deque.ring.load(std::sync::atomic::Ordering::Relaxed) };
    assert_eq!(ring.slots.len(), FIRST_CAPACITY);
}

#[test]
fn a_reset_gives_a_large_ring_back() {
    let deque = Deque::new();
    fill(&deque, 1..=3 * FIRST_CAPACITY);
    while pop(&deque).is_some() {}
    // SAFETY: one thread, and the deque is empty.
    unsafe { deque.reset() };
    // SAFETY: as above; the ring lives as long as the deque.
    let ring = unsafe { &*deque.ring.load(std::sync::atomic::Ordering::Relaxed) };
    assert_eq!(ring.slots.len(), FIRST_CAPACITY);
    fill(&deque, 1..=2);
    assert_eq!(pop(&deque), Some(item(2)));
    assert_eq!(deque.steal(), Steal::Item(item(1)));
}

/// Items are stale if they are in this set; what is dropped is noted.
mod stale {
    use super::{Deque, Stale, item, pop};
    use std::cell::RefCell;
    use std::collections::BTreeSet;

    thread_local! {
        static STALE: RefCell<BTreeSet<usize>> = const { RefCell::new(BTreeSet::new()) };
        static DROPPED: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
    }

    static OF_TESTS: Stale = Stale {
        is: |item| STALE.with_borrow(|stale| stale.contains(&item.addr())),
        drop: |item| DROPPED.with_borrow_mut(|dropped| dropped.push(item.addr())),
    };

    fn dropped() -> Vec<usize> {
        DROPPED.with_borrow(Clone::clone)
    }

    /// Fills a ring, makes some items stale, and pushes one more.
    fn overfill(is_stale: impl Fn(usize) -> bool) -> Deque {
        let deque = Deque::with_stale(&OF_TESTS);
        super::fill(&deque, 1..=super::FIRST_CAPACITY);
        STALE.with_borrow_mut(|stale| stale.extend((1..=super::FIRST_CAPACITY).filter(|n| is_stale(*n))));
        super::fill(&deque, super::FIRST_CAPACITY + 1..=super::FIRST_CAPACITY + 1);
        deque
    }

    fn capacity(deque: &Deque) -> usize {
        // SAFETY: the ring lives as long as the deque.
        unsafe { &*deque.ring.load(crate::primitives::Ordering::Relaxed) }.slots.len()
    }

    #[test]
    fn a_full_ring_gets_rid_of_stale_items_and_keeps_the_order_of_the_others() {
        let is_stale = |n: usize| n % 3 != 0;
        let deque = overfill(is_stale);
        let count = super::FIRST_CAPACITY;
        assert_eq!(dropped(), (1..=count).filter(|n| is_stale(*n)).collect::<Vec<_>>());
        assert_eq!(capacity(&deque), count);
        for n in (1..=count + 1).rev().filter(|n| *n > count || !is_stale(*n)) {
            assert_eq!(pop(&deque), Some(item(n)));
        }
        assert_eq!(pop(&deque), None);
    }

    #[test]
    fn a_ring_of_stale_items_becomes_empty() {
        let deque = overfill(|_| true);
        assert_eq!(
            (deque.len(), capacity(&deque), dropped().len()),
            (1, super::FIRST_CAPACITY, super::FIRST_CAPACITY)
        );
    }

    #[test]
    fn a_few_stale_items_are_not_worth_it() {
        let deque = overfill(|n| n % 20 == 0);
        assert_eq!((deque.len(), dropped().len()), (super::FIRST_CAPACITY + 1, 0));
        assert_eq!(capacity(&deque), 2 * super::FIRST_CAPACITY);
    }

    /// However long it goes on.
    #[test]
    fn a_ring_whose_items_all_become_stale_never_grows() {
        let deque = Deque::with_stale(&OF_TESTS);
        for n in 1..=100_000 {
            super::fill(&deque, n..=n);
            STALE.with_borrow_mut(|stale| stale.insert(n));
        }
        assert_eq!(capacity(&deque), super::FIRST_CAPACITY);
        assert_eq!(dropped().len() + deque.len(), 100_000);
    }
}

#[test]
fn an_item_is_taken_back_only_if_it_is_the_newest() {
    let deque = Deque::new();
    // SAFETY: as above.
    let (push, take_back) = (
        |number| unsafe { deque.push(item(number)) },
        |number, place| unsafe { deque.pop_exactly(item(number), place) },
    );
    let (first, second) = (push(1), push(2));
    // Something lies above it: that is given instead.
    assert_eq!(take_back(1, first), Err(Some(item(2))));
    _ = push(2);
    assert_eq!(take_back(2, second), Ok(()));
    assert_eq!(take_back(1, first), Ok(()));
    assert_eq!(take_back(1, first), Err(None));
    // It was stolen.
    let first = push(1);
    assert_eq!(deque.steal(), Steal::Item(item(1)));
    assert_eq!(take_back(1, first), Err(None));
    // It was popped, and another one lies in its place.
    let first = push(1);
    assert_eq!(pop(&deque), Some(item(1)));
    _ = push(3);
    assert_eq!(take_back(1, first), Err(Some(item(3))));
    assert_eq!(pop(&deque), None);
}

/// The place stays right when the ring has grown.
#[test]
fn an_item_is_taken_back_from_a_ring_that_has_grown() {
    let deque = Deque::new();
    // SAFETY: as above.
    let place = unsafe { deque.push(item(1)) };
    fill(&deque, 2..=3 * FIRST_CAPACITY);
    (2..=3 * FIRST_CAPACITY).rev().for_each(|number| assert_eq!(pop(&deque), Some(item(number))));
    // SAFETY: as above.
    assert_eq!(unsafe { deque.pop_exactly(item(1), place) }, Ok(()));
    assert_eq!(pop(&deque), None);
}
