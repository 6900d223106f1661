//! The page: a template with a program in it, and the data as columns of numbers, which a million of are decoded fast.

use super::Timeline;
use super::model::{Idle, Model};
use crate::sched::priority::Priority;
use crate::trace::recording::ThreadKind;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{self, Write};

const TEMPLATE: &str = include_str!("timeline.html");
const TITLE: &str = "__RAMIE_TITLE__";
const DATA: &str = "__RAMIE_DATA__";
/// Points of the curve of utilisation.
const BINS: usize = 2000;

fn f64s(values: impl Iterator<Item = f64>) -> Value {
    column("f64", values.flat_map(f64::to_le_bytes))
}

fn u32s(values: impl Iterator<Item = u32>) -> Value {
    column("u32", values.flat_map(u32::to_le_bytes))
}

/// Numbers of tracks, of which there are so many.
fn track_numbers(count: usize, values: impl Iterator<Item = u32>) -> Value {
    if count > usize::from(u16::MAX) {
        return u32s(values);
    }
    column("u16", values.flat_map(|track| (track as u16).to_le_bytes()))
}

fn u8s(values: impl Iterator<Item = u8>) -> Value {
    column("u8", values)
}

fn column(kind: &str, bytes: impl Iterator<Item = u8>) -> Value {
    json!({ kind: STANDARD.encode(bytes.collect::<Vec<u8>>()) })
}

pub(super) fn write(timeline: &Timeline, mut out: impl Write, title: &str) -> io::Result<()> {
    let data = serde_json::to_string(&data(timeline, title))?.replace('<', "\\u003c");
    let (head, rest) = TEMPLATE.split_once(DATA).expect("the template has a place for the data");
    let escaped =
        title.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    out.write_all(head.replace(TITLE, &escaped).as_bytes())?;
    out.write_all(data.as_bytes())?;
    out.write_all(rest.replace(TITLE, &escaped).as_bytes())?;
    out.flush()
}

fn data(timeline: &Timeline, title: &str) -> Value {
    let model = &timeline.model;
    let runs = &model.runs;
    let kind = |kind: ThreadKind| match kind {
        ThreadKind::Worker(system, _) => ("worker", system),
        ThreadKind::Background(system, _) => ("background", system),
        ThreadKind::Outside => ("thread", 0),
    };
    let tracks = model.tracks.iter().map(|track| {
        let (kind, system) = kind(track.kind);
        json!({"label": track.label, "kind": kind, "system": system})
    });
    let frame_ends = model.frames.iter().skip(1).map(|frame| frame.0).chain([model.duration]);
    json!({
        "version": 1,
        "title": title,
        "duration": model.duration,
        "events": timeline.events,
        "dropped": timeline.lost,
        "names": model.names,
        "places": model.places,
        "sites": {"name": u32s(model.sites.iter().map(|site| site.name)), "place": u32s(model.sites.iter().map(|site| site.place))},
        "tracks": tracks.collect::<Vec<_>>(),
        "waits": timeline.waits,
        "runs": {
            "track": track_numbers(model.tracks.len(), runs.iter().map(|run| run.track)),
            "start": f64s(runs.iter().map(|run| run.start)),
            "end": f64s(runs.iter().map(|run| run.end)),
            "fiber": u32s(runs.iter().map(|run| run.fiber)),
            "site": u32s(runs.iter().map(|run| run.site)),
            "begin": u8s(runs.iter().map(|run| run.begin as u8)),
            "finish": u8s(runs.iter().map(|run| run.finish as u8)),
            // The page has the most urgent first.
            "priority": u8s(runs.iter().map(|run| (Priority::High as u8).saturating_sub(run.priority))),
            "wait": u8s(runs.iter().map(|run| run.wait)),
            "wait_place": u32s(runs.iter().map(|run| run.wait_place)),
            "cause": u32s(runs.iter().map(|run| run.cause)),
            "cause_at": f64s(runs.iter().map(|run| run.cause_at)),
            "critical": u8s(runs.iter().map(|run| u8::from(run.is_critical))),
        },
        "gaps": {
            "track": track_numbers(model.tracks.len(), model.gaps.iter().map(|gap| gap.track)),
            "start": f64s(model.gaps.iter().map(|gap| gap.start)),
            "end": f64s(model.gaps.iter().map(|gap| gap.end)),
            "cause": u8s(model.gaps.iter().map(|gap| gap.cause as u8)),
        },
        "causes": Idle::NAMES,
        "frames": {
            "start": f64s(model.frames.iter().map(|frame| frame.0)),
            "end": f64s(frame_ends.take(model.frames.len())),
            "number": u32s(model.frames.iter().map(|frame| frame.1)),
        },
        "spans": {
            "track": track_numbers(model.tracks.len(), model.spans.iter().map(|span| span.track)),
            "start": f64s(model.spans.iter().map(|span| span.start)),
            "end": f64s(model.spans.iter().map(|span| span.end)),
            "name": u32s(model.spans.iter().map(|span| span.name)),
            "fiber": u32s(model.spans.iter().map(|span| span.fiber)),
            "depth": u8s(model.spans.iter().map(|span| span.depth)),
        },
        "values": model.values.iter().map(|(name, values)| json!({
            "name": name,
            "at": f64s(values.iter().map(|value| value.0)),
            "value": f64s(values.iter().map(|value| value.1)),
        })).collect::<Vec<_>>(),
        "utilisation": {"bin": bin(model), "busy": f64s(model.utilisation(BINS, bin(model)).into_iter())},
        "workers": model.worker_count(),
        "summary": timeline.summary().rows(),
    })
}

/// Nanoseconds of each.
fn bin(model: &Model) -> f64 {
    (model.duration / BINS as f64).max(1.0)
}
