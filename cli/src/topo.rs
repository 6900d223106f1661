//! `ramie topo`: a drawing of the machine, and where workers would be on it.

use crate::args::TopoArgs;
use crate::error::Failure;
use ramie::{Core, CpuId, Pinning, Topology, TopologySource};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Columns that a row of cores may take.
const WIDTH: usize = 96;

const STRATEGIES: [(&str, Pinning); 4] = [
    ("Linear", Pinning::Linear),
    ("AvoidSmt", Pinning::AvoidSmt),
    ("CacheDomain", Pinning::CacheDomain),
    ("TieredSpillover", Pinning::TieredSpillover),
];

pub(crate) fn run(args: &TopoArgs) -> Result<String, Failure> {
    if let Some(folder) = &args.record {
        Topology::record(folder).map_err(Failure::new)?;
        return Ok(format!("recorded: see 'ramie topo --root {}'\n", folder.display()));
    }
    let topology = match &args.root {
        Some(root) => Topology::read(root).map_err(Failure::new)?,
        None => Topology::detect(),
    };
    let workers = args.workers.map_or(topology.default_workers(), usize::from);
    if args.json {
        return Ok(format!("{:#}\n", as_json(&topology, workers)));
    }
    Ok(drawing(&topology, workers))
}

fn drawing(topology: &Topology, workers: usize) -> String {
    let mut text = format!("{topology}\n");
    if topology.source() == TopologySource::Fallback {
        text.push_str("this is a fall-back: the machine itself could not be read\n");
    }
    for (package_index, package) in topology.packages().iter().enumerate() {
        let _ = writeln!(text, "\npackage {}", package.id);
        for (node_index, node) in topology.nodes().iter().enumerate() {
            let inside = |core: &&Core| core.package == package_index && core.node == node_index;
            if !topology.cores().iter().any(|core| inside(&core)) {
                continue;
            }
            let _ = writeln!(text, "  node {}{}", node.id, distances(topology, node_index));
            for (cache_index, cache) in topology.caches().iter().enumerate() {
                let cores: Vec<&Core> =
                    topology.cores().iter().filter(inside).filter(|core| core.cache == cache_index).collect();
                if cores.is_empty() {
                    continue;
                }
                let level = cache.level.map_or("cache unknown".to_owned(), |level| format!("L{level}"));
                let bytes = cache.bytes.map_or(String::new(), |bytes| format!(", {}", size(bytes)));
                let _ = writeln!(text, "    {level}{bytes}");
                for (class_index, class) in topology.classes().iter().enumerate() {
                    let of_class = cores.iter().filter(|core| core.class == class_index);
                    let boxes: Vec<String> = of_class.map(|core| core_box(topology, core)).collect();
                    rows(&mut text, &class_name(topology, class_index, class.capacity), &boxes);
                }
            }
        }
    }
    for note in topology.notes() {
        let _ = writeln!(text, "\nnote: {note}");
    }
    let plural = if workers == 1 { "worker" } else { "workers" };
    let _ = writeln!(text, "\nwhere each pinning puts {workers} {plural}, worker 0 first:");
    for (name, pinning) in STRATEGIES {
        let _ = writeln!(text, "  {name:<16} {}", placement(topology, &pinning, workers));
    }
    text
}

/// The distances to the other nodes, where there are any.
fn distances(topology: &Topology, node: usize) -> String {
    let nodes = topology.nodes();
    let others = nodes.iter().zip(&nodes[node].distances).filter(|(other, _)| other.id != nodes[node].id);
    let words: Vec<String> =
        others.map(|(other, distance)| format!("{distance} to node {}", other.id)).collect();
    if words.is_empty() { String::new() } else { format!(", distance {}", words.join(", ")) }
}

fn class_name(topology: &Topology, index: usize, capacity: u32) -> String {
    match (topology.classes().len(), index, capacity) {
        (1, ..) => "cores".to_owned(),
        (_, 0, _) => "fast cores".to_owned(),
        (.., 0) => "slower cores".to_owned(),
        (.., capacity) => format!("slower cores ({capacity} of 1024)"),
    }
}

/// `[0 8]`: the threads of a core; in parentheses those that may not be used.
fn core_box(topology: &Topology, core: &Core) -> String {
    let thread = |id: &CpuId| match topology.cpu(*id).is_some_and(|cpu| cpu.usable) {
        true => id.to_string(),
        false => format!("({id})"),
    };
    format!("[{}]", core.cpus.iter().map(thread).collect::<Vec<_>>().join(" "))
}

/// Boxes side by side, as many as fit into a row.
fn rows(text: &mut String, name: &str, boxes: &[String]) {
    if boxes.is_empty() {
        return;
    }
    let _ = write!(text, "      {name} ");
    let begin = 6 + name.len() + 1;
    let mut column = begin;
    for (index, core) in boxes.iter().enumerate() {
        if index > 0 && column + core.len() + 1 > WIDTH {
            let _ = write!(text, "\n{:begin$}", "");
            column = begin;
        }
        let _ = write!(text, " {core}");
        column += core.len() + 1;
    }
    text.push('\n');
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        1024..1_048_576 => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// CPUs in the order in which workers take them: runs of neighbours, `0-7 16-23`.
fn in_order(cpus: &[CpuId]) -> String {
    let runs = cpus.chunk_by(|a, b| a.0 + 1 == b.0);
    let words: Vec<String> = runs
        .map(|run| match run {
            [first, .., last] => format!("{first}-{last}"),
            [only] => only.to_string(),
            [] => String::new(),
        })
        .collect();
    words.join(" ")
}

fn placement(topology: &Topology, pinning: &Pinning, workers: usize) -> String {
    let placement = topology.place_best_effort(pinning, workers);
    let cpus: Vec<CpuId> = placement.iter().copied().flatten().collect();
    let mut words =
        if *pinning == Pinning::TieredSpillover { in_tiers(topology, &cpus) } else { in_order(&cpus) };
    let without = workers - cpus.len();
    if without > 0 {
        let _ = write!(words, "; refused, for there is no CPU for {without} of them");
    }
    words
}

fn in_tiers(topology: &Topology, cpus: &[CpuId]) -> String {
    let tier = |(index, tier): (usize, Vec<CpuId>)| {
        let taken: Vec<CpuId> = tier.into_iter().filter(|cpu| cpus.contains(cpu)).collect();
        (!taken.is_empty()).then(|| format!("tier {}: {}", index + 1, in_order(&taken)))
    };
    topology.tiers().into_iter().enumerate().filter_map(tier).collect::<Vec<_>>().join("; ")
}

fn ids(cpus: &[CpuId]) -> Vec<u32> {
    cpus.iter().map(|cpu| cpu.0).collect()
}

fn as_json(topology: &Topology, workers: usize) -> Value {
    let source = match topology.source() {
        TopologySource::System => "system",
        TopologySource::Recorded => "recorded",
        _ => "fallback",
    };
    let placements: serde_json::Map<String, Value> = STRATEGIES
        .iter()
        .map(|(name, pinning)| {
            let placement = topology.place_best_effort(pinning, workers);
            ((*name).to_owned(), json!(placement.iter().map(|cpu| cpu.map(|cpu| cpu.0)).collect::<Vec<_>>()))
        })
        .collect();
    json!({
        "source": source,
        "quota": topology.quota(),
        "default_workers": topology.default_workers(),
        "cpus": topology.cpus().iter().map(|cpu| json!({
            "id": cpu.id.0, "usable": cpu.usable, "core": cpu.core, "thread": cpu.thread,
        })).collect::<Vec<_>>(),
        "cores": topology.cores().iter().map(|core| json!({
            "cpus": ids(&core.cpus), "cache": core.cache, "node": core.node, "package": core.package, "class": core.class,
        })).collect::<Vec<_>>(),
        "caches": topology.caches().iter().map(|cache| json!({
            "cpus": ids(&cache.cpus), "level": cache.level, "bytes": cache.bytes,
        })).collect::<Vec<_>>(),
        "nodes": topology.nodes().iter().map(|node| json!({
            "id": node.id, "cpus": ids(&node.cpus), "distances": node.distances,
        })).collect::<Vec<_>>(),
        "packages": topology.packages().iter().map(|package| json!({
            "id": package.id, "cpus": ids(&package.cpus),
        })).collect::<Vec<_>>(),
        "classes": topology.classes().iter().map(|class| json!({
            "capacity": class.capacity, "cpus": ids(&class.cpus),
        })).collect::<Vec<_>>(),
        "notes": topology.notes(),
        "workers": workers,
        "placements": placements,
    })
}
