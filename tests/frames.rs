//! Frame arenas: what is allocated where, for how long, and what becomes of it.

mod common;

use common::{Census, WORKERS, builder, message, panic_of, planned, planned_id, soak, system, watch};
use hashbrown::{DefaultHashBuilder, HashMap};
use ramie::allocator_api2::alloc::Allocator;
use ramie::allocator_api2::boxed::Box as FrameBox;
use ramie::allocator_api2::vec::Vec as FrameVec;
use ramie::{Counter, Frame, FrameArenas, FrameError, JobSystem};
use std::alloc::Layout;
use std::ptr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

fn arenas(system: &JobSystem, frames: usize) -> FrameArenas {
    FrameArenas::with_block_size(system, frames, 16 * 1024).expect("the values are in range")
}

fn address<T: ?Sized>(value: &T) -> usize {
    ptr::from_ref(value).addr()
}

/// Allocates values of many kinds, and checks all of them when they are all there.
fn allocate_and_check(frame: &Frame, seed: usize) {
    let bytes = frame.alloc(seed as u8);
    let word = frame.alloc_with(|| seed as u64);
    let copied = frame.alloc_slice_copy(&[seed, seed + 1, seed + 2]);
    let text = frame.alloc_str(&format!("seed {seed}"));
    let filled = frame.alloc_slice_fill_with(seed % 50, |i| seed * i);
    let listed = frame.alloc_slice_fill_iter((0..seed % 7).map(|i| i as u16));
    ramie::yield_now();
    copied[1] += 1;
    assert_eq!((*bytes, *word), (seed as u8, seed as u64));
    assert_eq!(copied, [seed, seed + 2, seed + 2]);
    assert_eq!(*text, format!("seed {seed}"));
    assert!(filled.len() == seed % 50 && filled.iter().enumerate().all(|(i, n)| *n == seed * i));
    assert!(listed.iter().copied().eq(0..(seed % 7) as u16));
}

#[test]
fn every_thread_allocates_in_one_frame_at_once() {
    let _watch = watch("all threads", 120);
    for workers in WORKERS {
        let (ours, other) = (system(workers), system(2));
        let arenas = arenas(&ours, 2);
        for round in 0..3 * soak() {
            let frame = arenas.begin();
            std::thread::scope(|threads| {
                for thread in 0..2 {
                    let frame = &frame;
                    threads.spawn(move || (0..200).for_each(|i| allocate_and_check(frame, i + thread)));
                }
                threads
                    .spawn(|| other.par(0..300_usize).grain(10).for_each(|i| allocate_and_check(&frame, i)));
                ours.par(0..1000_usize).grain(10).for_each(|i| allocate_and_check(&frame, i + round));
            });
            assert!(frame.allocated_bytes() > 1000 * 24);
        }
        let stats = arenas.stats();
        assert_eq!(
            (stats.frames_begun, stats.frames_in_flight, stats.blocks_in_use),
            (3 * soak() as u64, 0, 0)
        );
        assert!(stats.most_frame_bytes >= stats.last_frame_bytes && stats.last_frame_bytes > 1000 * 24);
    }
}

/// Workers have blocks of their own, and other threads share one.
#[test]
fn each_worker_has_a_block_and_all_others_share_one() {
    let _watch = watch("blocks", 60);
    for workers in [1, 2, 3, 8] {
        let (ours, other) = (system(workers), system(2));
        let arenas = arenas(&ours, 1);
        let frame = arenas.begin();
        assert_eq!(arenas.stats().blocks_in_use, 0, "a frame takes a block when it needs one");
        frame.alloc(1_u8);
        std::thread::scope(|threads| drop(threads.spawn(|| *frame.alloc(2_u8)).join()));
        other.broadcast(|| *frame.alloc(3_u8));
        assert_eq!(arenas.stats().blocks_in_use, 1);
        let places = ours.broadcast(|| address(frame.alloc(4_u8)));
        assert_eq!(arenas.stats().blocks_in_use, 1 + workers);
        drop(frame);
        let stats = arenas.stats();
        assert_eq!((stats.blocks_in_use, stats.blocks_pooled), (0, 1 + workers));
        assert_eq!(stats.last_frame_bytes, 4 + workers);
        assert_eq!(stats.reserved_bytes, (1 + workers) * 16 * 1024);
        // The next frame has the same blocks, each worker its own.
        let frame = arenas.begin();
        assert_eq!(ours.broadcast(|| address(frame.alloc(4_u8))), places);
        assert_eq!(arenas.stats().blocks_pooled, 1);
    }
}

#[test]
fn the_main_thread_is_a_worker_only_while_it_works() {
    let _watch = watch("main thread", 60);
    for workers in [1, 3] {
        let system = builder().workers(workers).main_thread_worker(true).build().expect("a system");
        let arenas = arenas(&system, 1);
        let frame = arenas.begin();
        let outside = frame.alloc(1);
        let inside = system.run_main(|| frame.alloc(2));
        assert!(address(outside).abs_diff(address(inside)) > 1024, "they are of different blocks");
        assert_eq!(address(outside) + 4, address(frame.alloc(3)));
        assert_eq!(address(inside) + 4, system.run_main(|| address(frame.alloc(4))));
    }
}

#[test]
fn values_without_a_size_take_no_memory() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(align(4096))]
    struct Nothing;
    let system = system(1);
    let arenas = arenas(&system, 1);
    let frame = arenas.begin();
    let nothing = frame.alloc(Nothing);
    assert_eq!(address(nothing) % 4096, 0);
    assert_eq!(frame.alloc_slice_fill_with(1000, |_| Nothing).len(), 1000);
    assert_eq!(frame.alloc_slice_copy::<u64>(&[]).len(), 0);
    assert_eq!(frame.alloc_uninit_slice::<()>(usize::MAX).len(), usize::MAX);
    assert_eq!(frame.alloc_str(""), "");
    let mut calls = 0;
    frame.alloc_slice_fill_with(7, |_| calls += 1);
    assert_eq!(calls, 7);
    let mut vec: FrameVec<Nothing, _> = FrameVec::new_in(&frame);
    vec.extend([Nothing; 100]);
    assert_eq!(vec.len(), 100);
    drop(FrameBox::new_in(Nothing, &frame));
    assert_eq!((frame.allocated_bytes(), arenas.stats().blocks_in_use), (0, 0));
}

#[test]
fn alignments_of_any_size_are_kept() {
    macro_rules! check {
        ($frame:expr, $($align:literal)*) => {{$({
            #[repr(align($align))]
            struct Aligned(u8);
            $frame.alloc(1_u8);
            let value = $frame.alloc(Aligned(7));
            assert!(address(value) % $align == 0 && value.0 == 7);
            let slice = $frame.alloc_slice_fill_with(3, |i| Aligned(i as u8));
            assert!(address(slice) % $align == 0 && slice[2].0 == 2);
        })*}};
    }
    let _watch = watch("alignments", 60);
    for workers in [1, 3] {
        let system = system(workers);
        let arenas = arenas(&system, 1);
        for _ in 0..3 {
            let frame = arenas.begin();
            // A value is as large as its alignment, and on its way through a fiber's stack.
            system.broadcast(|| check!(frame, 2 16 64 128 1024 4096));
            check!(frame, 32 256 16384);
            system.broadcast(|| {
                for align in (0..22).map(|log| 1 << log) {
                    let layout = Layout::from_size_align(3, align).expect("a layout");
                    let memory = (&frame).allocate(layout).expect("there is memory");
                    assert_eq!(memory.cast::<u8>().addr().get() % align, 0);
                }
            });
        }
    }
}

#[test]
fn what_is_larger_than_a_block_gets_one_of_its_own_which_is_used_again() {
    let _watch = watch("oversize", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 2);
        let mut reserved = 0;
        for round in 0..4_usize {
            let frame = arenas.begin();
            let sizes = [16 * 1024 - 64, 16 * 1024 - 63, 17_000, 100_000, 1 << 20];
            system.scope(|s| {
                for size in sizes {
                    let frame = &frame;
                    s.spawn(move || {
                        let large = frame.alloc_slice_fill_with(size, |i| (i ^ round) as u8);
                        assert!(large.iter().enumerate().all(|(i, byte)| *byte == (i ^ round) as u8));
                    });
                }
            });
            let stats = arenas.stats();
            assert_eq!((stats.oversize_blocks_in_use, stats.oversize_blocks_pooled), (4, 0));
            assert!(frame.allocated_bytes() >= sizes.iter().sum());
            drop(frame);
            let stats = arenas.stats();
            assert_eq!((stats.oversize_blocks_in_use, stats.oversize_blocks_pooled), (0, 4));
            assert!(stats.last_frame_bytes >= sizes.iter().sum());
            if round == 0 {
                // The next power of two each, and a header.
                let oversize = (16 << 10) + (32 << 10) + (128 << 10) + (1 << 20) + 4 * 64;
                assert_eq!(stats.reserved_bytes, oversize + stats.blocks_pooled * 16 * 1024);
                reserved = oversize;
            }
        }
        assert!(arenas.trim() >= reserved);
        assert_eq!((arenas.stats().reserved_bytes, arenas.trim()), (0, 0));
    }
}

#[test]
fn sizes_that_no_block_can_have_are_refused_before_anything_is_called() {
    let _watch = watch("overflow", 60);
    let system = system(1);
    let arenas = arenas(&system, 1);
    let frame = arenas.begin();
    let refused = |f: &dyn Fn()| assert!(message(&*panic_of(f)).contains("capacity overflow"));
    let never = |_| -> u64 { unreachable!("there is no place for it") };
    for _ in 0..2 {
        refused(&|| _ = frame.alloc_slice_fill_with(usize::MAX, never));
        refused(&|| _ = frame.alloc_slice_fill_with(usize::MAX / 8, never));
        refused(&|| _ = frame.alloc_slice_fill_with((isize::MAX / 8) as usize, never));
        refused(&|| _ = frame.alloc_uninit_slice::<u8>(isize::MAX as usize));
        system.run(|| refused(&|| _ = frame.alloc_uninit_slice::<u16>(usize::MAX / 2)));
        for (bytes, align) in [(isize::MAX as usize, 1), (isize::MAX as usize - 63, 64), (1, 1 << 62)] {
            let layout = Layout::from_size_align(bytes, align).expect("a layout");
            assert!((&frame).allocate(layout).is_err());
        }
    }
    let mut vec: FrameVec<u64, _> = FrameVec::new_in(&frame);
    assert!(vec.try_reserve(usize::MAX / 16).is_err());
    vec.push(1);
    assert!(vec.try_reserve(usize::MAX / 16).is_err());
    assert_eq!(*vec, [1]);
}

#[test]
fn places_are_reserved_before_closures_run() {
    let _watch = watch("closures", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 1);
        let frame = arenas.begin();
        system.run(|| {
            // The place of the outer one comes first.
            let outer = frame.alloc_with(|| address(frame.alloc(1_u8)));
            assert!(address(outer) < *outer);
            let outer = frame.alloc_slice_fill_with(2, |_| address(frame.alloc(1_u8)));
            assert!(address(outer) < outer[0] && outer[0] < outer[1]);
            // Closures that allocate, also more than a block.
            let outer = frame.alloc_with(|| {
                let inner = frame.alloc_with(|| [&*frame.alloc(1), &*frame.alloc(2)]);
                let large = frame.alloc_slice_fill_with(20_000, |i| i);
                (inner, large)
            });
            assert_eq!((*outer.0[0], *outer.0[1], outer.1[19_999]), (1, 2, 19_999));
            // Closures that wait, for jobs that allocate on the same worker.
            let waits = frame.alloc_slice_fill_with(10, |i| {
                let gate = Counter::new(1);
                ramie::scope(|s| {
                    s.spawn(|| {
                        allocate_and_check(&frame, i + 100);
                        gate.signal();
                    });
                    gate.wait();
                });
                i * 3
            });
            assert!(waits.iter().copied().eq((0..10).map(|i| i * 3)));
            // Closures that panic: the place is wasted.
            let before = frame.alloc(5);
            let payload = panic_of(|| frame.alloc_with(|| -> u64 { planned(1) }));
            assert_eq!(planned_id(&*payload), 1);
            let fill = |i| if i == 3 { planned(2) } else { i };
            assert_eq!(planned_id(&*panic_of(|| frame.alloc_slice_fill_with(5, fill))), 2);
            let after = frame.alloc(6);
            assert_eq!((*before, *after), (5, 6));
        });
    }
}

/// An iterator that says one thing and does another.
struct Liar {
    says: usize,
    gives: usize,
}

impl Iterator for Liar {
    type Item = usize;
    fn next(&mut self) -> Option<usize> {
        self.gives = self.gives.checked_sub(1)?;
        Some(self.gives)
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.says, Some(self.says))
    }
}

impl ExactSizeIterator for Liar {}

#[test]
fn iterators_that_lie_do_no_harm() {
    let system = system(1);
    let arenas = arenas(&system, 1);
    let frame = arenas.begin();
    assert_eq!(frame.alloc_slice_fill_iter(Liar { says: 3, gives: 5 }), [4, 3, 2]);
    let text = message(&*panic_of(|| frame.alloc_slice_fill_iter(Liar { says: 5, gives: 3 })));
    assert!(text.contains("3 values") && text.contains("said 5"), "{text}");
    let text = message(&*panic_of(|| frame.alloc_slice_fill_iter(Liar { says: usize::MAX, gives: 3 })));
    assert!(text.contains("capacity overflow"), "{text}");
}

#[test]
fn collections_drop_what_they_own_and_only_that() {
    let _watch = watch("drops", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (arenas, census) = (arenas(&system, 2), Census::default());
        for _ in 0..5 {
            let frame = arenas.begin();
            let outside: FrameBox<_, _> = FrameBox::new_in(census.item(), &frame);
            system.par(0..20_usize).grain(1).for_each(|n| {
                let mut items = FrameVec::new_in(&frame);
                items.extend((0..n).map(|_| census.item()));
                ramie::yield_now();
                items.truncate(n / 2);
                items.shrink_to_fit();
                items.push(census.item());
                let boxed: FrameBox<[_], _> = items.into_boxed_slice();
                assert_eq!(boxed.len(), n / 2 + 1);
            });
            drop(outside);
        }
        census.assert_all_dropped(5 * (1 + 20 + 190));
    }
}

#[test]
fn the_newest_allocation_grows_shrinks_and_is_given_back_in_place() {
    let _watch = watch("in place", 60);
    for inside in [false, true] {
        let system = system(1);
        let arenas = arenas(&system, 1);
        let frame = arenas.begin();
        let check = || {
            frame.alloc(1_u64);
            let before = frame.allocated_bytes();
            let mut vec: FrameVec<u64, _> = FrameVec::with_capacity_in(1, &frame);
            let start = vec.as_ptr();
            vec.extend(0..1000);
            assert_eq!((vec.as_ptr(), frame.allocated_bytes()), (start, before + vec.capacity() * 8));
            vec.truncate(10);
            vec.shrink_to_fit();
            assert_eq!((vec.as_ptr(), frame.allocated_bytes()), (start, before + 80));
            drop(vec);
            assert_eq!(frame.allocated_bytes(), before);
            // Not the newest any more.
            let mut vec: FrameVec<u64, _> = FrameVec::with_capacity_in(4, &frame);
            vec.extend(0..4);
            let newer = frame.alloc(7_u64);
            let start = vec.as_ptr();
            vec.extend(4..8);
            assert!(vec.as_ptr() != start && vec.iter().copied().eq(0..8) && *newer == 7);
            vec.truncate(2);
            let newest = frame.alloc(8_u64);
            vec.shrink_to_fit();
            drop(vec);
            assert_eq!((*newer, *newest), (7, 8));
            // From one block into the next, and into one of its own.
            let mut vec: FrameVec<usize, _> = FrameVec::new_in(&frame);
            for i in 0..50_000 {
                vec.push(i);
            }
            assert!(vec.iter().copied().eq(0..50_000));
        };
        if inside { system.run(check) } else { check() }
    }
}

/// What one thread has allocated another may grow, shrink and drop; it is not its newest, so nothing comes back.
#[test]
fn collections_change_hands() {
    let _watch = watch("change hands", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 1);
        let frame = arenas.begin();
        let mut vec: FrameVec<usize, _> = FrameVec::new_in(&frame);
        for hand in 0..50 {
            vec.push(hand);
            vec = system.run(|| {
                let mut vec = ramie::join(|| vec, || frame.alloc(hand)).0;
                vec.push(hand);
                vec
            });
            vec = std::thread::scope(|threads| {
                let theirs = threads.spawn(|| {
                    vec.shrink_to_fit();
                    vec.push(hand);
                    vec
                });
                theirs.join().expect("it does not panic")
            });
        }
        assert!(vec.iter().copied().eq((0..50).flat_map(|hand| [hand; 3])));
        system.run(move || drop(vec));
    }
}

#[test]
fn maps_live_in_a_frame() {
    let _watch = watch("maps", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 2);
        for round in 0..3 {
            let frame = arenas.begin();
            let sums = system.par(0..16_usize).grain(1).map_reduce(
                0,
                |n| {
                    let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &frame);
                    for i in 0..500 {
                        map.insert(i * n, format!("{}", i + round));
                    }
                    ramie::yield_now();
                    assert!(map.iter().all(|(key, text)| n == 0 || *text == format!("{}", key / n + round)));
                    map.len()
                },
                |a, b| a + b,
            );
            assert_eq!(sums, 1 + 15 * 500);
        }
    }
}

#[test]
fn frames_in_flight_are_bounded() {
    let _watch = watch("bounded", 120);
    for workers in WORKERS {
        let system = system(workers);
        for depth in [1, 2, 5] {
            let arenas = arenas(&system, depth);
            let held: Vec<Frame> = (0..depth).map(|_| arenas.begin()).collect();
            assert!(arenas.try_begin().is_none());
            assert!(system.run(|| arenas.try_begin().is_none()));
            assert_eq!(arenas.stats().frames_in_flight, depth);
            drop(held);
            // Many jobs and threads that each hold a frame for some time.
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            let hold = |i: usize| {
                let frame = arenas.begin();
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let number = frame.alloc(i);
                ramie::yield_now();
                assert_eq!(*number, i);
                now.fetch_sub(1, Ordering::SeqCst);
            };
            std::thread::scope(|threads| {
                (0..2).for_each(|_| drop(threads.spawn(|| (0..50).for_each(hold))));
                system.scope(|s| (0..100).for_each(|i| drop(s.spawn(move || hold(i)))));
            });
            assert!((1..=depth).contains(&most.into_inner()));
            assert_eq!(
                (arenas.stats().frames_begun, arenas.stats().frames_in_flight),
                (200 + depth as u64, 0)
            );
        }
    }
}

#[test]
fn whoever_waits_for_a_frame_suspends() {
    let _watch = watch("suspends", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 1);
        let first = Mutex::new(Some(arenas.begin()));
        // With one worker this ends only if the waiting job leaves it to the other one.
        system.scope(|s| {
            s.spawn(|| assert_eq!(arenas.begin().number(), 1));
            s.spawn(|| {
                ramie::yield_now();
                drop(first.lock().expect("it is not poisoned").take());
            });
        });
    }
}

#[test]
fn the_limit_of_fibers_panics_instead_of_hanging() {
    let _watch = watch("fiber limit", 60);
    let system = builder().workers(1).max_fibers(1).build().expect("a system");
    let arenas = arenas(&system, 1);
    let frame = arenas.begin();
    let text = message(&*panic_of(|| system.run(|| drop(arenas.begin()))));
    assert!(text.contains("FiberLimit") && text.contains("FrameArenas::begin"), "{text}");
    drop(frame);
    system.run(|| drop(arenas.begin()));
}

#[test]
fn a_frame_outlives_its_arenas_and_its_system() {
    let _watch = watch("outlive", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 2);
        let frame = arenas.begin();
        let numbers = frame.alloc_slice_fill_with(10_000, |i| i);
        let theirs = system.broadcast(|| frame.alloc(7));
        drop((arenas, system));
        // The workers' threads are gone, and may be another system's workers by now.
        let next = common::system(workers);
        next.broadcast(|| allocate_and_check(&frame, 70));
        assert!(numbers.iter().copied().eq(0..10_000) && theirs.into_iter().all(|n| *n == 7));
        allocate_and_check(&frame, 71);
        std::thread::spawn(move || drop(frame)).join().expect("it does not panic");
    }
}

#[test]
fn a_leaked_frame_stays_in_flight() {
    let system = system(2);
    let arenas = arenas(&system, 2);
    let frame = arenas.begin();
    system.run(|| frame.alloc_str("kept for ever").len());
    std::mem::forget(frame);
    let second = arenas.try_begin().expect("there is another");
    assert!(arenas.try_begin().is_none());
    drop(second);
    assert_eq!((arenas.stats().frames_in_flight, arenas.stats().blocks_in_use), (1, 1));
    drop((arenas, system));
}

#[test]
fn a_frame_may_be_dropped_while_its_thread_unwinds() {
    let _watch = watch("unwinds", 60);
    for workers in WORKERS {
        let system = system(workers);
        let (arenas, census) = (arenas(&system, 1), Census::default());
        for id in 0..5 {
            let job = || {
                let frame = arenas.begin();
                let mut items = FrameVec::new_in(&frame);
                items.push(census.item());
                frame.alloc_slice_copy(&[1; 30_000]);
                planned(id)
            };
            assert_eq!(planned_id(&*panic_of(|| system.run(job))), id);
            assert_eq!(planned_id(&*panic_of(job)), id);
        }
        census.assert_all_dropped(10);
        assert_eq!((arenas.stats().frames_in_flight, arenas.stats().blocks_in_use), (0, 0));
        assert_eq!(arenas.stats().frames_begun, 10);
    }
}

#[test]
fn blocks_are_kept_until_they_are_trimmed() {
    let _watch = watch("trim", 60);
    let system = system(3);
    let arenas = arenas(&system, 2);
    assert_eq!((arenas.stats().reserved_bytes, arenas.trim()), (0, 0));
    let frames = [arenas.begin(), arenas.begin()];
    frames.iter().for_each(|frame| _ = frame.alloc_slice_fill_with(5000, |i| i));
    let [first, second] = frames;
    let text = second.alloc_str("stays where it is");
    drop(first);
    let before = arenas.stats();
    assert!(arenas.trim() > 0);
    let after = arenas.stats();
    assert_eq!((after.blocks_pooled, after.oversize_blocks_pooled), (0, 0));
    assert_eq!(after.blocks_in_use, before.blocks_in_use);
    assert!(after.reserved_bytes < before.reserved_bytes && text == "stays where it is");
    drop(second);
    let third = arenas.begin();
    third.alloc_slice_fill_with(5000, |i| i);
    drop(third);
    let pooled = arenas.stats().reserved_bytes;
    assert!(pooled > 0);
    assert_eq!((arenas.trim(), arenas.stats().reserved_bytes), (pooled, 0));
}

#[test]
fn values_out_of_range_are_refused_with_what_to_do() {
    let system = system(1);
    let new = |frames, bytes| FrameArenas::with_block_size(&system, frames, bytes).map(|_| ());
    for (result, expected, words) in [
        (new(0, 4096), FrameError::NoFrames, "pass 2 or 3"),
        (new(65, 4096), FrameError::TooManyFrames { requested: 65, max: 64 }, "at most 64"),
        (new(1, 4095), FrameError::BlockSize { requested: 4095, min: 4096, max: 1 << 30 }, "with_block_size"),
        (
            new(1, usize::MAX),
            FrameError::BlockSize { requested: usize::MAX, min: 4096, max: 1 << 30 },
            "4096",
        ),
    ] {
        let error = result.expect_err("it is out of range");
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error, expected);
    }
    assert_eq!((new(64, 4096), new(1, 5000), new(1, 1 << 30)), (Ok(()), Ok(()), Ok(())));
    assert_eq!(FrameArenas::new(&system, 3).expect("in range").block_size(), 2 << 20);
    assert_eq!(FrameArenas::with_block_size(&system, 3, 5000).expect("in range").block_size(), 5056);
}

#[test]
fn debug_output_names_what_matters() {
    let system = system(1);
    let arenas = arenas(&system, 3);
    let frame = arenas.begin();
    frame.alloc(1_u64);
    let (arenas, frame) = (format!("{arenas:?}"), format!("{frame:?}"));
    assert!(arenas.contains("frames_in_flight: 3") && arenas.contains("frames_begun: 1"), "{arenas}");
    assert!(frame.contains("number: 0") && frame.contains("allocated_bytes: 8"), "{frame}");
}

#[test]
fn frames_and_arenas_go_wherever_they_are_needed() {
    fn check<T: Send + Sync + std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    check::<Frame>();
    check::<FrameArenas>();
}

/// What is written for any allocator of `allocator-api2` takes a frame, and a bumpalo arena just the same.
#[test]
fn frames_and_bumpalo_speak_the_same_language() {
    fn sum(allocator: impl Allocator + Copy) -> u64 {
        let mut numbers = FrameVec::new_in(allocator);
        numbers.extend(0..1000_u64);
        let boxed = FrameBox::new_in(5, allocator);
        numbers.iter().sum::<u64>() + *boxed
    }
    let system = system(1);
    let arenas = arenas(&system, 1);
    assert_eq!(sum(&arenas.begin()), sum(&bumpalo::Bump::new()));
}

/// Every call of the allocator, for the newest allocation and for an older one, on memory that an earlier frame has dirtied.
#[test]
#[expect(unsafe_code, reason = "calls an allocator by hand")]
fn the_allocator_keeps_contents_and_alignments() {
    use ramie::allocator_api2::alloc::Allocator;
    use std::alloc::Layout;
    let _watch = watch("allocator", 60);
    let layout = |bytes, align| Layout::from_size_align(bytes, align).expect("a layout");
    let pattern = |i: usize| (i * 7 + 1) as u8;
    let shapes = [(0, 1), (1, 1), (24, 8), (24, 64), (100, 4), (100, 4096), (5000, 16), (60_000, 8)];
    let system = system(1);
    let arenas = FrameArenas::with_block_size(&system, 1, 32 * 1024).expect("in range");
    for on_worker in [true, false] {
        for (old, new) in shapes.iter().flat_map(|old| shapes.iter().map(move |new| (*old, *new))) {
            for (newest, zeroed) in [(true, false), (false, false), (true, true), (false, true)] {
                let check = || {
                    arenas.begin().alloc_slice_fill_with(30_000, |_| 0xAA_u8);
                    let frame = arenas.begin();
                    let frame = &frame;
                    let (old, new) = (layout(old.0, old.1), layout(new.0, new.1));
                    // SAFETY: every layout is the one that its memory has, and grows or shrinks as the call says.
                    unsafe {
                        let first = if zeroed { frame.allocate_zeroed(old) } else { frame.allocate(old) };
                        let first = first.expect("there is memory");
                        assert!(first.len() >= old.size());
                        let bytes = first.cast::<u8>();
                        assert!(bytes.addr().get().is_multiple_of(old.align()));
                        for i in 0..old.size() {
                            assert!(!zeroed || bytes.add(i).read() == 0);
                            bytes.add(i).write(pattern(i));
                        }
                        let younger = (!newest).then(|| frame.alloc(0x5555_u64));
                        let second = match (new.size() >= old.size(), zeroed) {
                            (true, true) => frame.grow_zeroed(bytes, old, new),
                            (true, false) => frame.grow(bytes, old, new),
                            (false, _) => frame.shrink(bytes, old, new),
                        };
                        let second = second.expect("there is memory").cast::<u8>();
                        assert!(second.addr().get().is_multiple_of(new.align()), "{old:?} to {new:?}");
                        for i in 0..old.size().min(new.size()) {
                            assert_eq!(second.add(i).read(), pattern(i), "{old:?} to {new:?}");
                        }
                        for i in old.size()..new.size() {
                            assert!(!zeroed || second.add(i).read() == 0, "{old:?} to {new:?}");
                            second.add(i).write(0x77);
                        }
                        assert!(younger.is_none_or(|younger| *younger == 0x5555), "{old:?} to {new:?}");
                        frame.deallocate(second, new);
                        let last = frame.alloc_slice_copy(&[9_u8; 50]);
                        assert_eq!(last, [9; 50]);
                    }
                };
                if on_worker { system.run(check) } else { check() }
            }
        }
    }
}
