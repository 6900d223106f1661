//! What frames cost: no use of the heap in the steady state, and a fraction of the time of the system allocator.

mod common;

use common::{builder, watch};
use hashbrown::{DefaultHashBuilder, HashMap};
use ramie::allocator_api2::vec::Vec as FrameVec;
use ramie::{FrameArenas, FramePipeline, JobSystem};
use std::alloc::{GlobalAlloc, Layout, System};
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The system allocator, with a count.
struct Counting;

static CALLS: AtomicUsize = AtomicUsize::new(0);

#[expect(unsafe_code, reason = "implements an unsafe trait")]
// SAFETY: passes everything on to the system allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: promised by the caller.
        unsafe { System.dealloc(memory, layout) };
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn system(workers: usize) -> JobSystem {
    builder().workers(workers).build().expect("a system")
}

/// Calls `round` until it has not used the heap for some rounds on end: then it is in its steady state.
fn settles(what: &str, mut round: impl FnMut()) {
    let mut quiet = 0;
    for _ in 0..2000 {
        let before = CALLS.load(Ordering::SeqCst);
        round();
        quiet = if CALLS.load(Ordering::SeqCst) == before { quiet + 1 } else { 0 };
        if quiet == 200 {
            return;
        }
    }
    panic!("{what}: still uses the heap after 2000 rounds");
}

/// One test: what others allocate meanwhile would be counted too.
#[test]
fn the_steady_state_does_not_touch_the_heap() {
    let _watch = watch("steady", 240);
    for workers in [1, 2, 3, 8] {
        let system = system(workers);
        let arenas = FrameArenas::with_block_size(&system, 3, 16 * 1024).expect("in range");
        settles("an empty frame", || drop(arenas.begin()));
        settles("frames on a thread", || {
            let frame = arenas.begin();
            (0..1000_u64).for_each(|i| _ = black_box(frame.alloc(i)));
            black_box(frame.alloc_slice_copy(&[0_u8; 100_000]));
        });
        settles("frames on workers", || {
            let frame = arenas.begin();
            system.broadcast_small(|| {
                (0..1000_u64).for_each(|i| _ = black_box(frame.alloc(i)));
                black_box(frame.alloc_slice_copy(&[0_u8; 100_000]));
                let mut vec = FrameVec::new_in(&frame);
                vec.extend(0..10_000_u64);
                let mut map = HashMap::with_hasher_in(DefaultHashBuilder::default(), &frame);
                (0..500).for_each(|i| _ = map.insert(i, i));
            });
        });
        // A pipeline allocates for a run, but nothing for a frame.
        let mut pipeline = FramePipeline::new(&arenas);
        let (first, second) = (pipeline.stage("first", 0_u64), pipeline.stage("second", 0_u64));
        let run = |pipeline: &mut FramePipeline, frames: u64| {
            let before = CALLS.load(Ordering::SeqCst);
            pipeline.run(0..frames, |f, input| {
                let seen = f.enter(&first, |sum| {
                    *sum += input;
                    f.frame().alloc([*sum; 1000])
                });
                f.enter(&second, |last| *last = seen[7]);
            });
            CALLS.load(Ordering::SeqCst) - before
        };
        let least = |pipeline: &mut FramePipeline, frames| (0..20).map(|_| run(pipeline, frames)).min();
        run(&mut pipeline, 2000);
        let (short, long) = (least(&mut pipeline, 10), least(&mut pipeline, 500));
        assert_eq!(short, long, "490 frames more use the heap as often");
    }
}

trait BroadcastSmall {
    fn broadcast_small(&self, f: impl Fn() + Sync);
}

impl BroadcastSmall for JobSystem {
    /// As `broadcast`, without a list of results.
    fn broadcast_small(&self, f: impl Fn() + Sync) {
        let f = &f;
        self.scope(|s| (0..self.workers()).for_each(|worker| s.job().on_worker(worker).detach(f)));
    }
}
