//! What a recording costs while it goes on, and how long its exports take.
//!
//! The same work is timed without and with a recording, in turns and in one process, so that a drift of the machine is in both. Of the times of each kind the
//! median counts, and the difference divided by the events that the work makes is what an event costs.

use std::{
    io::{self, Write},
    time::Instant,
};

use ramie::{
    JobSystem,
    trace::{self, Recording, Timeline},
};

use crate::{
    measure::median,
    workloads::frame_beside_low::{BARRIERS, FrameJob, JOBS},
};

/// Times of each kind; of frames several at once.
const TURNS: usize = 31;
const FRAMES: usize = 20;
const OPERATIONS: u64 = 20_000;
/// Events of the recording that is exported, about.
const EXPORTED: u64 = 1_000_000;
/// Room for all that one turn makes.
const EVENTS_PER_THREAD: usize = 1 << 17;

/// Prints all of it.
pub(crate) fn run() -> Result<(), String> {
    println!("{:<34} {:>10} {:>10} {:>8} {:>8} {:>10}", "", "off", "on", "more", "events", "an event");
    for workers in [1, 2] {
        let system = JobSystem::builder().workers(workers).build().map_err(|error| error.to_string())?;
        let job = FrameJob::calibrate();
        let frames = || {
            for _ in 0..FRAMES {
                for _ in 0..BARRIERS {
                    ramie::scope(|scope| (0..JOBS).for_each(|_| scope.detach(move || job.run())));
                }
            }
        };
        row(&format!("a frame of 300 jobs, {workers} worker(s)"), FRAMES as u64, &system, &frames)?;
        if workers == 1 {
            let jobs = || ramie::scope(|scope| (0..OPERATIONS).for_each(|_| scope.detach(|| ())));
            row("an empty job", OPERATIONS, &system, &jobs)?;
            row("a yield", OPERATIONS, &system, &|| (0..OPERATIONS).for_each(|_| ramie::yield_now()))?;
        }
    }
    exports()?;
    #[cfg(feature = "tracy")]
    with_tracy()?;
    Ok(())
}

/// What Tracy costs, which cannot be ended any more: so the times without it come first.
#[cfg(feature = "tracy")]
fn with_tracy() -> Result<(), String> {
    let system = JobSystem::builder().workers(1).build().map_err(|error| error.to_string())?;
    let median_ns = |work: &(dyn Fn() + Sync)| {
        let times = (0..TURNS).map(|_| {
            let begin = Instant::now();
            system.run(work);
            begin.elapsed().as_nanos() as f64 / OPERATIONS as f64
        });
        median(times.collect())
    };
    let jobs = || ramie::scope(|scope| (0..OPERATIONS).for_each(|_| scope.detach(|| ())));
    let yields = || (0..OPERATIONS).for_each(|_| ramie::yield_now());
    let without = [median_ns(&jobs), median_ns(&yields)];
    trace::show_in_tracy();
    println!("\n{:<34} {:>10} {:>10} {:>10}", "Tracy, without a profiler", "off", "on", "more");
    for (name, off, on) in
        [("an empty job", without[0], median_ns(&jobs)), ("a yield", without[1], median_ns(&yields))]
    {
        println!("{name:<34} {:>10} {:>10} {:>10}", time(off), time(on), time(on - off));
    }
    Ok(())
}

/// A line of the table: what one of `count` operations takes.
fn row(name: &str, count: u64, system: &JobSystem, work: &(dyn Fn() + Sync)) -> Result<(), String> {
    let time_ns = || {
        let begin = Instant::now();
        system.run(work);
        begin.elapsed().as_nanos() as f64 / count as f64
    };
    let (mut off, mut on, mut events) = (Vec::new(), Vec::new(), 0);
    for turn in 0..=TURNS {
        let without = time_ns();
        let recorder = trace::record().events_per_thread(EVENTS_PER_THREAD).start();
        let recorder = recorder.map_err(|error| error.to_string())?;
        // Rings are made by the first event of each thread.
        system.run(|| system.broadcast(|| ()));
        let before = recorder.snapshot().event_count();
        let with = time_ns();
        let recording = recorder.stop();
        if recording.lost_count() > 0 {
            return Err(format!("{name}: {} events were lost", recording.lost_count()));
        }
        events = (recording.event_count() - before) / count;
        // The first turn touches memory.
        if turn > 0 {
            off.push(without);
            on.push(with);
        }
    }
    let (off, on) = (median(off), median(on));
    let more = format!("{:+.1} %", (on / off - 1.0) * 100.0);
    let an_event = format!("{:.1} ns", (on - off) / events as f64);
    println!("{name:<34} {:>10} {:>10} {more:>8} {events:>8} {an_event:>10}", time(off), time(on));
    Ok(())
}

fn time(ns: f64) -> String {
    if ns < 1000.0 { format!("{ns:.1} ns") } else { format!("{:.1} us", ns / 1e3) }
}

fn exports() -> Result<(), String> {
    let system = JobSystem::builder().workers(2).build().map_err(|error| error.to_string())?;
    let recorder = trace::record().events_per_thread(1 << 20).start().map_err(|error| error.to_string())?;
    while recorder.snapshot().event_count() < EXPORTED {
        system.scope(|scope| {
            for _ in 0..50_000 {
                scope.job().name("exported").detach(|| ramie::yield_now());
            }
        });
    }
    let recording = recorder.stop();
    println!("\n{} events, {} lost", recording.event_count(), recording.lost_count());
    let mut bytes = Vec::new();
    timed("the recording, written", || recording.write(&mut bytes))?;
    timed("the recording, read", || Recording::read(&bytes[..]).map(drop).map_err(io::Error::other))?;
    timed("a trace for Perfetto", || Timeline::of(&recording).write_chrome_trace(io::sink(), false))?;
    timed("the same with a track a fiber", || Timeline::of(&recording).write_chrome_trace(io::sink(), true))?;
    timed("a page", || Timeline::of(&recording).write_html(io::sink(), "a page"))?;
    timed("a summary", || write!(io::sink(), "{}", Timeline::of(&recording).summary()))
}

fn timed(what: &str, work: impl FnOnce() -> io::Result<()>) -> Result<(), String> {
    let begin = Instant::now();
    work().map_err(|error| format!("{what}: {error}"))?;
    println!("{what:<34} {:>8.2} s", begin.elapsed().as_secs_f64());
    Ok(())
}
