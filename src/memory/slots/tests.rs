//! Slots that grow from many threads, and nodes.

#![expect(unsafe_code, reason = "slots of its own")]

use super::caches::Caches;
use super::node::{Kind, Node};
use super::slots::{Cache, Depot, NODES_MAX, Slot, for_each, made, node, node_index};
use std::collections::HashSet;
use std::ptr;
use std::sync::Barrier;

/// A slot whose depot no other test uses.
macro_rules! slot {
    ($name:ident, $depot:ident, $bytes:literal) => {
        #[repr(C, align(64))]
        struct $name {
            node: Node,
            _rest: [u8; $bytes],
        }

        static $depot: Depot = Depot::new();

        // SAFETY: 1. `repr(C)` with the node first. 2. Nothing is moved or freed. 3. The depot serves this type alone.
        unsafe impl Slot for $name {
            fn vacant(id: u32) -> Self {
                Self { node: Node::new(Kind::Job, id), _rest: [0; $bytes] }
            }

            fn depot() -> &'static Depot {
                &$depot
            }

            fn cache(_: &Caches) -> &Cache {
                unreachable!("the tests have caches of their own")
            }
        }
    };
}

fn made_of(depot: &'static Depot) -> u64 {
    made(|other| ptr::eq(other, depot)).slots
}

#[test]
fn threads_that_grow_a_depot_at_once_get_slots_of_their_own() {
    slot!(Grown, GROWN, 40);
    const THREADS: usize = 8;
    const EACH: usize = 5_000;
    let barrier = Barrier::new(THREADS);
    let ids: Vec<u32> = std::thread::scope(|scope| {
        let grow = || {
            barrier.wait();
            let cache = Cache::default();
            let ids: Vec<u32> = (0..EACH).map(|_| cache.alloc::<Grown>().node.id()).collect();
            // They are for ever in use; what is left in the magazines goes back.
            cache.give_all_back(&GROWN);
            ids
        };
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(grow)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let distinct: HashSet<u32> = ids.iter().copied().collect();
    assert_eq!(distinct.len(), THREADS * EACH);
    for id in &ids {
        // SAFETY: nodes live for ever.
        assert_eq!(unsafe { (*node(*id)).id() }, *id);
    }
    let mut seen = HashSet::new();
    for_each::<Grown>(|slot| assert!(seen.insert(slot.node.id())));
    assert!(seen.is_superset(&distinct), "whoever looks at all slots sees those in use");
    assert_eq!(seen.len() as u64, made_of(&GROWN));
    // Several chunks, each with batches that were taken in any order; and what was left over serves the next.
    assert!(seen.len() <= THREADS * (EACH + 2 * Grown::BATCH as usize));
    let spare = THREADS * EACH;
    let cache = Cache::default();
    (0..seen.len() - spare).for_each(|_| assert!(!distinct.contains(&cache.alloc::<Grown>().node.id())));
    assert_eq!(seen.len() as u64, made_of(&GROWN));
}

#[test]
fn large_slots_have_batches_and_chunks_of_their_own() {
    slot!(Large, LARGE, 30_000);
    let cache = Cache::default();
    let slots: Vec<&Large> = (0..100).map(|_| cache.alloc::<Large>()).collect();
    let ids: HashSet<u32> = slots.iter().map(|slot| slot.node.id()).collect();
    assert_eq!(ids.len(), 100);
    let mut count = 0;
    for_each::<Large>(|_| count += 1);
    assert_eq!(count, 100, "one at a time");
}

#[test]
fn what_is_freed_on_a_node_is_used_there_first() {
    slot!(Homed, HOMED, 40);
    let on = |node: usize| {
        let cache = Cache::default();
        cache.set_node(node_index(node));
        cache
    };
    let free_all = |cache: &Cache, slots: Vec<&'static Homed>| {
        for slot in slots {
            // SAFETY: 1. Allocated below, once. 2. In no list.
            unsafe { cache.free(slot) };
        }
        cache.give_all_back(&HOMED);
    };
    let take = |cache: &Cache, count: u32| -> Vec<&'static Homed> {
        (0..count).map(|_| cache.alloc::<Homed>()).collect()
    };
    let ids = |slots: &[&Homed]| slots.iter().map(|slot| slot.node.id()).collect::<HashSet<u32>>();
    let (first, second) = (on(0), on(1));
    let (of_first, of_second) = (take(&first, 2 * Homed::BATCH), take(&second, 3 * Homed::BATCH));
    let (ids_of_first, ids_of_second) = (ids(&of_first), ids(&of_second));
    free_all(&first, of_first);
    free_all(&second, of_second);
    let made_before = made_of(&HOMED);
    let again = take(&on(1), 3 * Homed::BATCH);
    assert_eq!(ids(&again), ids_of_second);
    // When there is nothing left of that node, others' serve as well, before anything is made.
    let more = take(&on(1), 2 * Homed::BATCH);
    assert_eq!(ids(&more), ids_of_first);
    assert_eq!(made_of(&HOMED), made_before);
    // Higher nodes share.
    assert_eq!(node_index(NODES_MAX + 3), 3);
}
