//! Pipelines of frames: order, overlap, panics, misuse, and how they end.

mod common;

use common::{
    Census, Rng, WORKERS, builder, message, panic_of, planned, planned_id, seed, soak, system, watch,
};
use ramie::allocator_api2::vec::Vec as FrameVec;
use ramie::{
    Counter, Drain, FrameArenas, FramePipeline, FrameRun, JobSystem, PanicKind, PipelineReport, Stage,
};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

fn arenas(system: &JobSystem, depth: usize) -> FrameArenas {
    FrameArenas::with_block_size(system, depth, 16 * 1024).expect("the values are in range")
}

/// The state of a stage that notices whoever else is in it, and notes who was.
#[derive(Default)]
struct Log {
    inside: AtomicBool,
    frames: Vec<u64>,
}

impl Log {
    fn note(&mut self, f: &FrameRun<'_>) {
        assert!(!self.inside.swap(true, Ordering::SeqCst), "two frames are in one stage");
        self.frames.push(f.number());
        if f.number() % 3 == 0 {
            ramie::yield_now();
        }
        assert!(self.inside.swap(false, Ordering::SeqCst), "two frames are in one stage");
    }
}

fn logs<const N: usize>(pipeline: &mut FramePipeline) -> [Stage<Log>; N] {
    std::array::from_fn(|_| pipeline.stage("log", Log::default()))
}

fn names_and_runs(report: &PipelineReport) -> Vec<(&'static str, u64)> {
    report.stages.iter().map(|stage| (stage.name, stage.runs)).collect()
}

#[test]
fn frames_go_through_each_stage_in_order_and_one_at_a_time() {
    let _watch = watch("in order", 240);
    for workers in WORKERS {
        let system = system(workers);
        for depth in [1, 2, 3, 7] {
            let arenas = arenas(&system, depth);
            let mut pipeline = FramePipeline::new(&arenas);
            let stages: [Stage<Log>; 3] = logs(&mut pipeline);
            let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
            for run in 0..2_u64 {
                let frames = 60 * soak() as u64;
                let report = pipeline.run(run..frames + run, |f, input| {
                    assert_eq!(input, f.number() + run);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    let passed = f.frame().alloc_slice_copy(&[input; 3]);
                    for (stage, passed) in stages.iter().zip(passed) {
                        f.enter(stage, |log| {
                            log.note(f);
                            *passed -= run;
                        });
                        assert_eq!(*passed, f.number());
                    }
                    now.fetch_sub(1, Ordering::SeqCst);
                });
                assert_eq!((report.frames, report.panicked), (frames, 0));
                assert_eq!(names_and_runs(&report), [("log", frames); 3]);
                assert!(report.stages.iter().all(|stage| stage.longest <= stage.total));
            }
            assert!((1..=depth).contains(&most.into_inner()));
            assert_eq!(arenas.stats().frames_in_flight, 0);
            for stage in stages {
                let frames = 60 * soak() as u64;
                assert!(stage.into_inner().frames.into_iter().eq((0..frames).chain(0..frames)));
            }
        }
    }
}

/// A frame that is in its last stage waits until the next one is in the stage before: it ends only if they overlap.
#[test]
fn stages_overlap() {
    let _watch = watch("overlap", 120);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 3);
        let mut pipeline = FramePipeline::new(&arenas);
        let stages: [Stage<()>; 3] = std::array::from_fn(|_| pipeline.stage("stage", ()));
        let frames = 30;
        let inside: Vec<[Counter; 3]> =
            (0..frames).map(|_| std::array::from_fn(|_| Counter::new(1))).collect();
        pipeline.run(0..frames, |f, frame| {
            for (index, stage) in stages.iter().enumerate() {
                f.enter(stage, |()| {
                    inside[frame][index].signal();
                    // Frame n in stage 2 beside n + 1 in stage 1 beside n + 2 in stage 0.
                    for ahead in 1..=index {
                        if let Some(next) = inside.get(frame + ahead) {
                            next[index - ahead].wait();
                        }
                    }
                });
            }
        });
        assert!(inside.iter().flatten().all(Counter::is_zero));
    }
}

/// What is in no stage is in no order: all frames are there at once.
#[test]
fn frames_are_free_between_stages() {
    let _watch = watch("free", 120);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 4);
        let mut pipeline = FramePipeline::new(&arenas);
        let (first, last) = (pipeline.stage("first", ()), pipeline.stage("last", Vec::new()));
        let together: Vec<Counter> = (0..5).map(|_| Counter::new(4)).collect();
        pipeline.run(0..20_usize, |f, frame| {
            f.enter(&first, |()| ());
            together[frame / 4].signal();
            together[frame / 4].wait();
            f.enter(&last, |seen| seen.push(frame));
        });
        assert!(last.into_inner().into_iter().eq(0..20));
    }
}

#[test]
fn inputs_are_asked_in_place_when_there_is_room() {
    let _watch = watch("in place", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 2);
        let mut pipeline = FramePipeline::new(&arenas);
        let ended = AtomicUsize::new(0);
        let here = std::thread::current().id();
        // The inputs need not be `Send`.
        let last = std::rc::Rc::new(20);
        let mut asked = 0;
        let inputs = std::iter::from_fn(|| {
            assert_eq!(std::thread::current().id(), here);
            // Of the frames so far all but one have ended, or there would be no room.
            assert!(ended.load(Ordering::SeqCst) + 1 >= asked);
            asked += 1;
            (asked <= *last).then_some(asked)
        });
        let report = pipeline.run(inputs, |_, _| _ = ended.fetch_add(1, Ordering::SeqCst));
        assert_eq!(report.frames, 20);
    }
}

#[test]
fn stages_may_be_left_out() {
    let _watch = watch("left out", 240);
    let seed = seed();
    for workers in WORKERS {
        let system = system(workers);
        for depth in [1, 2, 5] {
            let arenas = arenas(&system, depth);
            let mut pipeline = FramePipeline::new(&arenas);
            let stages: [Stage<Log>; 4] = logs(&mut pipeline);
            let enters = |frame: u64, stage: usize| Rng(seed ^ (frame * 4 + stage as u64)).below(2) == 0;
            let frames = 100 * soak() as u64;
            let report = pipeline.run(0..frames, |f, frame| {
                for (index, stage) in stages.iter().enumerate().filter(|(index, _)| enters(frame, *index)) {
                    f.enter(stage, |log| log.note(f));
                    if frame % 5 == index as u64 {
                        ramie::yield_now();
                    }
                }
            });
            assert_eq!((report.frames, report.panicked), (frames, 0));
            for (index, stage) in stages.into_iter().enumerate() {
                let expected = (0..frames).filter(|&frame| enters(frame, index));
                assert!(stage.into_inner().frames.into_iter().eq(expected), "seed {seed}");
            }
        }
    }
}

/// What was heard of panics: stage, frame, and the number that they were planned with.
type Heard = Arc<Mutex<Vec<(Option<&'static str>, u64, u64)>>>;

fn listening(workers: usize) -> (JobSystem, Heard) {
    let heard = Heard::default();
    let theirs = Arc::clone(&heard);
    let builder = builder().workers(workers).on_panic(move |report| match report.kind {
        PanicKind::FrameStage { stage, frame } => {
            assert!(report.job_name == Some("frame") && report.spawned_at.is_some());
            let entry = (stage, frame, planned_id(report.payload));
            theirs.lock().expect("it is not poisoned").push(entry);
        }
        other => panic!("unexpected: {other:?}"),
    });
    (builder.build().expect("a system"), heard)
}

#[test]
fn a_panic_ends_its_frame_and_no_other() {
    let _watch = watch("panics", 120);
    for workers in WORKERS {
        for depth in [1, 3] {
            let (system, heard) = listening(workers);
            let arenas = arenas(&system, depth);
            let mut pipeline = FramePipeline::new(&arenas);
            let first = pipeline.stage("first", Vec::new());
            let second = pipeline.stage("second", Vec::new());
            let census = Census::default();
            let report = pipeline.run(0..50_u64, |f, frame| {
                // Owned by the frame's body, in the frame's memory: dropped before that is gone.
                let mut items = FrameVec::new_in(f.frame());
                items.push(census.item());
                if frame % 10 == 3 {
                    planned(3);
                }
                f.enter(&first, |seen| {
                    seen.push(frame);
                    if frame % 10 == 5 {
                        planned(5);
                    }
                });
                items.push(census.item());
                f.enter(&second, |seen| {
                    if frame % 10 == 7 {
                        planned(7);
                    }
                    seen.push(frame);
                });
                if frame % 10 == 9 {
                    planned(9);
                }
            });
            assert_eq!((report.frames, report.panicked), (50, 20));
            assert_eq!(names_and_runs(&report), [("first", 45), ("second", 40)]);
            assert!(first.into_inner().into_iter().eq((0..50).filter(|frame| frame % 10 != 3)));
            assert!(
                second
                    .into_inner()
                    .into_iter()
                    .eq((0..50).filter(|frame| ![3, 5, 7].contains(&(frame % 10))))
            );
            census.assert_all_dropped(50 + 40);
            let mut heard = std::mem::take(&mut *heard.lock().expect("it is not poisoned"));
            heard.sort_by_key(|&(_, frame, _)| frame);
            let expected = (0..50).filter_map(|frame| match frame % 10 {
                3 => Some((None, frame, 3)),
                5 => Some((Some("first"), frame, 5)),
                7 => Some((Some("second"), frame, 7)),
                9 => Some((None, frame, 9)),
                _ => None,
            });
            assert!(heard.into_iter().eq(expected));
            assert_eq!((arenas.stats().frames_in_flight, arenas.stats().blocks_in_use), (0, 0));
        }
    }
}

/// A panic that the frame catches does not end it, and the stage is passed once.
#[test]
fn a_frame_may_catch_the_panic_of_a_stage() {
    let _watch = watch("caught", 60);
    for workers in WORKERS {
        let (system, heard) = listening(workers);
        let arenas = arenas(&system, 2);
        let mut pipeline = FramePipeline::new(&arenas);
        let (first, second) = (pipeline.stage("first", 0), pipeline.stage("second", 0));
        let report = pipeline.run(0..10, |f, _| {
            let work = || {
                f.enter(&first, |count| {
                    *count += 1;
                    planned(1)
                })
            };
            assert_eq!(planned_id(&*panic_of(work)), 1);
            f.enter(&second, |count| *count += 1);
        });
        assert_eq!((report.panicked, first.into_inner(), second.into_inner()), (0, 10, 10));
        assert!(heard.lock().expect("it is not poisoned").is_empty());
    }
}

#[test]
fn misuse_panics_and_breaks_nothing() {
    let _watch = watch("misuse", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 3);
        let (mut pipeline, mut stranger) = (FramePipeline::new(&arenas), FramePipeline::new(&arenas));
        let foreign = stranger.stage("foreign", 0);
        let (a, b, c) = (pipeline.stage("a", 0), pipeline.stage("b", 0), pipeline.stage("c", 0));
        let refused = |f: &FrameRun<'_>, stage: &Stage<i32>, words: &str| {
            let text = message(&*panic_of(|| f.enter(stage, |_| unreachable!("it is not entered"))));
            assert!(text.contains(words) && text.contains(&format!("frame {} ", f.number())), "{text}");
        };
        let report = pipeline.run(0..10, |f, _| {
            refused(f, &foreign, "of another pipeline");
            f.enter(&a, |count| {
                refused(f, &a, "entered stage 'a' while it was in stage 'a'");
                refused(f, &b, "entered stage 'b' while it was in stage 'a'");
                *count += 1;
            });
            refused(f, &a, "entered stage 'a' after it had passed stage 'a'");
            f.enter(&c, |count| *count += 1);
            refused(f, &b, "entered stage 'b' after it had passed stage 'c'");
            refused(f, &c, "at most once");
        });
        assert_eq!((report.frames, report.panicked), (10, 0));
        assert_eq!([a, b, c, foreign].map(Stage::into_inner), [10, 0, 10, 0]);
    }
}

/// Many fibers of one frame enter the same stage: one of them gets in.
#[test]
fn one_fiber_of_a_frame_enters_a_stage() {
    let _watch = watch("one fiber", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 2);
        let mut pipeline = FramePipeline::new(&arenas);
        let (first, last) = (pipeline.stage("first", Log::default()), pipeline.stage("last", Log::default()));
        let refused = AtomicUsize::new(0);
        pipeline.run(0..20, |f, _| {
            for stage in [&first, &last] {
                system.par(0..8).grain(1).for_each(|_| {
                    let enter = || f.enter(stage, |log| log.note(f));
                    if std::panic::catch_unwind(std::panic::AssertUnwindSafe(enter)).is_err() {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(refused.into_inner(), 20 * 2 * 7);
        assert!([first, last].into_iter().all(|stage| stage.into_inner().frames.into_iter().eq(0..20)));
    }
}

#[test]
fn pipelines_run_anywhere_and_nest() {
    let _watch = watch("anywhere", 240);
    for workers in WORKERS {
        let (system, other) = (system(workers), common::system(2));
        let (arenas, inner_arenas) = (arenas(&system, 2), arenas(&system, 3));
        let count = |arenas: &FrameArenas| {
            let mut pipeline = FramePipeline::new(arenas);
            let (first, second) = (pipeline.stage("first", 0), pipeline.stage("second", 0));
            pipeline.run(0..10, |f, _| {
                f.enter(&first, |count| *count += 1);
                f.enter(&second, |count| *count += 1);
            });
            assert_eq!((first.into_inner(), second.into_inner()), (10, 10));
        };
        count(&arenas);
        system.run(|| count(&arenas));
        other.run(|| count(&arenas));
        // Two at once, with the frames of the same arenas.
        system.join(|| count(&arenas), || count(&arenas));
        // One in a stage of another.
        let mut outer = FramePipeline::new(&arenas);
        let stage = outer.stage("outer", 0);
        let report = outer.run(0..5, |f, _| {
            f.enter(&stage, |runs| {
                count(&inner_arenas);
                *runs += 1;
            });
        });
        assert_eq!((stage.into_inner(), report.panicked), (5, 0));
        // Without stages, and without frames.
        let ran = AtomicUsize::new(0);
        FramePipeline::new(&arenas).run(0..10, |_, _| _ = ran.fetch_add(1, Ordering::Relaxed));
        assert_eq!(ran.into_inner(), 10);
        assert_eq!(FramePipeline::new(&arenas).run(0..0, |_, _| ()).frames, 0);
    }
}

#[test]
fn the_main_thread_may_run_a_pipeline() {
    let _watch = watch("main thread", 60);
    for workers in [1, 2, 3] {
        let system = builder().workers(workers).main_thread_worker(true).build().expect("a system");
        let arenas = arenas(&system, 2);
        let mut pipeline = FramePipeline::new(&arenas);
        let stage = pipeline.stage("stage", 0);
        pipeline.run(0..20, |f, n| f.enter(&stage, |sum| *sum += n));
        system.run_main(|| pipeline.run(0..20, |f, n| f.enter(&stage, |sum| *sum += n)));
        assert_eq!(stage.into_inner(), 2 * 190);
    }
}

#[test]
fn stages_own_what_they_like_between_runs_too() {
    let system = system(2);
    let arenas = arenas(&system, 2);
    let (mut total, census) = (0, Census::default());
    let mut pipeline = FramePipeline::new(&arenas);
    // Borrowed, and owned.
    let sum = pipeline.stage("sum", &mut total);
    let mut items = pipeline.stage("items", Vec::new());
    let mut run = |items: &Stage<Vec<common::Item>>| {
        pipeline.run(0..10, |f, n| {
            f.enter(&sum, |sum| **sum += n);
            f.enter(items, |items| items.push(census.item()));
        })
    };
    run(&items);
    assert_eq!(items.get_mut().drain(..).count(), 10);
    run(&items);
    assert_eq!((items.name(), items.into_inner().len()), ("items", 10));
    // Its place is left, and every frame goes past it.
    let late = pipeline.stage("late", 0);
    let report = pipeline.run(0..5, |f, _| f.enter(&late, |count| *count += 1));
    assert_eq!(names_and_runs(&report), [("sum", 0), ("items", 0), ("late", 5)]);
    assert_eq!(total, 90);
    census.assert_all_dropped(20);
}

#[test]
fn a_panic_of_the_inputs_goes_on_after_the_frames_have_ended() {
    let _watch = watch("inputs", 60);
    for workers in WORKERS {
        let system = system(workers);
        let arenas = arenas(&system, 3);
        let mut pipeline = FramePipeline::new(&arenas);
        let stage = pipeline.stage("stage", 0);
        let inputs = (0..).inspect(|n| {
            if *n == 10 {
                planned(1)
            }
        });
        let body = |f: &FrameRun<'_>, _| {
            ramie::yield_now();
            f.enter(&stage, |count| *count += 1);
        };
        assert_eq!(planned_id(&*panic_of(|| pipeline.run(inputs, body))), 1);
        assert_eq!(pipeline.run(0..5, |f, _| f.enter(&stage, |count| *count += 1)).frames, 5);
        assert_eq!((stage.into_inner(), arenas.stats().frames_in_flight), (15, 0));
    }
}

/// A shutdown while frames wait for their turn, and others have not been started, ends the run: it never hangs.
#[test]
fn a_shutdown_ends_the_run() {
    let _watch = watch("shutdown", 240);
    for workers in WORKERS {
        for depth in [1, 2, 5, 64] {
            for (round, inside) in [false, true, false, true].into_iter().enumerate() {
                let system = builder().workers(workers).on_panic(|_| ()).build().expect("a system");
                let arenas = arenas(&system, depth);
                let mut pipeline = FramePipeline::new(&arenas);
                let (first, second) = (pipeline.stage("first", 0), pipeline.stage("second", 0));
                let (begun, gate) = (Counter::new(1), Counter::new(1));
                let mut run = || {
                    pipeline.run(0.., |f, frame: u64| {
                        f.enter(&first, |count| {
                            *count += 1;
                            if frame == 7 {
                                begun.signal();
                                gate.wait();
                            }
                        });
                        f.enter(&second, |count| *count += 1);
                    })
                };
                let drain =
                    if round < 2 { Drain::Abandon } else { Drain::Deadline(std::time::Duration::ZERO) };
                std::thread::scope(|threads| {
                    let running = threads.spawn(|| {
                        let result = panic_of(|| if inside { system.run(&mut run) } else { run() });
                        assert!(message(&*result).contains("abandoned"), "{}", message(&*result));
                    });
                    begun.wait();
                    let report = system.shutdown(drain).expect("from outside");
                    assert!(!report.finished, "a frame is at the gate");
                    gate.signal();
                    running.join().expect("it ends as it should");
                });
                assert_eq!(arenas.stats().frames_in_flight, 0);
                let (first, second) = (first.into_inner(), second.into_inner());
                assert!(first >= 8 && second == first, "{first} and {second}: what was started went on");
            }
        }
    }
}

/// Finish lets a run inside of a job go on to its end, and refuses frames from outside.
#[test]
fn finish_runs_a_pipeline_inside_to_its_end() {
    let _watch = watch("finish", 120);
    for workers in WORKERS {
        for inside in [true, false] {
            let system = builder().workers(workers).on_panic(|_| ()).build().expect("a system");
            let arenas = arenas(&system, 3);
            let (begun, gate) = (Counter::new(1), Counter::new(1));
            let run = || {
                let mut pipeline = FramePipeline::new(&arenas);
                let stage = pipeline.stage("stage", ());
                pipeline.run(0..50, |f, frame| {
                    f.enter(&stage, |()| {
                        if frame == 2 {
                            begun.signal();
                            gate.wait();
                        }
                    });
                })
            };
            std::thread::scope(|threads| {
                let running = threads.spawn(|| {
                    let run = std::panic::AssertUnwindSafe(|| if inside { system.run(run) } else { run() });
                    std::panic::catch_unwind(run)
                });
                begun.wait();
                threads.spawn(|| system.shutdown(Drain::Finish).expect("from outside"));
                common::spin_until(|| matches!(system.spawn(|| ()).join(), Err(ramie::JobError::Abandoned)));
                gate.signal();
                match running.join().expect("it catches its panic") {
                    Ok(report) => assert!(inside && report.frames == 50),
                    Err(payload) => assert!(!inside && message(&*payload).contains("abandoned")),
                }
            });
        }
    }
}

#[test]
fn a_pipeline_without_a_system_says_so() {
    let arenas = arenas(&system(1), 1);
    let mut pipeline = FramePipeline::new(&arenas);
    let text = message(&*panic_of(|| pipeline.run(0..3, |_, _| ())));
    assert!(text.contains("has ended") || text.contains("shut down"), "{text}");
    (0..FramePipeline::STAGES_MAX).for_each(|_| _ = pipeline.stage("one of many", ()));
    assert!(message(&*panic_of(|| pipeline.stage("one too many", ()))).contains("at most 256"));
}

#[test]
fn the_limit_of_fibers_panics_instead_of_hanging() {
    let _watch = watch("fiber limit", 60);
    let system = builder().workers(1).max_fibers(1).build().expect("a system");
    let arenas = arenas(&system, 2);
    let mut pipeline = FramePipeline::new(&arenas);
    let stage = pipeline.stage("stage", 0);
    // From outside no frame has to wait; from inside the job that runs the pipeline has to.
    assert_eq!(pipeline.run(0..10, |f, _| f.enter(&stage, |count| *count += 1)).frames, 10);
    let text = message(&*panic_of(|| {
        system.run(|| pipeline.run(0..10, |f, _| f.enter(&stage, |count| *count += 1)))
    }));
    assert!(text.contains("FiberLimit") && text.contains("FramePipeline::run"), "{text}");
    assert_eq!(arenas.stats().frames_in_flight, 0);
}

/// A wait for a turn that is refused leaves everything as it was: the frame may try again.
#[test]
fn a_frame_may_try_again_after_the_limit_of_fibers() {
    let _watch = watch("try again", 60);
    let system = common::builder().workers(1).max_fibers(2).build().expect("a system");
    let arenas = arenas(&system, 2);
    let mut pipeline = FramePipeline::new(&arenas);
    let (first, second) = (pipeline.stage("first", ()), pipeline.stage("second", Vec::new()));
    let (gate, refused) = (Counter::new(1), AtomicUsize::new(0));
    let report = pipeline.run(0..2, |f, frame| {
        f.enter(&first, |()| ());
        if frame == 0 {
            f.enter(&second, |seen| {
                gate.wait();
                seen.push(frame);
            });
            return;
        }
        let enter = || f.enter(&second, |seen| seen.push(frame));
        while let Err(payload) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(enter)) {
            let text = message(&*payload);
            assert!(text.contains("FiberLimit") && text.contains("FrameRun::enter"), "{text}");
            if refused.fetch_add(1, Ordering::Relaxed) == 0 {
                gate.signal();
            }
            ramie::yield_now();
        }
    });
    assert_eq!(report.panicked, 0);
    assert!(refused.into_inner() > 0);
    assert_eq!(second.into_inner(), [0, 1]);
}

#[test]
fn debug_output_names_stages_and_frames() {
    let system = system(1);
    let arenas = arenas(&system, 2);
    let mut pipeline = FramePipeline::new(&arenas);
    let stage = pipeline.stage("draw", ());
    let text = format!("{pipeline:?} {stage:?}");
    assert!(text.contains(r#"stages: ["draw"]"#) && text.contains(r#"name: "draw""#), "{text}");
    pipeline.run(0..2, |f, n| assert!(format!("{f:?}").contains(&format!("number: {n}"))));
}

#[test]
fn frames_have_the_priority_and_the_stack_that_was_asked_for() {
    #[inline(never)]
    fn dig(bytes: usize) -> usize {
        let frame = std::hint::black_box([bytes as u8; 1024]);
        if bytes < frame.len() { 0 } else { dig(bytes - frame.len()) + usize::from(frame[7]) }
    }
    let _watch = watch("priority and stack", 60);
    for workers in WORKERS {
        let system = common::builder().workers(workers).stack_size(32 * 1024).build().expect("a system");
        let arenas = arenas(&system, 2);
        let mut pipeline = FramePipeline::new(&arenas);
        let stage = pipeline.stage("stage", 0_usize);
        pipeline.set_priority(ramie::Priority::High);
        pipeline.set_large_stack(true);
        let report = pipeline.run(0..10, |f, _| {
            assert_eq!(ramie::current_priority(), Some(ramie::Priority::High));
            f.enter(&stage, |sum| *sum += dig(1 << 20) | 1);
        });
        assert_eq!((report.frames, report.panicked), (10, 0));
        assert!(stage.into_inner() >= 10);
    }
}
