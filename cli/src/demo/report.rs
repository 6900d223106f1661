//! The text that is printed when all is done.

use std::fmt::Write;
use std::time::Duration;

use super::bare::Bare;
use super::load::Load;
use super::times::{Samples, Times};

/// The table of the phases: half of all frames, 99 of 100, and all took no longer than this.
pub(crate) fn phases(times: &Times) -> String {
    let rows = [
        ("clear", &times.clear),
        ("mark", &times.mark),
        ("update", &times.update),
        ("draw", &times.draw),
        ("encode", &times.encode),
        ("simulation", &times.simulation),
        ("frame", &times.frame),
    ];
    let mut text = format!("{:<12}{:>10}{:>10}{:>10}\n", "ms a frame", "p50", "p99", "max");
    for (name, samples) in rows {
        push_phase(&mut text, name, samples);
    }
    text
}

fn push_phase(text: &mut String, name: &str, samples: &Samples) {
    if samples.is_empty() {
        return;
    }
    let [p50, p99, max] = [50, 99, 100].map(|percent| milliseconds(samples.percentile(percent)));
    push_line(text, format_args!("{name:<12}{p50:>10.3}{p99:>10.3}{max:>10.3}"));
}

/// The lines about the job system.
pub(crate) fn load(load: &Load, frame_count: u32) -> String {
    format!(
        "{:.0} frames/s, workers {:.0} % busy\n\
         {} jobs ({:.0}/s, parts of loops not counted), {} steals, {} suspensions\n",
        f64::from(frame_count) / load.elapsed.as_secs_f64().max(1e-9),
        load.busy_percent,
        load.jobs,
        load.jobs_per_second,
        load.steals,
        load.suspensions,
    )
}

/// The table that compares the parallel simulation with the serial one. Both were run without
/// drawing, so that they had the machine to themselves.
pub(crate) fn comparison(parallel: &Bare, serial: &Bare, worker_count: usize) -> String {
    let workers = if worker_count == 1 { "worker" } else { "workers" };
    let title = format!("ramie, {worker_count} {workers}");
    let mut text = format!(
        "{:<18}{:>10}{:>10}{:>10}{:>10}{:>10}{:>12}\n",
        "simulation alone", "clear", "mark", "update", "p50 ms", "p99 ms", "total ms"
    );
    for (name, run) in [(title.as_str(), parallel), ("serial", serial)] {
        let times = &run.times;
        let phases = [&times.clear, &times.mark, &times.update, &times.simulation];
        let [clear, mark, update, p50] = phases.map(|samples| milliseconds(samples.percentile(50)));
        let p99 = milliseconds(times.simulation.percentile(99));
        let total = milliseconds(times.simulation.sum());
        push_line(
            &mut text,
            format_args!(
                "{name:<18}{clear:>10.3}{mark:>10.3}{update:>10.3}{p50:>10.3}{p99:>10.3}{total:>12.1}"
            ),
        );
    }
    let p50 = |run: &Bare| milliseconds(run.times.simulation.percentile(50)).max(1e-6);
    push_line(&mut text, format_args!("speed-up {:.2} (at p50)", p50(serial) / p50(parallel)));
    text
}

fn push_line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{line}");
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
