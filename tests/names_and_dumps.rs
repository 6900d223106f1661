//! Dumps name the job, the place that spawned it, what it waits for, and where; statistics count what was done.

mod common;

use common::{spin_until, system, watch};
use ramie::sync::{Event, Mutex};
use ramie::{Counter, FiberActivity, FiberInfo, FrameArenas, JobSystem};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

/// The job of this name, once it waits.
fn waiting(system: &JobSystem, name: &str) -> FiberInfo {
    let mut found = None;
    spin_until(|| {
        let fibers = system.dump().fibers;
        found = fibers.into_iter().find(|f| f.job_name == Some(name) && f.activity == FiberActivity::Waiting);
        found.is_some()
    });
    found.expect("it was found")
}

#[test]
fn a_waiting_job_is_described() {
    let _watch = watch("described", 30);
    for workers in [1, 2, 8] {
        let system = system(workers);
        let gate = Counter::new(1);
        let theirs = gate.clone();
        let wait_line = line!() + 2;
        let spawn_line = line!() + 1;
        let handle = system.job().name("loader").spawn(move || theirs.wait());
        let wait_line = wait_line.max(spawn_line);
        let info = waiting(&system, "loader");
        let spawned = info.spawned_at.expect("known");
        assert!(spawned.file().ends_with("names_and_dumps.rs"));
        assert_eq!(spawned.line(), spawn_line);
        let waits = info.waits_at.expect("known");
        assert_eq!((waits.file(), waits.line()), (file!(), wait_line));
        assert!(info.waits_for.contains("counter"), "{}", info.waits_for);
        assert!(info.worker < workers);
        assert!(info.age.is_some());
        let text = info.to_string();
        let place = format!("{}:{spawn_line}:", file!());
        assert!(
            text.contains("job 'loader'") && text.contains(&place) && text.contains("waits for counter"),
            "{text}"
        );
        let everything = ramie::dump_all().to_string();
        assert!(everything.contains("job 'loader'"), "{everything}");
        assert!(system.dump().to_string().contains(&text[..text.find(" since").expect("an age")]));
        gate.signal();
        handle.join().expect("it ends");
        system.wait_idle();
        let text = system.dump().to_string();
        assert!(text.contains("no job runs or waits"), "{text}");
    }
}

#[test]
fn every_kind_of_wait_is_told() {
    let _watch = watch("kinds", 30);
    let system = system(4);
    let (gate, begun) = (Counter::new(1), Counter::new(0));
    type Wait = fn(Counter);
    let kinds: [(&'static str, &str, Wait); 6] = [
        ("zero", "to reach zero", |gate| gate.wait()),
        ("target", "to reach its target", |gate| {
            gate.add(1);
            gate.wait_until(1);
        }),
        ("timed", "or a time limit", |gate| {
            gate.wait_timeout(std::time::Duration::from_secs(1000)).expect("it is signalled");
        }),
        ("scope", "the jobs of its scope", |gate| {
            ramie::scope(|s| {
                // Below a foreign job, so that it does not run in place.
                drop(s.spawn(|| gate.wait()));
                drop(ramie::spawn(|| ()));
            });
        }),
        ("handle", "the result of job", |gate| ramie::spawn_after(&gate, || ()).join().expect("it runs")),
        ("batch", "the jobs of its batch", |gate| {
            let batch = ramie::spawn_batch([move || gate.wait()]);
            drop(ramie::spawn(|| ()));
            batch.wait();
        }),
    ];
    for (name, _, wait) in kinds {
        let theirs = gate.clone();
        system.job().name(name).counter(&begun).detach(move || wait(theirs));
    }
    for (name, description, _) in kinds {
        let info = waiting(&system, name);
        assert!(info.waits_for.contains(description), "{info}");
    }
    let info = waiting(&system, "target");
    assert!(info.waits_at.is_some_and(|at| at.file() == file!()), "{info}");
    gate.signal_n(gate.value());
    begun.wait();
}

#[test]
fn a_running_job_and_a_yielding_one_are_told() {
    let _watch = watch("running", 30);
    let system = system(1);
    system.run(|| {
        let dump = system.dump();
        assert_eq!(dump.fibers.len(), 1);
        assert_eq!(dump.fibers[0].activity, FiberActivity::Running);
        assert!(dump.to_string().contains("running"), "{dump}");
        let handle = system.job().name("yielder").spawn(ramie::yield_now);
        let mut seen = false;
        while !handle.is_finished() {
            seen |= system
                .dump()
                .fibers
                .iter()
                .any(|f| f.job_name == Some("yielder") && f.waits_for.contains("yielded"));
            ramie::yield_now();
        }
        assert!(seen, "it was seen while it had yielded");
    });
}

/// A job that runs in place of another one's wait has its own name; its waiter's comes back afterwards.
#[test]
fn names_nest() {
    let _watch = watch("nest", 30);
    let system = system(1);
    let name_here = || {
        let dump = system.dump();
        let running = dump.fibers.iter().find(|f| f.activity == FiberActivity::Running);
        running.expect("this one").job_name
    };
    let outer = system.clone();
    system
        .scope(|s| {
            s.job()
                .name("outer")
                .spawn(|| {
                    assert_eq!(name_here(), Some("outer"));
                    let inner =
                        outer.scope(|s| s.job().name("inner").spawn(name_here).join().expect("it runs"));
                    assert_eq!(inner, Some("inner"));
                    assert_eq!(name_here(), Some("outer"));
                    let (a, b) = ramie::join(name_here, name_here);
                    // Nobody has stolen the second half, so both run as parts of the outer job.
                    assert_eq!((a, b), (Some("outer"), Some("outer")));
                    assert_eq!(name_here(), Some("outer"));
                })
                .join()
        })
        .expect("no assertion failed");
}

#[test]
fn dumps_tell_systems_apart() {
    let _watch = watch("systems", 30);
    let systems = [system(1), system(2)];
    let gate = Counter::new(1);
    for (system, name) in systems.iter().zip(["in one", "in two"]) {
        let theirs = gate.clone();
        system.job().name(name).detach(move || theirs.wait());
        waiting(system, name);
    }
    let (one, two) = (systems[0].dump(), systems[1].dump());
    assert_eq!((one.fibers.len(), two.fibers.len()), (1, 1));
    assert_ne!(one.fibers[0].system, two.fibers[0].system);
    assert_eq!(one.fibers[0].job_name, Some("in one"));
    let all = ramie::dump_all();
    assert!(all.to_string().contains("in one") && all.to_string().contains("in two"));
    assert!(!all.is_empty());
    gate.signal();
}

/// The watchdog's dump may be taken at any time, by any thread, while everything moves.
#[test]
fn dumps_may_be_taken_at_any_time() {
    let _watch = watch("any time", 60);
    for workers in common::WORKERS {
        let system = system(workers);
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let text = ramie::dump_all().to_string();
                        assert!(text.contains("workers of which"), "{text}");
                        let _numbers = system.stats();
                    }
                });
            }
            for _ in 0..200 {
                system.scope(|s| {
                    for _ in 0..20 {
                        drop(s.job().name("busy").spawn(|| ramie::join(ramie::yield_now, || ())));
                    }
                });
                drop(common::system(1));
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }
}

/// Ten thousand that wait in the same place do not hide the one that matters.
#[test]
fn jobs_that_wait_in_the_same_place_share_a_line() {
    let _watch = watch("same place", 30);
    let system = system(2);
    let gate = Counter::new(1);
    system.scope(|s| {
        for _ in 0..500 {
            s.job().name("script").detach(|| gate.wait());
        }
        s.job().name("the one").detach(|| gate.wait());
        spin_until(|| {
            let fibers = system.dump().fibers;
            fibers.iter().filter(|fiber| fiber.activity == FiberActivity::Waiting).count() == 501
        });
        let dump = system.dump();
        let text = dump.to_string();
        assert_eq!(text.matches("job 'script'").count(), 3, "{text}");
        assert!(text.ends_with("  and 497 more in the same place"), "{text}");
        assert!(text.find("'the one'") < text.find("'script'"), "what is rare comes first: {text}");
        assert_eq!(format!("{dump:#}").matches("job 'script'").count(), 500);
        gate.signal();
    });
}

#[test]
fn suspensions_are_counted_by_what_for() {
    let _watch = watch("by what for", 30);
    let system = system(1);
    let waits = |what: &str| {
        let fibers = system.dump().fibers;
        fibers.iter().any(|f| f.activity == FiberActivity::Waiting && f.waits_for.contains(what))
    };
    let (gate, event, mutex) = (Counter::new(1), Event::auto(), Mutex::new(0));
    system.scope(|s| {
        s.detach(|| gate.wait());
        spin_until(|| waits("counter"));
        gate.signal();
    });
    system.scope(|s| {
        s.detach(|| event.wait());
        spin_until(|| waits("an event"));
        event.set();
    });
    let guard = mutex.lock();
    system.scope(|s| {
        s.detach(|| *mutex.lock() += 1);
        spin_until(|| waits("a mutex"));
        drop(guard);
    });
    system.scope(|s| {
        s.detach(|| (0..3).for_each(|_| ramie::yield_now()));
        s.detach(|| ramie::sleep(Duration::from_micros(1)));
        s.detach(|| ramie::blocking(|| spin_until(|| waits("a blocking call"))));
    });
    let stats = system.stats();
    let by_reason = stats.suspensions_by_reason;
    assert_eq!((by_reason.counters, by_reason.events, by_reason.locks), (1, 1, 1), "{by_reason:?}");
    assert_eq!((by_reason.yields, by_reason.sleeps, by_reason.blocking), (3, 1, 1), "{by_reason:?}");
    assert_eq!(by_reason.iter().map(|(_, count)| count).sum::<u64>(), stats.suspensions, "{stats:?}");
}

#[test]
fn queues_are_measured() {
    let _watch = watch("queues", 30);
    let system = system(1);
    let (is_full, is_over, gate) = (AtomicBool::new(false), AtomicBool::new(false), Counter::new(1));
    system.scope(|s| {
        let (system, is_full, is_over, gate) = (&system, &is_full, &is_over, &gate);
        s.detach(move || {
            s.job().after(gate).detach(|| ());
            (0..5).for_each(|_| s.detach(|| ()));
            is_full.store(true, SeqCst);
            spin_until(|| is_over.load(SeqCst));
        });
        spin_until(|| is_full.load(SeqCst));
        let stats = system.stats();
        assert_eq!(stats.queue_depths, [5], "{stats:?}");
        assert_eq!(stats.unstarted, 6, "one is held: {stats:?}");
        is_over.store(true, SeqCst);
        gate.signal();
    });
    let stats = system.stats();
    assert_eq!((&stats.queue_depths[..], stats.unstarted), (&[0][..], 0), "{stats:?}");
}

#[test]
fn memory_of_frames_is_counted() {
    let _watch = watch("memory of frames", 30);
    let system = system(1);
    let before = system.stats().frame_bytes;
    let arenas = FrameArenas::with_block_size(&system, 2, 1 << 16).expect("a size that is possible");
    arenas.begin().alloc(7_u64);
    assert_eq!(system.stats().frame_bytes, before + (1 << 16), "a block");
    drop(arenas);
    assert_eq!(system.stats().frame_bytes, before);
}
