//! Closures and results of every size and alignment: their contents, their addresses, and that each is dropped once,
//! however the job ends. And the blocks that hold them: they come back from whatever thread they end on.

mod common;

use common::{Census, Item, child_succeeds, is_child, planned, seed, spin_until, watch};
use ramie::{Counter, Drain, JobError, JobSystem};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A value of `N` bytes, apart from an item that is counted, and aligned as `A` is.
#[derive(Debug)]
struct Shape<A, const N: usize> {
    item: Item,
    seed: u8,
    bytes: [u8; N],
    align: A,
}

macro_rules! aligns {
    ($($name:ident $align:literal)*) => {$(
        /// Aligned, and of no size.
        #[derive(Clone, Copy, Debug, Default)]
        #[repr(align($align))]
        struct $name;
    )*};
}

aligns! {
    A1 1 A2 2 A4 4 A8 8 A16 16 A32 32 A64 64 A128 128 A256 256 A512 512 A1024 1024 A2048 2048 A4096 4096 A8192 8192
}

/// A capture or a result.
trait Value: Send + 'static {
    /// How the bytes of `seed` look.
    fn new(item: Item, seed: u8) -> Self;
    /// Nothing has changed, and the address is what the type asks for.
    fn check(&self, seed: u8);
    /// Whether it was made with [`PANICS`].
    fn is_to_panic(&self) -> bool;
}

const PANICS: u8 = 66;

impl<A: Default + Send + 'static, const N: usize> Value for Shape<A, N> {
    fn new(item: Item, seed: u8) -> Self {
        let bytes = std::array::from_fn(|i| seed.wrapping_add(i as u8).wrapping_mul(31));
        Self { item, seed, bytes, align: A::default() }
    }

    fn is_to_panic(&self) -> bool {
        self.seed == PANICS
    }

    #[track_caller]
    fn check(&self, seed: u8) {
        assert_eq!(self.seed, seed);
        let wanted = align_of::<A>();
        assert_eq!(std::ptr::from_ref(self).addr() % wanted, 0, "{N} bytes are not aligned to {wanted}");
        assert_eq!(std::ptr::from_ref(&self.align).addr() % wanted, 0);
        let intact = self
            .bytes
            .iter()
            .enumerate()
            .all(|(i, byte)| *byte == seed.wrapping_add(i as u8).wrapping_mul(31));
        assert!(intact, "{N} bytes aligned to {wanted} were changed: {:?}", self.item);
    }
}

/// The systems that a pair is tried on, and what is counted.
struct Case<'a> {
    system: &'a JobSystem,
    census: &'a Census,
    made: usize,
}

impl Case<'_> {
    fn value<V: Value>(&mut self, seed: u8) -> V {
        self.made += 1;
        V::new(self.census.item(), seed)
    }

    /// A job that captures a `C` and returns an `R`.
    fn job<C: Value, R: Value>(&mut self) -> impl FnOnce() -> R + Send + 'static + use<C, R> {
        let (capture, item) = (self.value::<C>(5), self.value::<Shape<A1, 0>>(0).item);
        move || {
            capture.check(5);
            drop(capture);
            R::new(item, 9)
        }
    }

    /// All ways through a job's block with this capture and this result.
    fn every_way<C: Value, R: Value>(&mut self) {
        let system = self.system;
        // Joined from outside and inside, before and after the end.
        system.spawn(self.job::<C, R>()).join().expect("it runs").check(9);
        let (first, second) = (self.job::<C, R>(), self.job::<C, R>());
        system.run(|| {
            let queued = ramie::spawn(first);
            let newest = ramie::spawn(second);
            queued.join().expect("it runs").check(9);
            newest.join().expect("it runs").check(9);
        });
        let handle = system.spawn(self.job::<C, R>());
        spin_until(|| handle.is_finished());
        handle.join().expect("it has run").check(9);
        // Detached: before the end, after it, and from the beginning.
        drop(system.spawn(self.job::<C, R>()));
        let handle = system.spawn(self.job::<C, R>());
        spin_until(|| handle.is_finished());
        drop(handle);
        let (job, done) = (self.job::<C, R>(), Counter::new(0));
        system.job().name("detached").counter(&done).detach(move || job().check(9));
        // With all extras, held back.
        let gate = Counter::new(1);
        let handle =
            system.job().after(&gate).after(&gate).counter(&done).on_worker(0).spawn(self.job::<C, R>());
        gate.signal();
        handle.join().expect("it runs").check(9);
        // In a scope and a batch.
        let (joined, dropped, detached) = (self.job::<C, R>(), self.job::<C, R>(), self.job::<C, R>());
        system.scope(|s| {
            drop(s.spawn(dropped));
            s.job().counter(&done).detach(move || detached().check(9));
            s.spawn(joined).join().expect("it runs").check(9);
        });
        let jobs: [_; 3] = std::array::from_fn(|_| self.job::<C, R>());
        system.spawn_batch(jobs.into_iter().map(|job| move || job().check(9))).wait();
        // On stacks.
        let (a, b) = (self.job::<C, R>(), self.job::<C, R>());
        let (a, b) = system.join(a, b);
        a.check(9);
        b.check(9);
        // A panic, joined and dropped.
        for join in [true, false] {
            let (capture, result) = (self.value::<C>(5), self.value::<R>(9));
            let handle = system.spawn(move || -> R {
                capture.check(5);
                let _held = (capture, result);
                planned(1)
            });
            if join {
                assert!(matches!(handle.join(), Err(JobError::Panicked(_))));
            }
        }
        // Cancelled, joined and dropped; and abandoned, because the counter is gone.
        for end in 0..4 {
            let gate = Counter::new(1);
            let handle = system.job().after(&gate).counter(&done).spawn(self.job::<C, R>());
            assert!(end % 2 == 0 || handle.cancel());
            drop(gate);
            match end {
                0 => assert!(matches!(handle.join(), Err(JobError::Abandoned))),
                1 => assert!(matches!(handle.join(), Err(JobError::Cancelled))),
                _ => drop(handle),
            }
        }
        done.wait();
    }

    /// The shortest ways: a result that is taken, one that is not, and a panic. For the many shapes; each is compiled anew.
    fn some_ways<V: Value>(&mut self) {
        let system = self.system;
        let job = |capture: V, result: V| {
            move || {
                capture.check(5);
                drop(capture);
                if result.is_to_panic() {
                    planned(1);
                }
                result
            }
        };
        for end in 0..4 {
            let mut spawn = |seed| {
                let handle = system.spawn(job(self.value(5), self.value(seed)));
                // Now and then it has ended before the handle is used.
                if end % 2 == 0 {
                    spin_until(|| handle.is_finished());
                }
                handle
            };
            spawn(9).join().expect("it runs").check(9);
            drop(spawn(9));
            assert!(matches!(spawn(PANICS).join(), Err(JobError::Panicked(_))));
            drop(spawn(PANICS));
        }
    }
}

macro_rules! shapes {
    ($case:ident; $($align:ident [$($size:literal)*])*) => {
        $($($case.some_ways::<Shape<$align, $size>>();)*)*
    };
}

/// On systems of one and of three workers.
fn on_systems(name: &'static str, shapes: impl Fn(Case<'_>) -> usize) {
    let _watch = watch(name, 120);
    for workers in [1, 3] {
        let builder = common::builder().workers(workers).stack_size(1 << 20).on_panic(|_| ());
        let system = builder.build().expect("a system");
        let census = Census::default();
        let made = shapes(Case { system: &system, census: &census, made: 0 });
        system.shutdown(Drain::Finish).expect("from outside");
        census.assert_all_dropped(made);
    }
}

#[test]
fn sizes_from_nothing_to_beyond_the_largest_block() {
    on_systems("sizes", |mut case| {
        shapes!(case; A1 [0 1 40 100 1000 2000 3000 4000 4096 8000 8192 12_000 16_384 20_000]);
        case.made
    });
}

#[test]
fn alignments_up_to_a_page_and_beyond() {
    on_systems("alignments", |mut case| {
        shapes!(case; A2 [1] A4 [1] A8 [1] A16 [1] A32 [1] A64 [1] A128 [1] A256 [1] A512 [1] A1024 [1] A2048 [1] A4096 [1] A8192 [1]);
        case.made
    });
}

#[test]
fn large_and_over_aligned_at_once() {
    on_systems("both", |mut case| {
        shapes!(case; A64 [1000 4000] A256 [4000 8000] A4096 [4000 8000 16_000]);
        case.made
    });
}

/// All ways, with captures and results that differ much.
#[test]
fn every_way_through_a_block() {
    on_systems("every way", |mut case| {
        case.every_way::<Shape<A1, 0>, Shape<A4096, 0>>();
        case.every_way::<Shape<A4096, 0>, Shape<A1, 0>>();
        case.every_way::<Shape<A1, 4096>, Shape<A1, 20_000>>();
        case.every_way::<Shape<A8192, 1>, Shape<A256, 3000>>();
        case.made
    });
}

/// Nothing is captured and nothing returned, but the type says where it wants to be.
#[test]
fn values_without_a_size_are_aligned_too() {
    let system = common::system(2);
    for _ in 0..100 {
        let page = A4096;
        let back = system.spawn(move || {
            let captured = page;
            assert_eq!(std::ptr::from_ref(&captured).addr() % 4096, 0);
            captured
        });
        let back = back.join().expect("it runs");
        assert_eq!(std::ptr::from_ref(&back).addr() % 4096, 0);
    }
}

/// Jobs of all sizes that a shutdown finds in its queues.
#[test]
fn an_abandoning_shutdown_drops_each_once() {
    let _watch = watch("abandoning", 60);
    for workers in [1, 3] {
        let census = Census::default();
        let system = common::system(workers);
        let mut case = Case { system: &system, census: &census, made: 0 };
        let (begun, gate) = (Counter::new(workers), Counter::new(1));
        for worker in 0..workers {
            let (begun, gate) = (begun.clone(), gate.clone());
            system.job().on_worker(worker).detach(move || {
                begun.signal();
                // In place: nothing else runs on this worker.
                spin_until(|| gate.is_zero());
            });
        }
        begun.wait();
        let never = Counter::new(1);
        let mut handles = Vec::new();
        macro_rules! leave {
            ($($shape:ty)*) => {$(
                drop(system.spawn(case.job::<$shape, $shape>()));
                drop(system.job().after(&never).spawn(case.job::<$shape, $shape>()));
                let handle = system.spawn(case.job::<$shape, $shape>());
                handles.push(Box::new(move || assert!(matches!(handle.join(), Err(JobError::Abandoned)))) as Box<dyn FnOnce()>);
            )*};
        }
        leave! { Shape<A1, 1> Shape<A1, 4096> Shape<A1, 20_000> Shape<A4096, 1> Shape<A4096, 8000> Shape<A8192, 1> }
        let made = case.made;
        let shutdown = std::thread::spawn({
            let system = system.clone();
            move || system.shutdown(Drain::Abandon)
        });
        handles.into_iter().for_each(|join| join());
        gate.signal();
        shutdown.join().expect("it does not panic").expect("from outside");
        drop(system);
        drop(never);
        census.assert_all_dropped(made);
    }
}

// --- blocks come back ------------------------------------------------------------------------

/// Runs the test in a process of its own, because blocks are counted for the process.
fn alone(name: &'static str) -> bool {
    if !is_child(name) {
        print!("{}", child_succeeds(name, &[]));
    }
    is_child(name)
}

/// What caches of this many threads may hold back of one size, beside what is in use.
fn cached_max(threads: usize) -> u64 {
    2 * 64 * threads as u64
}

/// One thread only spawns, others only run, for a million jobs: no more blocks are made than are in use at once, and
/// what caches hold.
#[test]
fn a_producer_and_its_consumers_need_no_more_and_more_memory() {
    const BURST: u64 = 1000;
    const BURSTS: u64 = 1000;
    if !alone("a_producer_and_its_consumers_need_no_more_and_more_memory") {
        return;
    }
    let _watch = watch("producer and consumers", 120);
    for workers in [2_usize, 3, 8] {
        let system = common::system(workers);
        let (done, made) = (Counter::new(0), |system: &JobSystem| system.stats().job_blocks);
        // A worker that only spawns: it waits without running anything.
        system.run(|| {
            for _ in 0..BURSTS {
                for i in 0..BURST {
                    // Not on this worker, so that each block ends elsewhere.
                    let here = ramie::current_worker().expect("inside a job");
                    let other = (here + 1 + i as usize % (workers - 1)) % workers;
                    system.job().on_worker(other).counter(&done).detach(|| ());
                }
                spin_until(|| done.is_zero());
            }
        });
        // A thread outside that only spawns.
        for _ in 0..BURSTS {
            for _ in 0..BURST {
                system.job().counter(&done).detach(|| ());
            }
            done.wait();
        }
        let most = BURST + cached_max(2 + workers) + 64;
        // Jobs with a counter, and those of `run`, are of two sizes at most.
        assert!(made(&system) <= 2 * most, "{} blocks for {} jobs at a time", made(&system), BURST);
    }
}

/// Threads that come and go leave nothing behind.
#[test]
fn threads_that_end_give_their_blocks_back() {
    if !alone("threads_that_end_give_their_blocks_back") {
        return;
    }
    let _watch = watch("threads", 120);
    let system = common::system(2);
    let round = || {
        let spawner = || {
            (0..100)
                .map(|i| system.spawn(move || i))
                .map(|handle| handle.join().expect("it runs"))
                .sum::<u32>()
        };
        std::thread::scope(|threads| assert_eq!(threads.spawn(spawner).join().expect("no panic"), 4950));
    };
    (0..50).for_each(|_| round());
    let before = system.stats();
    (0..500).for_each(|_| round());
    let after = system.stats();
    // A batch more is made when two threads look for one at the same moment.
    assert!(after.job_blocks <= before.job_blocks + 128, "{} after {}", after.job_blocks, before.job_blocks);
    assert!(after.pooled_bytes <= before.pooled_bytes + 128 * 1024);
}

/// A job that never waits, and joins or cancels what it has spawned in any order, leaves entries behind in its deque
/// that nobody needs: they must not pile up.
#[test]
fn a_job_that_never_waits_needs_no_more_and_more_memory() {
    if !alone("a_job_that_never_waits_needs_no_more_and_more_memory") {
        return;
    }
    let _watch = watch("never waits", 120);
    for workers in [1, 2] {
        let system = common::system(workers);
        let blocks = |system: &JobSystem| system.stats().job_blocks;
        system.run(|| {
            let before = blocks(&system);
            for i in 0..300_000 {
                let (a, b) = (ramie::spawn(move || i), ramie::spawn(move || i + 1));
                assert_eq!((a.join().expect("it runs"), b.join().expect("it runs")), (i, i + 1));
                let cancelled = ramie::spawn(move || i);
                let _ = cancelled.cancel();
            }
            let me = ramie::current_worker().expect("inside a job");
            for i in 0..100_000 {
                let pinned = [0, 1].map(|n| system.job().on_worker(me).spawn(move || i + n));
                for (n, handle) in pinned.into_iter().enumerate() {
                    assert_eq!(handle.join().expect("it runs"), i + n);
                }
            }
            let made = blocks(&system) - before;
            assert!(
                made < 2000,
                "{workers} workers: {made} blocks for jobs of which three are there at once"
            );
        });
    }
}

/// Blocks of all sizes wander between threads at random, and each size stays at what is in use at once.
#[test]
fn blocks_of_all_sizes_that_wander_are_used_again() {
    if !alone("blocks_of_all_sizes_that_wander_are_used_again") {
        return;
    }
    let _watch = watch("wander", 120);
    let mut random = common::Rng(seed());
    let system = common::system(3);
    let ended = AtomicUsize::new(0);
    let mut round = || {
        let ended = &ended;
        system.scope(|s| {
            for _ in 0..200 {
                let worker = random.below(3) as usize;
                macro_rules! spawn {
                    ($($bytes:literal)*) => {{
                        let sizes = [$($bytes),*];
                        match sizes[random.below(sizes.len() as u64) as usize] {
                            $($bytes => {
                                let bytes = [1_u8; $bytes];
                                let job = move || _ = ended.fetch_add(usize::from(bytes[$bytes / 2]), Ordering::Relaxed);
                                match worker {
                                    0 => drop(s.spawn(job)),
                                    _ => s.job().on_worker(worker).detach(job),
                                }
                            })*
                            _ => unreachable!("one of these"),
                        }
                    }};
                }
                spawn! { 1 60 150 400 900 1900 3900 8000 16_000 }
            }
        });
    };
    (0..100).for_each(|_| round());
    let before = system.stats();
    (0..1000).for_each(|_| round());
    let after = system.stats();
    let more = after.pooled_bytes - before.pooled_bytes;
    // Had a hundredth of the blocks not come back, it would be ten mebibytes.
    assert!(more < 2 << 20, "{more} bytes more after 200,000 jobs");
    assert_eq!(ended.load(Ordering::Relaxed), 1100 * 200);
}
