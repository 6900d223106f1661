//! Chrome's trace event format, as its document "Trace Event Format" describes it and Perfetto reads it: one event per line.

use super::model::{Model, NONE, Run};
use serde_json::{Value, json};
use std::io::{self, BufWriter, Write};

/// The "process" of the threads, and that of the fibers.
const THREADS: u32 = 1;
const FIBERS: u32 = 2;

/// Perfetto's unit.
fn micros(ns: f64) -> f64 {
    (ns / 1000.0 * 1000.0).round() / 1000.0
}

struct Events<W: Write> {
    out: BufWriter<W>,
    is_first: bool,
}

impl<W: Write> Events<W> {
    fn put(&mut self, event: &Value) -> io::Result<()> {
        self.out.write_all(if self.is_first { b"\n" } else { b",\n" })?;
        self.is_first = false;
        serde_json::to_writer(&mut self.out, event)?;
        Ok(())
    }

    fn name(&mut self, what: &str, pid: u32, tid: u32, name: &str) -> io::Result<()> {
        self.put(&json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": {"name": name}}))
    }

    fn slice(
        &mut self,
        name: &str,
        category: &str,
        track: (u32, u32),
        time: (f64, f64),
        args: &Value,
    ) -> io::Result<()> {
        let (start, end) = (micros(time.0), micros(time.1));
        self.put(&json!({
            "ph": "X", "name": name, "cat": category, "pid": track.0, "tid": track.1,
            "ts": start, "dur": micros((end - start) * 1000.0), "args": args,
        }))
    }
}

pub(super) fn write(model: &Model, out: impl Write, fibers: bool) -> io::Result<()> {
    let mut events = Events { out: BufWriter::with_capacity(1 << 16, out), is_first: true };
    events.out.write_all(b"{\"displayTimeUnit\":\"ns\",\"traceEvents\":[")?;
    events.name("process_name", THREADS, 0, "threads")?;
    for (index, track) in model.tracks.iter().enumerate() {
        events.name("thread_name", THREADS, index as u32 + 1, &track.label)?;
        events.put(&json!({
            "ph": "M", "name": "thread_sort_index", "pid": THREADS, "tid": index + 1, "args": {"sort_index": index},
        }))?;
    }
    if fibers {
        events.name("process_name", FIBERS, 0, "fibers")?;
        let mut known: Vec<u32> = model.runs.iter().map(|run| run.fiber).collect();
        known.sort_unstable();
        known.dedup();
        for fiber in known {
            events.name("thread_name", FIBERS, fiber, &format!("fiber {fiber}"))?;
        }
    }
    for (index, run) in model.runs.iter().enumerate() {
        write_run(&mut events, model, index, run, fibers)?;
    }
    for span in &model.spans {
        let name = model.names.get(span.name as usize).map_or("span", String::as_str);
        let track = (THREADS, span.track + 1);
        events.slice(name, "span", track, (span.start, span.end), &json!({"fiber": span.fiber}))?;
    }
    for (at, number) in &model.frames {
        events.put(&json!({
            "ph": "i", "s": "g", "name": format!("frame {number}"), "cat": "frame", "pid": THREADS, "tid": 0, "ts": micros(*at),
        }))?;
    }
    for (name, values) in &model.values {
        let name = model.names.get(*name as usize).map_or("value", String::as_str);
        // What is no number in JSON is left out.
        for (at, value) in values.iter().filter(|(_, value)| value.is_finite()) {
            events.put(&json!({
                "ph": "C", "name": name, "pid": THREADS, "ts": micros(*at), "args": {"value": value},
            }))?;
        }
    }
    events.out.write_all(b"\n]}\n")?;
    events.out.flush()
}

fn write_run<W: Write>(
    events: &mut Events<W>,
    model: &Model,
    index: usize,
    run: &Run,
    fibers: bool,
) -> io::Result<()> {
    let site = model.sites.get(run.site as usize);
    let name = site.and_then(|site| model.names.get(site.name as usize));
    let place = site.and_then(|site| model.places.get(site.place as usize));
    let title = name.or(place).map_or("job", String::as_str);
    let mut args = json!({"fiber": run.fiber});
    if let Some(place) = place {
        args["spawned"] = json!(place);
    }
    if let Some(place) = model.places.get(run.wait_place as usize) {
        args["waits at"] = json!(place);
    }
    if run.is_critical {
        args["critical path"] = json!(true);
    }
    let (thread, time) = ((THREADS, run.track + 1), (run.start, run.end));
    events.slice(title, "job", thread, time, &args)?;
    if fibers {
        events.slice(
            title,
            "job",
            (FIBERS, run.fiber),
            time,
            &json!({"thread": model.tracks[run.track as usize].label}),
        )?;
    }
    let Some(cause) = model.runs.get(run.cause as usize).filter(|_| run.cause != NONE) else { return Ok(()) };
    // An arrow begins inside of a slice.
    let at = micros(run.cause_at.clamp(cause.start, cause.end));
    let kind = if matches!(run.begin, super::model::Begin::Started) { "spawn" } else { "wake" };
    events.put(&json!({
        "ph": "s", "name": kind, "cat": "flow", "id": index, "pid": THREADS, "tid": cause.track + 1, "ts": at,
    }))?;
    events.put(&json!({
        "ph": "f", "bp": "e", "name": kind, "cat": "flow", "id": index, "pid": THREADS, "tid": thread.1, "ts": micros(run.start),
    }))
}
