//! No heap allocation per spawn, wait, join, scope, batch, continuation, counter or parallel loop in the steady state,
//! whichever thread the job ran on: an allocator counts what all threads of the process allocate and free.
//!
//! Each test is alone in a process of its own. It warms a system up, does 1,000,000 jobs' work in all, on systems of 1, 2, 3 and 8
//! workers (a part of that where each takes microseconds: broadcasts, time limits, round trips of a thread outside), and
//! demands that nothing was allocated and nothing freed. Not counted are panics, whose payloads are the
//! heap's, the first use of a name, and what grows to the most that was ever needed at once: deques, slots, timers. The
//! warm-up lets these grow as far as the work can make them.
//!
//! `RAMIE_HEAP_TRACE=1` prints from where each allocation comes.

#[path = "../common/mod.rs"]
mod common;
mod counting;
mod kinds;

use common::{child_succeeds, is_child, planned, watch};
use counting::Counts;
use ramie::{JobSystem, Priority};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Jobs of each kind on each system.
const JOBS: usize = 250_000;
const WORKERS: [usize; 4] = [1, 2, 3, 8];
const NOTHING: Counts = Counts { allocations: 0, frees: 0 };

/// How far deques are made to grow. No kind of work queues as many jobs at once.
const QUEUED_MAX: usize = 12_000;
/// Among how many jobs one is looked for that is to be raised.
const RAISED_AMONG: usize = 1000;
/// Where every thread runs beside all others at moments that nobody chooses, some structure may still reach a new
/// high after the warm-up. Such an event is a doubling (an allocation and a free at once), so there can only be a few; a round with more, or six
/// rounds with any (each of eight workers has deques of its own, that thieves fill at random), is a failure. What is allocated for each job, or for one in ten thousand, fails in the first.
const ROUNDS: usize = 6;
const EVENTS_MAX: u64 = 8;

/// Lets every deque of every priority grow to [`QUEUED_MAX`], one after another: the workers take turns, and none of them
/// steals before all have had theirs. So does what raising lays aside: at priority High each finds one job to be
/// raised among many others.
fn warm(system: &JobSystem) {
    let workers = system.workers();
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        let turn = AtomicUsize::new(0);
        system.scope(|s| {
            for worker in 0..workers {
                let turn = &turn;
                s.job().priority(priority).on_worker(worker).detach(move || {
                    common::spin_until(|| turn.load(Ordering::SeqCst) == worker);
                    ramie::scope(|inner| (0..QUEUED_MAX).for_each(|_| drop(inner.spawn(|| ()))));
                    if priority == Priority::High {
                        for _ in 0..RAISED_AMONG {
                            system.job().priority(Priority::Low).detach(|| ());
                        }
                        ramie::scope(|inner| inner.job().priority(Priority::Low).detach(|| ()));
                    }
                    turn.fetch_add(1, Ordering::SeqCst);
                    common::spin_until(|| turn.load(Ordering::SeqCst) == workers);
                });
            }
        });
    }
}

fn check(name: &'static str, mut work: impl FnMut(&JobSystem, usize)) {
    if !is_child(name) {
        let report = child_succeeds(name, &[]);
        print!("{report}");
        return;
    }
    let _watch = watch(name, 120);
    for workers in WORKERS {
        let system = common::builder().workers(workers).build().expect("a system");
        warm(&system);
        work(&system, JOBS);
        for round in 1..=ROUNDS {
            let counts = counting::during(|| work(&system, JOBS));
            eprintln!("{name}, {workers} workers, round {round}: {counts:?}");
            if counts == NOTHING {
                break;
            }
            assert!(round < ROUNDS, "{name}, {workers} workers: something is allocated in every round");
            let events = counts.allocations.max(counts.frees);
            assert!(events <= EVENTS_MAX, "{name}, {workers} workers: {counts:?} for {JOBS} jobs");
        }
    }
}

macro_rules! nothing_is_allocated_for {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            check(stringify!($name), kinds::$name);
        }
    )*};
}

nothing_is_allocated_for! {
    spawn_and_join
    detach
    named_prioritised_pinned
    jobs_with_counters
    continuations
    waits_for_counters
    time_limits
    scopes
    batches
    joins
    yields
    broadcasts
    ten_thousand_waiters
    wakes_from_outside
    large_and_over_aligned
    cancel
    raised
    runs_from_outside
    primitives
    messages_and_polls
    awaited
}

#[test]
fn loops() {
    let mut items: Vec<u32> = (0..2000).collect();
    check("loops", |system, jobs| kinds::loops(system, jobs, &mut items));
}

/// What is allocated is seen, whatever thread does it.
#[test]
fn the_allocator_counts_all_threads() {
    if !is_child("the_allocator_counts_all_threads") {
        child_succeeds("the_allocator_counts_all_threads", &[]);
        return;
    }
    let system = common::system(2);
    system.broadcast(|| ());
    // The thread that looks for stuck workers allocates as well when it first sees some.
    let counted = |work: &dyn Fn(), expected: Counts| {
        let counts: Vec<Counts> = (0..5).map(|_| counting::during(work)).collect();
        assert!(counts.contains(&expected), "{counts:?}, not {expected:?}");
        assert!(
            counts
                .iter()
                .all(|seen| seen.allocations >= expected.allocations && seen.frees >= expected.frees)
        );
    };
    let call = || _ = system.broadcast(|| drop(std::hint::black_box(Box::new(1))));
    counted(&call, Counts { allocations: 2, frees: 2 });
    // A vector of results.
    counted(&|| _ = system.broadcast(|| 1), Counts { allocations: 1, frees: 1 });
}

/// A closure or a result beyond the largest block is on the heap, once.
#[test]
fn what_fits_into_no_block_is_allocated_once_per_job() {
    if !is_child("what_fits_into_no_block_is_allocated_once_per_job") {
        child_succeeds("what_fits_into_no_block_is_allocated_once_per_job", &[]);
        return;
    }
    let system = common::system(1);
    let jobs = || {
        for _ in 0..1000 {
            let bytes = [7_u8; 16_384];
            assert_eq!(system.spawn(move || bytes[16_383]).join().expect("it runs"), 7);
            assert_eq!(system.spawn(|| [7_u8; 16_384]).join().expect("it runs")[16_383], 7);
        }
    };
    jobs();
    assert_eq!(counting::during(jobs), Counts { allocations: 2000, frees: 2000 });
}

/// A job that panics allocates what any panic does: its payload, and the unwinder's record.
#[test]
fn a_panic_costs_no_more_than_elsewhere() {
    if !is_child("a_panic_costs_no_more_than_elsewhere") {
        child_succeeds("a_panic_costs_no_more_than_elsewhere", &[]);
        return;
    }
    for workers in WORKERS {
        let system = common::system(workers);
        let bare = || {
            for id in 0..10_000 {
                assert!(std::panic::catch_unwind(|| planned(id)).is_err());
            }
        };
        let jobs = || {
            for id in 0..10_000 {
                assert!(system.spawn(move || planned(id)).join().is_err());
            }
        };
        bare();
        jobs();
        assert_eq!(counting::during(jobs), counting::during(bare), "{workers} workers");
    }
}
