//! Recordings: what is in them, what becomes of them, and that nothing goes wrong while they begin and end.
#![cfg(feature = "timeline")]

mod common;

use common::{WORKERS, planned, soak, spin_until, watch};
use ramie::trace::{self, LoadError, RecordError, Recording, Summary, Timeline};
use ramie::{Counter, FrameArenas, FramePipeline, JobSystem, Priority};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Only one recording of a process can go on at a time, and it has what all tests do.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn recorded(f: impl FnOnce()) -> Recording {
    let recorder = trace::record().start().expect("nobody else records");
    f();
    recorder.stop()
}

fn trace_of(timeline: &Timeline, fibers: bool) -> Vec<Value> {
    let mut json = Vec::new();
    timeline.write_chrome_trace(&mut json, fibers).expect("memory takes it");
    let trace: Value = serde_json::from_slice(&json).expect("it is JSON");
    trace["traceEvents"].as_array().expect("with events").clone()
}

fn time(event: &Value) -> f64 {
    event["ts"].as_f64().expect("a time")
}

fn end(event: &Value) -> f64 {
    time(event) + event["dur"].as_f64().expect("a duration")
}

/// Checks what the format demands, and what is true of every recording: slices of a track nest, and a fiber is in one place at a time.
fn check_trace(events: &[Value]) {
    let mut slices: HashMap<(u64, u64), Vec<(f64, f64)>> = HashMap::new();
    let mut fibers: HashMap<u64, Vec<(f64, f64)>> = HashMap::new();
    let mut arrows: HashMap<u64, Vec<&Value>> = HashMap::new();
    for event in events {
        let phase = event["ph"].as_str().expect("a phase");
        assert!(event["pid"].is_u64() && event["name"].is_string(), "{event}");
        match phase {
            "M" => assert!(event["args"].is_object(), "{event}"),
            "X" => {
                let (start, end) = (time(event), end(event));
                assert!(start >= 0.0 && end >= start, "{event}");
                if event["cat"] == "job" {
                    let track = (event["pid"].as_u64().unwrap(), event["tid"].as_u64().unwrap());
                    slices.entry(track).or_default().push((start, end));
                    if let Some(fiber) = event["args"]["fiber"].as_u64() {
                        fibers.entry(fiber).or_default().push((start, end));
                    }
                }
            }
            "s" | "f" => arrows.entry(event["id"].as_u64().unwrap()).or_default().push(event),
            "C" => assert!(event["args"]["value"].is_f64(), "{event}"),
            "i" => assert_eq!(event["s"], "g"),
            _ => panic!("an unknown phase: {event}"),
        }
    }
    for times in slices.values_mut().chain(fibers.values_mut()) {
        times.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        for pair in times.windows(2) {
            // Times are rounded to nanoseconds.
            assert!(pair[1].0 >= pair[0].1 - 0.002, "at once: {pair:?}");
        }
    }
    for arrow in arrows.values() {
        assert_eq!(arrow.len(), 2);
        assert_eq!((&arrow[0]["ph"], &arrow[1]["ph"]), (&Value::from("s"), &Value::from("f")));
        assert_eq!(arrow[1]["bp"], "e");
    }
}

/// In order of time: a fiber that migrates goes on on another thread's track.
fn slices<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    let named =
        events.iter().filter(|event| event["ph"] == "X" && event["name"] == name && event["pid"] == 1);
    let mut slices: Vec<&Value> = named.collect();
    slices.sort_by(|a, b| time(a).total_cmp(&time(b)));
    slices
}

/// The slices from which an arrow goes to this one, on the same thread or another.
fn causes<'a>(events: &'a [Value], slice: &Value) -> Vec<&'a Value> {
    let is_end =
        |event: &&Value| event["ph"] == "f" && event["tid"] == slice["tid"] && time(event) == time(slice);
    let beginning = |end: &Value| events.iter().find(|event| event["ph"] == "s" && event["id"] == end["id"]);
    let slice_of = |begin: &Value| {
        events.iter().find(|event| {
            let holds = || time(event) <= time(begin) && time(begin) <= end(event);
            event["ph"] == "X" && event["cat"] == "job" && event["tid"] == begin["tid"] && holds()
        })
    };
    events.iter().filter(is_end).filter_map(beginning).filter_map(slice_of).collect()
}

#[test]
fn jobs_waits_and_causes_are_recorded() {
    let (_alone, _watch) = (alone(), watch("jobs, waits and causes", 60));
    for workers in WORKERS {
        let system = common::system(workers);
        let gate = Counter::new(1);
        let wait_line = line!() + 7;
        let recording = recorded(|| {
            system.scope(|s| {
                let (system, gate) = (&system, &gate);
                s.job().name("parent").detach(move || {
                    let waiter = system.job().name("waiter").priority(Priority::High).spawn({
                        let gate = gate.clone();
                        move || gate.wait()
                    });
                    while !is_waiting("waiter") {
                        ramie::yield_now();
                    }
                    let gate = gate.clone();
                    system.job().name("signaller").detach(move || gate.signal());
                    waiter.join().expect("it is woken");
                });
            });
            system.wait_idle();
        });
        assert_eq!(recording.lost_count(), 0);
        let timeline = Timeline::of(&recording);
        let events = trace_of(&timeline, true);
        check_trace(&events);
        let waiter = slices(&events, "waiter");
        assert_eq!(waiter.len(), 2, "before and after its wait: {waiter:#?}");
        let at = waiter[0]["args"]["waits at"].as_str().expect("it says where");
        assert!(at.contains("tests/recording.rs") && at.contains(&format!(":{wait_line}:")), "{at}");
        assert!(
            waiter[0]["args"]["spawned"].as_str().is_some_and(|place| place.contains("tests/recording.rs"))
        );
        assert_eq!(causes(&events, waiter[0])[0]["name"], "parent", "who has spawned it");
        assert_eq!(causes(&events, waiter[1])[0]["name"], "signaller", "who has woken it");
        assert_eq!(causes(&events, slices(&events, "signaller")[0])[0]["name"], "parent");
        let summary = timeline.summary();
        assert!(summary.jobs >= 3 && summary.workers <= workers, "{summary}");
        let waits: Vec<&str> = summary.waits.iter().map(|wait| wait.wait.as_str()).collect();
        assert!(waits.iter().any(|wait| wait.starts_with("counter at tests/recording.rs")), "{waits:?}");
        let times =
            summary.top_jobs.iter().find(|times| times.job.starts_with("parent")).expect("it is listed");
        assert!(times.count == 1 && times.own <= times.total && times.total <= summary.duration);
        let parts: f64 = summary.running.iter().sum();
        assert!((parts - 1.0).abs() < 0.01, "{:?}", summary.running);
        assert!(summary.critical_path <= summary.duration);
    }
}

fn is_critical(slice: &Value) -> bool {
    slice["args"]["critical path"] == true
}

/// What a job sets free by its end is caused by it, and a chain of such jobs is the critical path.
#[test]
fn the_critical_path_goes_over_ends_of_jobs() {
    let (_alone, _watch) = (alone(), watch("critical path", 60));
    for workers in WORKERS {
        let system = common::system(workers);
        let names = ["link 0", "link 1", "link 2", "link 3"];
        let recording = recorded(|| {
            let gate = Counter::new(1);
            let done: [Counter; 4] = std::array::from_fn(|_| Counter::new(0));
            for (n, name) in names.into_iter().enumerate() {
                let before = if n == 0 { &gate } else { &done[n - 1] };
                system.job().name(name).after(before).counter(&done[n]).detach(|| ());
            }
            gate.signal();
            done[3].wait();
            system.wait_idle();
        });
        let events = trace_of(&Timeline::of(&recording), false);
        for name in names {
            assert!(is_critical(slices(&events, name)[0]), "{workers} workers, {name}: {events:#?}");
        }
    }
}

/// Whether a job of this name waits.
fn is_waiting(name: &str) -> bool {
    let dump = ramie::dump_all();
    dump.fibers
        .iter()
        .any(|fiber| fiber.job_name == Some(name) && fiber.activity == ramie::FiberActivity::Waiting)
}

/// Dumps in JSON, read back.
#[test]
fn dumps_are_json_too() {
    let (_alone, _watch) = (alone(), watch("dumps in JSON", 60));
    let (system, gate) = (common::system(2), Counter::new(1));
    let name = "waits for \"it\" \\ in a\nline";
    let handle = system.job().name(name).priority(Priority::High).spawn({
        let gate = gate.clone();
        move || gate.wait()
    });
    let fiber = loop {
        let dump: Value = serde_json::from_str(&system.dump().to_json()).expect("JSON");
        assert_eq!(dump["systems"].as_array().map(Vec::len), Some(1));
        let fibers = dump["fibers"].as_array().expect("fibers");
        if let Some(fiber) = fibers.iter().find(|fiber| fiber["activity"] == "waiting") {
            break fiber.clone();
        }
        std::thread::yield_now();
    };
    assert_eq!((fiber["job_name"].as_str(), fiber["priority"].as_str()), (Some(name), Some("High")));
    assert!(fiber["waits_for"].as_str().is_some_and(|text| text.starts_with("counter ")), "{fiber}");
    assert!(
        fiber["waits_at"].as_str().is_some_and(|place| place.starts_with("tests/recording.rs:")),
        "{fiber}"
    );
    assert!(
        fiber["spawned_at"].is_string() && fiber["age_ns"].is_u64() && fiber["worker"].is_u64(),
        "{fiber}"
    );
    gate.signal();
    handle.join().expect("it ends");
}

#[test]
fn inlined_jobs_and_panics_are_recorded() {
    let (_alone, _watch) = (alone(), watch("inlined jobs and panics", 60));
    let system = common::system(1);
    let recording = recorded(|| {
        system.run(|| {
            // Whoever joins it runs it itself.
            let child = ramie::spawn(|| ramie::join(|| (), || ()));
            child.join().expect("it runs");
            system.job().name("thrower").spawn(|| planned(1)).join().expect_err("it panics");
        });
    });
    let timeline = Timeline::of(&recording);
    check_trace(&trace_of(&timeline, false));
    assert!(timeline.summary().jobs >= 3, "{}", timeline.summary());
}

#[test]
fn spans_values_and_frames_are_recorded() {
    let (_alone, _watch) = (alone(), watch("spans, values and frames", 60));
    let system = common::system(2);
    let recording = recorded(|| {
        system.run(|| {
            let _outer = trace::span("outer \"span\" </script>");
            trace::value("height", 1.5);
            ramie::yield_now();
            {
                let _inner = trace::span("inner");
                trace::value("height", f64::NAN);
                trace::value("height", -2.5);
            }
        });
        let arenas = FrameArenas::new(&system, 2).expect("arenas");
        let mut pipeline = FramePipeline::new(&arenas);
        let stage = pipeline.stage("step", ());
        pipeline.run(0..5, |frame, _| frame.enter(&stage, |()| ()));
        let _outside = trace::span("outside");
        trace::mark_frame(77);
    });
    let timeline = Timeline::of(&recording);
    let events = trace_of(&timeline, false);
    check_trace(&events);
    let outer = slices(&events, "outer \"span\" </script>");
    assert_eq!(outer.len(), 2, "it is interrupted by a wait");
    let inner = slices(&events, "inner");
    assert!(inner.len() == 1 && time(inner[0]) >= time(outer[1]) && end(inner[0]) <= end(outer[1]));
    assert_eq!(slices(&events, "outside").len(), 1, "it had not ended");
    let values: Vec<f64> = events
        .iter()
        .filter(|event| event["ph"] == "C")
        .map(|event| event["args"]["value"].as_f64().unwrap())
        .collect();
    assert_eq!(values, [1.5, -2.5]);
    let frames: Vec<&str> = events
        .iter()
        .filter(|event| event["ph"] == "i")
        .map(|event| event["name"].as_str().unwrap())
        .collect();
    assert_eq!(frames, ["frame 0", "frame 1", "frame 2", "frame 3", "frame 4", "frame 77"]);
    assert_eq!(timeline.summary().frames.expect("it has some").count, 5);
    let mut page = Vec::new();
    timeline.write_html(&mut page, "a <title> & more").expect("memory takes it");
    let page = String::from_utf8(page).expect("UTF-8");
    assert!(page.contains("a &lt;title&gt; &amp; more") && !page.contains("__RAMIE_"));
    let (_, data) =
        page.split_once("<script id=\"ramie-data\" type=\"application/json\">").expect("it has data");
    let (data, _) = data.split_once("</script>").expect("which end");
    let data: Value = serde_json::from_str(data).expect("JSON");
    assert!(data["names"].as_array().unwrap().iter().any(|name| name == "outer \"span\" </script>"));
}

#[test]
fn the_oldest_events_are_overwritten_and_counted() {
    let (_alone, _watch) = (alone(), watch("overwritten", 60));
    let system = common::system(2);
    let recorder = trace::record().events_per_thread(256).start().expect("nobody else records");
    system.scope(|s| (0..20_000).for_each(|_| s.detach(|| ramie::yield_now())));
    let recording = recorder.stop();
    assert!(recording.lost_count() > 10_000 && recording.event_count() <= 256 * 4);
    let timeline = Timeline::of(&recording);
    check_trace(&trace_of(&timeline, true));
    assert!(timeline.summary().to_string().contains("were overwritten"));
}

#[test]
fn what_is_streamed_is_what_happens() {
    let (_alone, _watch) = (alone(), watch("streamed", 60));
    let path = std::env::temp_dir().join(format!("ramie-recording-{}", std::process::id()));
    let system = common::system(2);
    let recorder =
        trace::record().events_per_thread(1 << 18).start_streaming(&path).expect("nobody else records");
    for _ in 0..20 {
        system.scope(|s| (0..500).for_each(|_| s.job().name("streamed").detach(|| ())));
    }
    let streamed = recorder.finish().expect("the file can be written");
    let recording = Recording::load(&path).expect("it can be read");
    assert_eq!((recording.event_count(), recording.lost_count()), (streamed.events, streamed.lost));
    assert_eq!(streamed.lost, 0, "there is room for all");
    let summary = Timeline::of(&recording).summary();
    let times =
        summary.top_jobs.iter().find(|times| times.job.starts_with("streamed")).expect("it is listed");
    assert_eq!(times.count, 10_000);
    // What is read back is what was written.
    let again = path.with_extension("again");
    recording.save(&again).expect("it can be written");
    assert_eq!(Recording::load(&again).expect("it can be read"), recording);
    std::fs::remove_file(path).expect("it is there");
    std::fs::remove_file(again).expect("it is there");
}

/// What was written into a file can be read while it is written, and so if the process ends before its end.
#[test]
fn a_stream_that_was_cut_off_can_be_read() {
    let (_alone, _watch) = (alone(), watch("cut off", 60));
    let path = std::env::temp_dir().join(format!("ramie-recording-cut-{}", std::process::id()));
    let system = common::system(2);
    let recorder = trace::record().start_streaming(&path).expect("nobody else records");
    let written = loop {
        system.scope(|s| (0..100).for_each(|_| s.job().name("streamed").detach(|| ())));
        let written = std::fs::read(&path).expect("it is there");
        // Also without the last piece, which need not be one of a worker.
        let jobs = |bytes| Recording::read(bytes).map_or(0, |read| Timeline::of(&read).summary().jobs);
        if written.len() > 20 && jobs(&written[..written.len() - 20]) > 100 {
            break written;
        }
    };
    drop(recorder);
    // Also in the middle of its last chunk.
    for cut in [0, 1, 20] {
        let recording = Recording::read(&written[..written.len() - cut]).expect("it was written so far");
        let timeline = Timeline::of(&recording);
        let (events, summary) = (trace_of(&timeline, false), timeline.summary());
        check_trace(&events);
        let ends: std::collections::BTreeSet<u64> =
            slices(&events, "streamed").iter().map(|slice| end(slice) as u64).collect();
        assert!(summary.jobs > 100 && ends.len() > 3, "{summary}");
        assert!(ends.last().is_some_and(|last| *last as u128 <= summary.duration.as_micros()), "{summary}");
    }
    std::fs::remove_file(path).expect("it is there");
}

/// A recording that is not begun leaves the file alone that it would have been written into.
#[test]
fn a_refused_stream_harms_no_file() {
    let (_alone, _watch) = (alone(), watch("refused stream", 60));
    let path = std::env::temp_dir().join(format!("ramie-recording-refused-{}", std::process::id()));
    let recorder = trace::record().start_streaming(&path).expect("nobody else records");
    let refused = trace::record().start_streaming(&path).expect_err("one goes on");
    assert!(matches!(refused, RecordError::AlreadyRecording), "{refused}");
    common::system(1).run(|| ());
    let streamed = recorder.finish().expect("the file can be written");
    let recording = Recording::load(&path).expect("it is whole");
    assert_eq!(recording.event_count(), streamed.events);
    assert!(trace::record().events_per_thread(1).start_streaming(&path).is_err());
    assert_eq!(Recording::load(&path).expect("it is still there"), recording);
    std::fs::remove_file(path).expect("it is there");
}

/// Jobs that were dropped are not queued any more, whatever sleeps then.
#[test]
fn dropped_jobs_are_not_queued_for_ever() {
    let (_alone, _watch) = (alone(), watch("dropped", 60));
    let system = common::system(1);
    let recording = recorded(|| {
        let (begun, go_on) = (AtomicBool::new(false), AtomicBool::new(false));
        system.scope(|s| {
            s.detach(|| {
                begun.store(true, Ordering::SeqCst);
                spin_until(|| go_on.load(Ordering::SeqCst));
            });
            spin_until(|| begun.load(Ordering::SeqCst));
            assert!(system.spawn(|| ()).cancel(), "its worker is busy");
            go_on.store(true, Ordering::SeqCst);
        });
        for _ in 0..8 {
            let parks = system.stats().parks;
            system.run(|| ());
            spin_until(|| system.stats().parks > parks);
        }
    });
    let summary = Timeline::of(&recording).summary();
    let asleep =
        |why: &str| summary.idle.iter().find(|(cause, _)| cause.contains(why)).expect("it is listed").1;
    // Now and then a job is recorded while the worker is on its way to sleep.
    assert!(!asleep("no work").is_zero(), "{summary}");
}

/// The main thread is a worker at times, and on a track of its own then.
#[test]
fn the_main_thread_is_a_worker_while_it_visits() {
    let (_alone, _watch) = (alone(), watch("main thread", 60));
    let system = common::builder().workers(1).main_thread_worker(true).build().expect("a system");
    let recording = recorded(|| {
        for _ in 0..3 {
            let handle = system.job().name("visited").spawn(|| ());
            handle.join().expect("the wait runs it");
        }
    });
    let timeline = Timeline::of(&recording);
    let (events, summary) = (trace_of(&timeline, false), timeline.summary());
    check_trace(&events);
    assert_eq!((summary.workers, slices(&events, "visited").len()), (1, 3), "{summary}");
    assert!(summary.parallelism > 0.0, "{summary}");
    // Between its visits it does not look for work.
    let asleep =
        summary.idle.iter().find(|(cause, _)| cause.contains("asleep, no work")).expect("it is listed");
    let queued = summary.idle.iter().find(|(cause, _)| cause.contains("were queued")).expect("it is listed");
    assert!(!(asleep.1 + queued.1).is_zero(), "{summary}");
}

/// What a seeded system does is the same each time, and so is what is recorded, but for times. A change of either changes the text.
#[test]
fn a_seeded_run_is_recorded_in_the_same_way() {
    let (_alone, _watch) = (alone(), watch("seeded", 60));
    let told = [7, 7, 8].map(|seed| {
        let system = JobSystem::builder().deterministic(seed).build().expect("a system");
        let recording = recorded(|| system.run(seeded));
        let timeline = Timeline::of(&recording);
        let events = trace_of(&timeline, false);
        check_trace(&events);
        let mut runs: Vec<&Value> =
            events.iter().filter(|event| event["ph"] == "X" && event["cat"] == "job").collect();
        runs.sort_by(|a, b| time(a).total_cmp(&time(b)));
        // Those without a name are called by their places.
        let name = |run: &Value| run["name"].as_str().expect("a name").split('/').next().map(str::to_owned);
        let line = |run: &Value| {
            let waits = if run["args"]["waits at"].is_string() { ", waits" } else { "" };
            let begins =
                |event: &&Value| event["ph"] == "f" && event["tid"] == run["tid"] && time(event) == time(run);
            let arrow =
                events.iter().find(begins).map_or("", |event| event["name"].as_str().expect("a name"));
            format!("{} {arrow}", name(run).expect("a name")).trim_end().to_owned() + waits
        };
        runs.into_iter().map(line).collect::<Vec<_>>()
    });
    // Where a run has begun by itself, was queued or woken, and whether it ends with a wait.
    let golden = [
        "tests",
        "signals spawn",
        "tests wake",
        "c spawn, waits",
        "b spawn, waits",
        "c wake",
        "tests wake",
        "a spawn, waits",
        "b wake",
        "a wake",
        "tests wake",
    ];
    assert_eq!(told[0], golden);
    assert_eq!(told[1], golden);
    assert_ne!(told[2], golden, "another seed");
}

/// Waits of several kinds, a job that is run in place, one that is dropped.
fn seeded() {
    let gate = Counter::new(1);
    ramie::scope(|s| {
        for name in ["a", "b", "c"] {
            let gate = &gate;
            s.job().name(name).detach(move || {
                ramie::yield_now();
                gate.wait();
            });
        }
        s.job().name("signals").detach(|| gate.signal());
    });
    assert!(ramie::spawn(|| ()).cancel(), "its worker is here");
}

/// A job that began before the recording, and never waits, runs jobs in place that are recorded, and so are their ends and what comes after.
#[test]
fn a_job_that_runs_already_runs_jobs_that_are_recorded() {
    let (_alone, _watch) = (alone(), watch("runs already", 60));
    for workers in [1, 2] {
        let system = common::system(workers);
        let (runs, records) = (AtomicBool::new(false), AtomicBool::new(false));
        let recording = std::thread::scope(|threads| {
            let handle = threads.spawn(|| {
                system.run(|| {
                    runs.store(true, Ordering::SeqCst);
                    spin_until(|| records.load(Ordering::SeqCst));
                    let handles: Vec<_> = (0..10).map(|_| system.job().name("inner").spawn(|| ())).collect();
                    handles.into_iter().for_each(|handle| handle.join().expect("it ends"));
                });
            });
            spin_until(|| runs.load(Ordering::SeqCst));
            recorded(|| {
                records.store(true, Ordering::SeqCst);
                handle.join().expect("it ends");
            })
        });
        let timeline = Timeline::of(&recording);
        let events = trace_of(&timeline, false);
        check_trace(&events);
        assert_eq!(slices(&events, "inner").len(), 10, "{}", timeline.summary());
    }
}

/// A span whose guard was forgotten ends with its job.
#[test]
fn forgotten_spans_end_with_their_jobs() {
    let (_alone, _watch) = (alone(), watch("forgotten spans", 60));
    let system = common::system(1);
    let recording = recorded(|| {
        system.run(|| std::mem::forget(trace::span("forgotten")));
        system.run(|| drop(trace::span("after it")));
    });
    let events = trace_of(&Timeline::of(&recording), false);
    check_trace(&events);
    assert_eq!((slices(&events, "forgotten").len(), slices(&events, "after it").len()), (1, 1));
}

#[test]
fn one_recording_goes_on_at_a_time() {
    let _alone = alone();
    let recorder = trace::record().start().expect("nobody else records");
    let refused = trace::record().start().expect_err("one goes on");
    assert!(matches!(refused, RecordError::AlreadyRecording), "{refused}");
    drop(recorder);
    for events in [0, 255, (1 << 26) + 1] {
        let refused = trace::record().events_per_thread(events).start().expect_err("out of range");
        assert!(refused.to_string().contains("choose from 256 to 67108864"), "{refused}");
    }
    let refused = trace::record().start_streaming("/nowhere/at/all").expect_err("there is no such folder");
    assert!(matches!(refused, RecordError::Io(_)), "{refused}");
    // None of these is left over.
    drop(trace::record().start().expect("nobody records"));
}

/// Recordings begin and end in the middle of everything, also those that are looked at meanwhile.
#[test]
fn recordings_begin_and_end_beside_running_jobs() {
    let (_alone, _watch) = (alone(), watch("begin and end", 300));
    for workers in WORKERS {
        let system = common::system(workers);
        let is_over = AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !is_over.load(Ordering::SeqCst) {
                        churn(&system);
                    }
                });
            }
            let _over = Over(&is_over);
            for round in 0..20 * soak() {
                let events = 256 << (round % 6);
                let recorder =
                    trace::record().events_per_thread(events).start().expect("nobody else records");
                let looked = loop {
                    let looked = recorder.snapshot();
                    if looked.event_count() > 200 {
                        break looked;
                    }
                };
                let recording = recorder.stop();
                for recording in [looked, recording] {
                    let timeline = Timeline::of(&recording);
                    let summary: Summary = timeline.summary();
                    assert!(summary.parallelism <= workers as f64 + 0.01, "{summary}");
                    check_trace(&trace_of(&timeline, true));
                }
            }
        });
    }
}

/// Says so when it is dropped, also by a panic.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn churn(system: &JobSystem) {
    let gate = Counter::new(1);
    system.scope(|s| {
        for n in 0..20 {
            let gate = &gate;
            s.detach(move || match n % 4 {
                0 => gate.wait(),
                1 => ramie::yield_now(),
                2 => {
                    ramie::join(std::hint::spin_loop, || ());
                }
                _ => {
                    let _span = trace::span("churn");
                    if n == 19 {
                        gate.signal();
                    }
                }
            });
        }
    });
}

/// Every prefix of a file, and files with wrong bytes, give an error or what was there; nothing panics.
#[test]
fn damaged_files_are_refused() {
    let _alone = alone();
    let system = common::system(2);
    let recording =
        recorded(|| system.scope(|s| (0..5).for_each(|_| s.job().name("kept").detach(ramie::yield_now))));
    let mut file = Vec::new();
    recording.write(&mut file).expect("memory takes it");
    assert_eq!(Recording::read(&file[..]).expect("it can be read"), recording);
    for length in 0..file.len() {
        match Recording::read(&file[..length]) {
            Ok(part) => assert!(part.event_count() <= recording.event_count()),
            Err(LoadError::NotARecording) => assert!(length < 8),
            Err(LoadError::Damaged { offset, .. }) => assert!(offset <= length),
            Err(error) => panic!("{error}"),
        }
    }
    let mut rng = common::Rng(common::seed());
    for _ in 0..3000 {
        let mut damaged = file.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(file.len() as u64) as usize;
            damaged[at] = rng.below(256) as u8;
        }
        if let Ok(damaged) = Recording::read(&damaged[..]) {
            let timeline = Timeline::of(&damaged);
            timeline.write_chrome_trace(std::io::sink(), true).expect("it takes everything");
            timeline.write_html(std::io::sink(), "damaged").expect("it takes everything");
            drop(timeline.summary().to_string());
        }
    }
    let mut newer = file.clone();
    newer[8] = 9;
    let error = Recording::read(&newer[..]).expect_err("of another format");
    assert!(error.to_string().contains("format 9"), "{error}");
}
