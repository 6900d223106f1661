//! Loops: every item once, in order where order counts, over all integers, slices and chunks, however they are divided.

mod common;

use common::{WORKERS, panic_of, planned, planned_id, system, watch};
use ramie::Partition;
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const PARTITIONS: [Partition; 6] = [
    Partition::Auto,
    Partition::Static(1),
    Partition::Static(2),
    Partition::Static(7),
    Partition::Static(1000),
    Partition::Static(usize::MAX),
];

macro_rules! every_integer {
    ($system:expr, $partition:expr, $($int:ty)*) => {$(
        for range in [(<$int>::MIN, <$int>::MIN), (<$int>::MAX, <$int>::MAX), (3, 3), (5, 3), (0, 100), (7, 8)] {
            let (start, end): ($int, $int) = range;
            let seen = Mutex::new(Vec::new());
            $system.par(start..end).partition($partition).for_each(|i| seen.lock().expect("not poisoned").push(i));
            let mut seen = seen.into_inner().expect("not poisoned");
            seen.sort_unstable();
            assert_eq!(seen, (start..end).collect::<Vec<_>>(), "{}: {start}..{end}", stringify!($int));
        }
        for range in [
            <$int>::MIN..=<$int>::MIN + 100,
            <$int>::MAX - 100..=<$int>::MAX,
            <$int>::MAX..=<$int>::MAX,
            5..=5,
            RangeInclusive::new(6, 5),
        ] {
            let items = $system.par(range.clone()).partition($partition).map_reduce(Vec::new, |i| vec![i], |mut a, b| {
                a.extend(b);
                a
            });
            assert_eq!(items, range.collect::<Vec<_>>(), "{}", stringify!($int));
        }
    )*};
}

#[test]
fn all_integer_ranges_give_every_item_once_and_in_order() {
    let _watch = watch("integers", 120);
    for workers in [1, 3] {
        let system = system(workers);
        for partition in PARTITIONS {
            every_integer!(system, partition, u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize);
        }
    }
}

#[test]
fn whole_small_types_and_ranges_across_zero() {
    let _watch = watch("whole types", 60);
    let system = system(3);
    assert_eq!(system.par(u8::MIN..=u8::MAX).map_reduce(0_u64, u64::from, |a, b| a + b), 255 * 128);
    assert_eq!(system.par(i8::MIN..=i8::MAX).map_reduce(0_i64, i64::from, |a, b| a + b), -128);
    assert_eq!(system.par(i16::MIN..=i16::MAX).map_reduce(0_u64, |_| 1, |a, b| a + b), 65_536);
    assert_eq!(system.par(-5_i128..=5).map_reduce(0_i128, |i| i, |a, b| a + b), 0);
    assert_eq!(system.par(i64::MIN..i64::MIN + 3).map_reduce(0_u64, |_| 1, |a, b| a + b), 3);
    // Ranges longer than any counter are refused, and not cut off.
    drop(panic_of(|| system.par(0..u128::MAX).for_each(|_| ())));
    drop(panic_of(|| system.par(0..=u64::MAX).for_each(|_| ())));
    drop(panic_of(|| system.par(i128::MIN..i128::MAX).for_each(|_| ())));
}

/// A loop over more items than could ever be counted one by one, left early.
#[test]
fn a_loop_over_usize_max_items_can_be_left() {
    let _watch = watch("huge", 60);
    for workers in [1, 2, 8] {
        let system = system(workers);
        for partition in [Partition::Auto, Partition::Static(4)] {
            let left = system.par(0..usize::MAX).partition(partition).try_for_each(|i| match i % 1000 {
                999 => Err(i),
                _ => Ok(()),
            });
            assert!(left.is_err());
        }
    }
}

#[test]
fn slices_arrays_vectors_and_chunks() {
    let _watch = watch("slices", 60);
    for workers in WORKERS {
        let system = system(workers);
        for partition in PARTITIONS {
            for len in [0, 1, 2, 3, 100, 1023] {
                let mut numbers: Vec<usize> = (0..len).collect();
                system.par(&mut numbers).partition(partition).for_each(|n| *n *= 2);
                system.par(&mut numbers[..]).partition(partition).for_each(|n| *n += 1);
                assert!(numbers.iter().enumerate().all(|(i, n)| *n == 2 * i + 1));
                let sum = system.par(&numbers).partition(partition).map_reduce(0, |n| *n, |a, b| a + b);
                assert_eq!(sum, len * len);
            }
        }
        let array = [1, 2, 3];
        assert_eq!(system.par(&array).map_reduce(0, |n| *n, |a, b| a + b), 6);
        let mut array = [1, 2, 3];
        system.par(&mut array).for_each(|n| *n += 1);
        assert_eq!(array, [2, 3, 4]);
    }
}

#[test]
fn chunks_come_with_their_index_and_the_last_may_be_short() {
    let _watch = watch("chunks", 60);
    for workers in WORKERS {
        let system = system(workers);
        system.run(|| {
            for partition in PARTITIONS {
                for len in [0_usize, 1, 2, 3, 100, 1023] {
                    let mut numbers: Vec<usize> = (0..len).collect();
                    for size in [1, 2, 3, 64, 1023, usize::MAX] {
                        let chunks = ramie::par_chunks(&numbers, size).partition(partition).map_reduce(
                            Vec::new,
                            |(index, chunk)| vec![(index, chunk.to_vec())],
                            |mut a, b| {
                                a.extend(b);
                                a
                            },
                        );
                        let expected: Vec<_> =
                            numbers.chunks(size).map(<[usize]>::to_vec).enumerate().collect();
                        assert_eq!(chunks, expected);
                        ramie::par_chunks_mut(&mut numbers, size).partition(partition).for_each(
                            |(index, chunk)| {
                                chunk.iter_mut().for_each(|n| *n += index);
                            },
                        );
                        let expected: Vec<usize> = expected
                            .iter()
                            .flat_map(|(index, chunk)| chunk.iter().map(move |n| n + index))
                            .collect();
                        assert_eq!(numbers, expected);
                    }
                }
            }
        });
    }
    drop(panic_of(|| drop(ramie::par_chunks(&[1, 2], 0))));
    drop(panic_of(|| drop(ramie::par_chunks_mut(&mut [1, 2], 0))));
    drop(panic_of(|| drop(ramie::par(0..3_u32).grain(0))));
    drop(panic_of(|| drop(ramie::par(0..3_u32).partition(Partition::Static(0)))));
}

/// Concatenation is associative and not commutative: any disorder shows.
#[test]
fn reductions_keep_the_order() {
    let _watch = watch("order", 120);
    for workers in WORKERS {
        let system = system(workers);
        for partition in PARTITIONS {
            for grain in [1, 7, 5000] {
                let text = system.par(0..600_u32).partition(partition).grain(grain).map_reduce(
                    String::new,
                    |i| {
                        // Uneven work, so that it is split unevenly.
                        for _ in 0..(i % 97) * 20 {
                            std::hint::spin_loop();
                        }
                        format!("{i},")
                    },
                    |a, b| a + &b,
                );
                let expected: String = (0..600).map(|i| format!("{i},")).collect();
                assert_eq!(text, expected);
            }
        }
    }
}

#[test]
fn identities_are_values_or_closures() {
    let system = system(2);
    assert_eq!(system.par(0..10_u64).map_reduce(0, |i| i, |a, b| a + b), 45);
    assert_eq!(system.par(0..10_u64).map_reduce(|| 0, |i| i, |a, b| a + b), 45);
    assert_eq!(system.par(0..0_u64).map_reduce(7, |i| i, |a, b| a + b), 7);
    assert_eq!(system.par(0..0_u64).map_reduce(|| 8, |i| i, |a, b| a + b), 8);
    assert_eq!(system.par(1..6_u64).map_reduce(1, |i| i, |a, b| a * b), 120);
    let longest = system.par(&["a", "ccc", "bb"]).map_reduce(
        "",
        |text| *text,
        |a, b| if b.len() > a.len() { b } else { a },
    );
    assert_eq!(longest, "ccc");
}

#[test]
fn try_for_each_gives_an_error_and_stops() {
    let _watch = watch("try_for_each", 60);
    for workers in WORKERS {
        let system = system(workers);
        for partition in PARTITIONS {
            assert_eq!(
                system.par(0..1000_u32).partition(partition).try_for_each(|_| Ok::<(), ()>(())),
                Ok(())
            );
            let error = system
                .par(0..1000_u32)
                .partition(partition)
                .try_for_each(|i| if i == 500 { Err(i) } else { Ok(()) });
            assert_eq!(error, Err(500));
            // Of several errors, it is one of them.
            let errors: BTreeSet<u32> = [100, 400, 900].into();
            let error = system
                .par(0..1000_u32)
                .partition(partition)
                .try_for_each(|i| if errors.contains(&i) { Err(i) } else { Ok(()) });
            assert!(errors.contains(&error.expect_err("three items fail")));
        }
        // On one worker nothing is split off, so that nothing runs after the error.
        if workers == 1 {
            let calls = AtomicUsize::new(0);
            let error = system.par(0..1_000_000_u32).try_for_each(|i| {
                calls.fetch_add(1, Ordering::Relaxed);
                if i == 10 { Err(()) } else { Ok(()) }
            });
            assert_eq!(error, Err(()));
            assert_eq!(calls.into_inner(), 11);
        }
    }
}

#[test]
fn loops_nest_with_each_other_and_with_scopes() {
    let _watch = watch("nested", 120);
    for workers in WORKERS {
        let system = system(workers);
        let count = AtomicUsize::new(0);
        for outside in [true, false] {
            count.store(0, Ordering::Relaxed);
            let work = || {
                system.par(0..10_u32).for_each(|_| {
                    ramie::scope(|s| {
                        for _ in 0..3 {
                            s.spawn(|| {
                                ramie::par(0..10_u32).partition(Partition::Static(4)).for_each(|_| {
                                    ramie::par(&[1, 2]).for_each(|_| {
                                        count.fetch_add(1, Ordering::Relaxed);
                                        ramie::yield_now();
                                    });
                                });
                            });
                        }
                    });
                });
            };
            if outside {
                work()
            } else {
                system.run(work)
            }
            assert_eq!(count.load(Ordering::Relaxed), 10 * 3 * 10 * 2);
        }
    }
}

/// A body that waits for another item of its own loop would hang if the loop were divided less than it was told to.
#[test]
fn static_parts_are_jobs_of_their_own() {
    let _watch = watch("static parts", 60);
    for workers in WORKERS {
        let system = system(workers);
        let later = ramie::Counter::new(1);
        system.par(0..2_u32).partition(Partition::Static(2)).for_each(|i| {
            // The lower part is offered the upper one's result only if that may run while it waits.
            if i == 0 { later.wait() } else { later.signal() }
        });
    }
}

/// With idle workers a long loop is divided: items that need each other run at once.
#[test]
fn a_long_loop_is_divided_while_workers_are_idle() {
    let _watch = watch("divided", 60);
    for workers in [2, 3, 8] {
        let system = system(workers);
        let other_thread = AtomicBool::new(false);
        let mine = Mutex::new(None);
        // The items go on until one of them has run on a second thread.
        let stopped = system.par(0..usize::MAX).try_for_each(|_| {
            let thread = std::thread::current().id();
            let first = *mine.lock().expect("not poisoned").get_or_insert(thread);
            if first != thread {
                other_thread.store(true, Ordering::SeqCst);
            }
            if other_thread.load(Ordering::SeqCst) { Err(()) } else { Ok(()) }
        });
        assert_eq!(stopped, Err(()));
    }
}

#[test]
fn a_grain_is_never_split() {
    let _watch = watch("grain", 60);
    let system = common::builder().workers(4).build().expect("a system");
    for partition in [Partition::Auto, Partition::Static(1000)] {
        // Each part of the reduction begins with the identity; a part is at least a grain long.
        let parts = AtomicUsize::new(0);
        let identity = || {
            parts.fetch_add(1, Ordering::Relaxed);
            0_u64
        };
        let sum =
            system.par(0..1000_u64).grain(300).partition(partition).map_reduce(identity, |i| i, |a, b| a + b);
        assert_eq!(sum, 499_500);
        assert!(parts.load(Ordering::Relaxed) <= 4, "{parts:?} parts of at least 300 of 1000 items");
    }
}

#[test]
fn a_loop_drops_what_it_has_reduced_when_it_panics() {
    let _watch = watch("drops", 60);
    for workers in WORKERS {
        let system = system(workers);
        let census = common::Census::default();
        let made = AtomicUsize::new(0);
        for partition in PARTITIONS {
            let item = |_: u32| {
                made.fetch_add(1, Ordering::Relaxed);
                vec![census.item()]
            };
            let payload = panic_of(|| {
                system.par(0..500_u32).partition(partition).map_reduce(
                    Vec::new,
                    |i| if i == 250 { planned(3) } else { item(i) },
                    |mut a, b| {
                        a.extend(b);
                        a
                    },
                )
            });
            assert_eq!(planned_id(&*payload), 3);
        }
        census.assert_all_dropped(made.into_inner());
    }
}
