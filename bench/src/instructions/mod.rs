//! Instructions for each operation of ramie's hot paths, counted by valgrind's callgrind.
//!
//! Counts hardly depend on what else the machine does, so a change of a few instructions can be seen that no clock would
//! show. Each path is run twice in a process of its own, with few and with many rounds; the difference divided by the
//! operations of the additional rounds leaves out starting and stopping. One worker: with several, who steals what is chance,
//! and a worker that searches counts as well.

mod paths;

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use clap::{Args, Subcommand};
use serde::{Deserialize, Serialize};

pub(crate) use paths::run as run_path;

/// From this difference on, in per cent, two counts are not the same.
const TOLERANCE_PERCENT: f64 = 0.5;
/// Rounds of the shorter and the longer run.
const ROUNDS: [u64; 2] = [2, 12];

/// The arguments of the `instructions` subcommand.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct InstructionsArgs {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand, Clone, Copy, Debug)]
enum Action {
    /// Write bench/results/instructions.json.
    Write,
    /// End with an error if a count differs from bench/results/instructions.json by more than half a per cent.
    Check,
}

/// What `instructions.json` holds.
#[derive(Debug, Deserialize, Serialize)]
struct Counts {
    /// What counted, and what was counted, for people to read.
    about: String,
    compiler: String,
    /// Path -> instructions for each of its operations.
    instructions: BTreeMap<String, f64>,
}

/// Counts all paths, and does with the counts what the arguments say.
pub(crate) fn run(args: InstructionsArgs) -> Result<bool, String> {
    let known = read();
    let before = |name: &str| known.as_ref().ok().and_then(|counts| counts.instructions.get(name).copied());
    let mut instructions = BTreeMap::new();
    let mut differing = Vec::new();
    println!("{:<16} {:>9} {:>9}  operation", "path", "now", "file");
    for path in paths::ALL {
        let count = (count(path)? * 10.0).round() / 10.0;
        let in_file = before(path.name);
        let shown = in_file.map_or("-".into(), |count| format!("{count:.1}"));
        println!("{:<16} {count:>9.1} {shown:>9}  {}", path.name, path.operation);
        if in_file.is_none_or(|before| !is_same(before, count)) {
            differing.push(path.name);
        }
        instructions.insert(path.name.to_string(), count);
    }
    match args.action {
        Some(Action::Write) => write(instructions)?,
        Some(Action::Check) => {
            known?;
            if !differing.is_empty() {
                println!("more than {TOLERANCE_PERCENT} % from the file: {}", differing.join(", "));
                return Ok(false);
            }
            println!("as in the file, to within {TOLERANCE_PERCENT} %");
        }
        None => {}
    }
    Ok(true)
}

fn is_same(before: f64, now: f64) -> bool {
    (now - before).abs() <= before * TOLERANCE_PERCENT / 100.0
}

/// Instructions for each operation of `path`.
fn count(path: &paths::HotPath) -> Result<f64, String> {
    let [few, many] = ROUNDS;
    let additional = collected(path, many)?.saturating_sub(collected(path, few)?);
    Ok(additional as f64 / ((many - few) * path.operations) as f64)
}

/// All instructions of a process that runs `path` so often.
fn collected(path: &paths::HotPath, rounds: u64) -> Result<u64, String> {
    let program = std::env::current_exe().map_err(|error| format!("cannot find this program: {error}"))?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.arg(program).args(["path", path.name, &rounds.to_string()]);
    let output = command
        .output()
        .map_err(|error| format!("cannot run valgrind, which counts the instructions: {error}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{} under valgrind: {}: {said}", path.name, output.status));
    }
    find_collected(&said)
        .ok_or_else(|| format!("valgrind did not say how many instructions it counted: {said}"))
}

/// The number in callgrind's line `Collected : N`.
fn find_collected(said: &str) -> Option<u64> {
    let (_, number) = said.lines().find_map(|line| line.split_once("Collected :"))?;
    number.trim().parse().ok()
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("results/instructions.json")
}

fn read() -> Result<Counts, String> {
    let path = file();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        format!("cannot read {}: {error}; make it with `instructions write`", path.display())
    })?;
    serde_json::from_str(&text).map_err(|error| format!("{}: {error}", path.display()))
}

fn write(instructions: BTreeMap<String, f64>) -> Result<(), String> {
    let about = "instructions for each operation, one worker, counted by callgrind: \
                 cargo run --release --manifest-path bench/Cargo.toml -- instructions write";
    let counts = Counts { about: about.into(), compiler: env!("BENCH_RUSTC").into(), instructions };
    let text = serde_json::to_string_pretty(&counts).map_err(|error| error.to_string())? + "\n";
    std::fs::write(file(), text).map_err(|error| format!("cannot write {}: {error}", file().display()))?;
    println!("wrote bench/results/instructions.json");
    Ok(())
}

#[cfg(test)]
mod tests;
