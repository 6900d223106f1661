//! Sequential use; `model.rs` has the races.
#![cfg(not(any(loom, shuttle)))]
#![expect(unsafe_code, reason = "the owner's operations")]

use super::{Deque, FIRST_CAPACITY, Steal};
use std::ptr;

fn item(number: usize) -> *mut () {
    ptr::without_provenance_mut(number)
}

/// Pushes the numbers of the range.
fn fill(deque: &Deque, numbers: std::ops::RangeInclusive<usize>) {
    for number in numbers {
        // SAFETY: these tests use a deque from one thread only.
        unsafe { deque.push(item(number)) };
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
