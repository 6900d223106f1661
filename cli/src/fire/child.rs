//! Each system plays in a process of its own, which hands its result over as one line of JSON.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ramie::JobSystem;
use serde_json::{Value, json};

use super::engine::Engine;
use super::on_ramie::OnRamie;
use super::on_rayon::{Lock, OnRayon};
use super::on_tokio::OnTokio;
use super::play::{Played, frame_count, play_watched};
use super::scripts::Scripts;
use super::{Plan, System};
use crate::error::Failure;
use crate::trace;

/// How much longer than its frames a process may take before it is ended: starting, a hang that it notices by itself, and
/// making a timeline.
const ALLOWANCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a system's process has told.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) outcome: Outcome,
    /// What the system was given.
    pub(super) given: Vec<String>,
    /// What is said of the recording.
    pub(super) trace: String,
}

#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Played(Played),
    /// In this frame, if that is known.
    Hung {
        frame: Option<usize>,
    },
}

/// Plays on this system, here. Gives back the line for [`run`].
pub(super) fn play(plan: &Plan, system: System, file: Option<&Path>) -> Result<String, Failure> {
    let scripts = Scripts::new(plan.work.script);
    match system {
        System::Ramie => {
            let builder = JobSystem::builder().on_stall(|report| eprintln!("{report}"));
            let engine = OnRamie::new(plan, frame_count(plan), &scripts, builder, None)?;
            played_line(engine, plan, &scripts, file)
        }
        System::Rayon => played_line(OnRayon::new(plan, Lock::Held)?, plan, &scripts, file),
        System::RayonReleased => played_line(OnRayon::new(plan, Lock::Released)?, plan, &scripts, file),
        System::Tokio => played_line(OnTokio::new(plan, &scripts)?, plan, &scripts, file),
    }
}

fn played_line(
    engine: impl Engine,
    plan: &Plan,
    scripts: &Arc<Scripts>,
    file: Option<&Path>,
) -> Result<String, Failure> {
    let given = engine.given();
    let recorder = file.map(trace::start).transpose()?;
    let result = play_watched(engine, plan, scripts)?;
    let trace = recorder.map(trace::Recorder::finish).transpose()?.unwrap_or_default();
    let value = match result {
        Err(frame) => json!({ "given": given, "trace": trace, "hung_in": frame }),
        Ok(played) => json!({
            "given": given,
            "trace": trace,
            "frames_ns": played.frames_ns,
            "missed": played.missed,
            "assets": played.assets,
            "elapsed_ns": played.elapsed.as_nanos() as u64,
            "turns": played.turns,
            "checksum": played.checksum,
        }),
    };
    Ok(format!("{value}\n"))
}

/// Has a process play on this system.
pub(super) fn run(plan: &Plan, system: System, file: Option<&Path>) -> Result<Part, Failure> {
    let name = system.argument();
    let failure = |what: &dyn std::fmt::Display| {
        Failure::new(format!("the process that plays on {name} {what}: please report this"))
    };
    let mut command = std::env::current_exe().map(Command::new).map_err(|error| {
        Failure::new(format!("this program cannot be found ({error}): start it by its path"))
    })?;
    command.args(["demo", "--under-fire", "--only", name, "--work", &plan.work.to_string()]);
    command.args(["--workers", &plan.workers.to_string(), "--seconds", &plan.seconds.to_string()]);
    if let Some(file) = file {
        command.arg("--trace").arg(file);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|error| failure(&format_args!("cannot be started ({error})")))?;
    let mut stdout = child.stdout.take().expect("it was piped");
    let reading = thread::spawn(move || {
        let mut text = String::new();
        stdout.read_to_string(&mut text).map(|_| text)
    });
    let limit = Instant::now() + Duration::from_secs(plan.seconds as u64) + ALLOWANCE;
    let status = loop {
        match child.try_wait().map_err(|error| failure(&format_args!("cannot be watched ({error})")))? {
            Some(status) => break status,
            None if Instant::now() > limit => {
                // That it has just ended by itself is no error.
                let _ = child.kill();
                let _ = child.wait();
                let outcome = Outcome::Hung { frame: None };
                return Ok(Part { outcome, given: Vec::new(), trace: String::new() });
            }
            None => thread::sleep(LOOK_EVERY),
        }
    };
    if !status.success() {
        return Err(failure(&format_args!("has failed ({status})")));
    }
    let text = reading.join().ok().and_then(Result::ok);
    let value = text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
    value.as_ref().and_then(parse).ok_or_else(|| failure(&"has not told what came of it"))
}

/// `None` if something is missing.
fn parse(value: &Value) -> Option<Part> {
    let number = |name: &str| value[name].as_u64();
    let count = |name: &str| number(name).map(|number| number as usize);
    let texts = value["given"].as_array()?.iter();
    let given = texts.map(|text| text.as_str().map(str::to_owned)).collect::<Option<_>>()?;
    let trace = value["trace"].as_str()?.to_owned();
    let outcome = match count("hung_in") {
        Some(frame) => Outcome::Hung { frame: Some(frame) },
        None => Outcome::Played(Played {
            frames_ns: value["frames_ns"].as_array()?.iter().map(Value::as_u64).collect::<Option<_>>()?,
            missed: count("missed")?,
            assets: count("assets")?,
            elapsed: Duration::from_nanos(number("elapsed_ns")?),
            turns: count("turns"),
            checksum: number("checksum")?,
        }),
    };
    Some(Part { outcome, given, trace })
}
