//! Random frames: random sizes, alignments, threads, nesting and waits. No two allocations overlap, nothing changes until its
//! frame ends, and memory stays flat however many frames there are.
//!
//! The seed is printed; `RAMIE_SEED=<seed>` repeats the choices, though not the schedule.

mod common;

use common::{Rng, WORKERS, mix, planned, seed, soak, system, watch};
use ramie::allocator_api2::alloc::Allocator;
use ramie::allocator_api2::vec::Vec as FrameVec;
use ramie::{Counter, Frame, FrameArenas, FramePipeline, JobSystem};
use std::alloc::Layout;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const BLOCK_BYTES: usize = 16 * 1024;

/// What was allocated and must stay as it is: each with the number that its bytes come from.
type Live<'frame> = Mutex<Vec<(&'frame [u8], u64)>>;

/// What one frame's allocations share.
struct Play<'frame> {
    frame: &'frame Frame,
    live: Live<'frame>,
    /// Allocations that were larger than a block.
    oversize: AtomicUsize,
}

fn byte(tag: u64, index: usize) -> u8 {
    (tag as usize).wrapping_add(index.wrapping_mul(31)) as u8
}

fn is_intact(bytes: &[u8], tag: u64) -> bool {
    bytes.iter().enumerate().all(|(index, value)| *value == byte(tag, index))
}

/// Mostly small, sometimes larger than a block.
fn random_size(rng: &mut Rng) -> usize {
    match rng.below(100) {
        0 => rng.below(100_000) as usize,
        1..=10 => rng.below(3000) as usize,
        11..=15 => 0,
        _ => rng.below(200) as usize,
    }
}

impl<'frame> Play<'frame> {
    fn new(frame: &'frame Frame) -> Self {
        Self { frame, live: Mutex::default(), oversize: AtomicUsize::new(0) }
    }

    fn keep(&self, bytes: &'frame [u8], tag: u64) {
        self.live.lock().expect("it is not poisoned").push((bytes, tag));
    }

    fn note_size(&self, bytes: usize) {
        if bytes > BLOCK_BYTES - 64 {
            self.oversize.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Some steps, on whatever thread this is.
    fn steps(&self, mut rng: Rng, depth: u32) {
        for _ in 0..1 + rng.below(12) {
            self.step(&mut rng, depth);
        }
    }

    fn step(&self, rng: &mut Rng, depth: u32) {
        let (frame, tag) = (self.frame, rng.next());
        match rng.below(14) {
            0..=3 => {
                let size = random_size(rng);
                self.note_size(size);
                self.keep(frame.alloc_slice_fill_with(size, |index| byte(tag, index)), tag);
            }
            4 => {
                let copied: Vec<u8> = (0..rng.below(300) as usize).map(|index| byte(tag, index)).collect();
                self.keep(frame.alloc_slice_copy(&copied), tag);
            }
            5 => {
                let words = frame.alloc_slice_fill_with(rng.below(20) as usize, |index| (tag, index));
                assert!(words.iter().enumerate().all(|(index, word)| *word == (tag, index)));
            }
            6 => self.aligned(rng, tag),
            7 => self.collection(rng, tag),
            // A closure that waits for others who allocate here.
            8 if depth > 0 => {
                let seeds = [rng.next(), rng.next()];
                let value = frame.alloc_with(|| {
                    ramie::join(
                        || self.steps(Rng(seeds[0]), depth - 1),
                        || self.steps(Rng(seeds[1]), depth - 1),
                    );
                    ramie::yield_now();
                    tag
                });
                assert_eq!(*value, tag);
            }
            9 if depth > 0 => {
                let (seed, gate) = (rng.next(), Counter::new(1));
                let value = frame.alloc_slice_fill_with(3, |index| {
                    if index == 1 {
                        ramie::scope(|s| {
                            s.spawn(|| {
                                self.steps(Rng(seed), depth - 1);
                                gate.signal();
                            });
                            gate.wait();
                        });
                    }
                    byte(tag, index)
                });
                self.keep(value, tag);
            }
            10 => {
                let seed = rng.next();
                let work = || {
                    frame.alloc_slice_fill_with(50, |index| {
                        if index == 20 {
                            self.steps(Rng(seed), depth.saturating_sub(1));
                            planned(tag)
                        }
                        index
                    });
                };
                assert!(catch_unwind(AssertUnwindSafe(work)).is_err());
            }
            11 => ramie::yield_now(),
            _ => {
                let value = frame.alloc(tag);
                ramie::yield_now();
                assert_eq!(*value, tag);
            }
        }
    }

    /// Memory of any alignment, some of which is given back at once.
    fn aligned(&self, rng: &mut Rng, tag: u64) {
        let (size, align) = (random_size(rng), 1 << rng.below(15));
        self.note_size(size + align);
        let layout = Layout::from_size_align(size, align).expect("a layout");
        let memory = self.frame.allocate(layout).expect("there is memory").cast::<u8>();
        assert_eq!(memory.addr().get() % align, 0);
        #[expect(unsafe_code, reason = "uses the allocator's raw memory")]
        // SAFETY: fresh memory of this size; it is either kept until the frame ends, or given back and not used again.
        unsafe {
            (0..size).for_each(|index| memory.add(index).write(byte(tag, index)));
            let bytes = std::slice::from_raw_parts(memory.as_ptr(), size);
            if rng.below(3) > 0 {
                self.keep(bytes, tag);
            } else {
                assert!(is_intact(bytes, tag));
                self.frame.deallocate(memory, layout);
            }
        }
    }

    /// A vector that grows and shrinks beside others.
    fn collection(&self, rng: &mut Rng, tag: u64) {
        let mut vec: FrameVec<u8, _> = FrameVec::new_in(self.frame);
        for _ in 0..rng.below(8) {
            match rng.below(6) {
                0 => {
                    vec.truncate(rng.below(vec.len() as u64 + 1) as usize);
                    vec.shrink_to_fit();
                }
                1 => ramie::yield_now(),
                2 => self.keep(self.frame.alloc_slice_copy(&[byte(tag, 0)]), tag),
                _ => {
                    let more = random_size(rng).min(5000);
                    vec.reserve(more);
                    (0..more).for_each(|_| vec.push(byte(tag, vec.len())));
                    self.note_size(2 * vec.capacity());
                }
            }
            assert!(is_intact(&vec, tag));
        }
        if rng.below(2) == 0 {
            self.keep(vec.leak(), tag);
        }
    }

    /// Everything is as it was written, and in places of its own. How many allocations were too large for a block.
    fn check(self) -> usize {
        let mut live = self.live.into_inner().expect("it is not poisoned");
        live.retain(|(bytes, _)| !bytes.is_empty());
        live.sort_by_key(|(bytes, _)| bytes.as_ptr());
        for pair in live.windows(2) {
            assert!(pair[0].0.as_ptr_range().end <= pair[1].0.as_ptr(), "two allocations overlap");
        }
        assert!(live.iter().all(|(bytes, tag)| is_intact(bytes, *tag)), "an allocation was changed");
        let sum: usize = live.iter().map(|(bytes, _)| bytes.len()).sum();
        assert!(self.frame.allocated_bytes() >= sum);
        self.oversize.into_inner()
    }
}

/// One frame, used by jobs of its system, of another one, and by a thread.
fn play(arenas: &FrameArenas, systems: [&JobSystem; 2], seed: u64) -> usize {
    let frame = arenas.begin();
    let play = Play::new(&frame);
    let mut rng = Rng(seed);
    let seeds: Vec<u64> = (0..6).map(|_| rng.next()).collect();
    let whole = rng.below(4);
    systems[0].scope(|s| {
        for &seed in &seeds[..4] {
            let play = &play;
            s.spawn(move || play.steps(Rng(seed), 3));
        }
        if whole > 0 {
            systems[1].run(|| play.steps(Rng(seeds[4]), 2));
        }
        if whole == 2 {
            std::thread::scope(|threads| drop(threads.spawn(|| play.steps(Rng(seeds[5]), 0)).join()));
        }
    });
    play.check()
}

/// No more blocks than the largest frames need at a time: two neighbouring blocks of a bump are together more than half
/// full.
fn check_blocks(arenas: &FrameArenas, workers: usize, oversize_max: usize) {
    let stats = arenas.stats();
    let per_frame = workers + 1 + 2 * stats.most_frame_bytes / (BLOCK_BYTES / 2);
    let blocks = stats.blocks_in_use + stats.blocks_pooled;
    assert!(blocks <= arenas.frames_in_flight() * per_frame, "{blocks} blocks: {stats:?}");
    let oversize = stats.oversize_blocks_in_use + stats.oversize_blocks_pooled;
    // Of 32, 64, 128 KiB, and one more for what is both large and aligned.
    assert!(
        oversize <= 4 * arenas.frames_in_flight() * oversize_max,
        "{oversize} oversize blocks: {stats:?}"
    );
}

#[test]
fn random_frames_keep_what_they_are_given() {
    let _watch = watch("random frames", 400);
    let seed = seed();
    for workers in WORKERS {
        let (ours, other) = (system(workers), system(2));
        let depth = 1 + (mix(seed ^ workers as u64) % 4) as usize;
        let arenas = FrameArenas::with_block_size(&ours, depth, BLOCK_BYTES).expect("in range");
        let oversize_max = AtomicUsize::new(0);
        let frames = 300 * soak() as u64;
        let one = |n: u64| {
            let oversize = play(&arenas, [&ours, &other], mix(seed ^ mix(n ^ (workers as u64) << 32)));
            oversize_max.fetch_max(oversize, Ordering::Relaxed);
        };
        // More at once than there may be; from jobs, from jobs of the other system, and from a thread.
        std::thread::scope(|threads| {
            threads.spawn(|| (0..frames / 4).for_each(one));
            threads.spawn(|| {
                other.scope(|s| (0..frames / 4).for_each(|n| drop(s.spawn(move || one(n + frames)))))
            });
            ours.scope(|s| (0..frames / 2).for_each(|n| drop(s.spawn(move || one(n + 2 * frames)))));
        });
        let stats = arenas.stats();
        assert_eq!((stats.frames_begun, stats.frames_in_flight), (2 * (frames / 4) + frames / 2, 0));
        assert_eq!((stats.blocks_in_use, stats.oversize_blocks_in_use), (0, 0));
        check_blocks(&arenas, workers, oversize_max.into_inner());
        assert_eq!(arenas.trim(), stats.reserved_bytes);
    }
}

/// The same frames again and again, one at a time: their memory is what they need at most, and that once.
#[test]
fn memory_is_flat() {
    let _watch = watch("flat", 240);
    let seed = seed();
    for workers in WORKERS {
        let (ours, other) = (system(workers), system(2));
        let arenas = FrameArenas::with_block_size(&ours, 2, BLOCK_BYTES).expect("in range");
        let mut oversize_max = 0;
        for round in 0..40 * soak() {
            for n in 0..5 {
                oversize_max = oversize_max.max(play(&arenas, [&ours, &other], mix(seed ^ n)));
            }
            if round % 7 == 6 {
                arenas.trim();
            }
            check_blocks(&arenas, workers, oversize_max);
        }
    }
}

/// Pipelines of random stages, with random frames in them, some of which panic.
#[test]
fn random_pipelines_keep_their_order() {
    let _watch = watch("random pipelines", 400);
    let seed = seed();
    for workers in WORKERS {
        let ours = common::builder().workers(workers).on_panic(|_| ()).build().expect("a system");
        for run in 0..12 * soak() as u64 {
            let mut rng = Rng(mix(seed ^ mix(run ^ (workers as u64) << 32)));
            let depth = 1 + rng.below(6) as usize;
            let arenas = FrameArenas::with_block_size(&ours, depth, BLOCK_BYTES).expect("in range");
            let mut pipeline = FramePipeline::new(&arenas);
            let stages: Vec<_> = (0..rng.below(5)).map(|_| pipeline.stage("stage", Vec::new())).collect();
            let (frames, seed) = (rng.below(60), rng.next());
            let outcome = |frame: u64, stage: usize| mix(seed ^ mix(frame * 64 + stage as u64)) % 20;
            let report = pipeline.run(0..frames, |f, frame| {
                let play = Play::new(f.frame());
                play.steps(Rng(mix(seed ^ frame)), 1);
                for (index, stage) in stages.iter().enumerate() {
                    match outcome(frame, index) {
                        0..=3 => continue,
                        4 => planned(frame),
                        5 => f.enter(stage, |_| planned(frame)),
                        _ => f.enter(stage, |seen: &mut Vec<u64>| {
                            seen.push(frame);
                            play.steps(Rng(mix(seed ^ frame ^ index as u64)), 2);
                            assert_eq!(seen.last(), Some(&frame));
                        }),
                    }
                }
                play.check();
            });
            let stage_count = stages.len();
            let panics =
                |frame: u64| (0..stage_count).find(|&stage| (4..=5).contains(&outcome(frame, stage)));
            assert_eq!(report.frames, frames);
            assert_eq!(report.panicked, (0..frames).filter(|&frame| panics(frame).is_some()).count() as u64);
            for (index, stage) in stages.into_iter().enumerate() {
                let entered =
                    |&frame: &u64| index < panics(frame).unwrap_or(stage_count) && outcome(frame, index) > 5;
                assert!(stage.into_inner().into_iter().eq((0..frames).filter(entered)));
            }
            assert_eq!((arenas.stats().frames_in_flight, arenas.stats().blocks_in_use), (0, 0));
        }
    }
}

/// What this process has in memory, in KiB; `None` where there is no `/proc`.
fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let text = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    text.split_whitespace().next()?.parse().ok()
}

/// Random frames in one process for `RAMIE_SOAK_SECONDS`, by default 3: what it has in memory in the last quarter is no more than
/// in the second, but for what rare frames still add. `cargo xtask frames` runs it for minutes.
#[test]
fn resident_memory_is_flat() {
    const TEST: &str = "resident_memory_is_flat";
    const SLACK_KIB: u64 = 4 * 1024;
    if !common::is_child(TEST) {
        eprint!("{}", common::child_succeeds(TEST, &[]));
        return;
    }
    let seconds = std::env::var("RAMIE_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3);
    let _watch = watch(TEST, 2 * seconds + 60);
    let (seed, begin, limit) = (seed(), Instant::now(), Duration::from_secs(seconds));
    let (ours, other) = (system(3), system(2));
    let arenas = FrameArenas::with_block_size(&ours, 3, BLOCK_BYTES).expect("in range");
    let mut most_kib = [0; 4];
    let mut frames = 0_u64;
    while begin.elapsed() < limit {
        ours.scope(|s| {
            for n in frames..frames + 50 {
                let (arenas, systems) = (&arenas, [&ours, &other]);
                s.spawn(move || {
                    play(arenas, systems, mix(seed ^ mix(n)));
                });
            }
        });
        frames += 50;
        let Some(kib) = resident_kib() else { return };
        let quarter = (begin.elapsed().as_millis() * 4 / limit.as_millis()).min(3) as usize;
        most_kib[quarter] = most_kib[quarter].max(kib);
    }
    eprintln!("{frames} frames in {seconds} s; most KiB in memory in each quarter of the time: {most_kib:?}");
    assert!(most_kib[3] <= most_kib[1] + SLACK_KIB, "it grows: {most_kib:?} KiB");
}
